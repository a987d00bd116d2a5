//! Registrations that share a collection: refusals and warnings.

use super::Backlog;
use crate::core::ids::RegistrationId;
use crate::core::registration::Registration;
use crate::core::registration::printable::printable;

/// Maximum number of pairs or prefixes in a warning.
const NAMED: usize = 3;

impl Backlog {
    /// Why `registration` is refused, in one sentence, if another registration has its collection.
    pub fn clash(&self, registration: &Registration) -> Option<String> {
        // In the common case there is no rival, and the prefix need not be looked up.
        self.sharing.rival(None, registration)?;
        let id = self.registry.find_live(registration.db, &registration.prefix);
        let first = &self.active(self.sharing.rival(id, registration)?)?.registration;
        let Registration { namespace, key_field, .. } = registration;
        Some(format!(
            "{namespace} belongs to {} already, with the same KEY field {key_field:?}, so that two \
             keys could get one document: take another collection, another KEY field, KEY ... WHOLE \
             for both in one database, or say SHARED if their ids never meet",
            name(first)
        ))
    }

    /// The warning about documents with the former KEY of the registration `id`, in one sentence.
    pub fn key_warning(&self, id: RegistrationId) -> Option<String> {
        self.active(id).filter(|active| active.live)?.key_warning()
    }

    /// These warnings of all registrations, at most three.
    pub fn key_warnings(&self) -> Vec<String> {
        let ids = self.registry.live_ids().filter_map(|id| self.key_warning(id));
        ids.take(NAMED).collect()
    }

    /// The warning about registrations that were loaded although they share a collection, in one
    /// sentence.
    pub fn sharing_warning(&mut self) -> Option<String> {
        let clashes = self.sharing.clashes().to_vec();
        let named: Vec<String> = clashes
            .iter()
            .take(NAMED)
            .filter_map(|(first, second)| {
                let (first, second) = (self.active(*first)?, self.active(*second)?);
                let (first, second) = (&first.registration, &second.registration);
                Some(format!("{} of {} and {}", first.namespace, name(first), name(second)))
            })
            .collect();
        let more = if clashes.len() > NAMED { " and others" } else { "" };
        (!named.is_empty()).then(|| {
            format!(
                "registrations share a collection and its KEY field, so that a key of one can \
                 overwrite or delete the document of another's: {}{more}; give one of them \
                 another collection, or register it again with SHARED if their ids never meet",
                named.join(", ")
            )
        })
    }
}

fn name(registration: &Registration) -> String {
    let prefix = printable(&registration.prefix);
    format!("prefix '{prefix}' of database {}", registration.db)
}
