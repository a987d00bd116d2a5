//! Learns whether a server takes updates in the form of a pipeline.

use mongodb::bson::oid::ObjectId;

use super::command::{CommandOptions, no_op_update};
use super::outcome::Outcome;
use super::reply::Expected;
use super::session::SessionGuard;
use crate::core::registration::Registration;
use crate::sink::Failure;

/// Codes for an update whose form the server does not know: FailedToParse, TypeMismatch,
/// CommandNotSupported, NotImplemented, and 303, "Feature not supported", of compatible servers.
const UNKNOWN_FORM: [i32; 5] = [9, 14, 115, 238, 303];

/// Whether a server takes pipelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pipelines {
    /// It does.
    Taken,
    /// It does not, whatever else it takes.
    Refused,
    /// It refused the whole command; it does not take pipelines if it takes the batch.
    Unclear,
    /// It could not say now.
    Unanswered,
}

/// Asks by an update that changes nothing whether the server takes pipelines, which MongoDB does from
/// 4.2 on and some compatible servers do not.
///
/// # Errors
/// When the server does not reply.
pub async fn ask(
    session: &mut SessionGuard<'_>,
    registration: &Registration,
    options: &CommandOptions,
) -> Result<Pipelines, Failure> {
    let bytes = no_op_update(&registration.namespace.collection, ObjectId::new().bytes(), true);
    let command = (bytes, Expected { ops: 1, written: 0, in_order: false });
    let position = session.next_position();
    match session.send(registration, options, command, position, options.within).await {
        Outcome::Answered(errors) => Ok(of_codes(errors.iter().map(|error| error.code))),
        Outcome::Rejected { .. } => Ok(Pipelines::Refused),
        Outcome::Failed(Failure::Namespace(_)) => Ok(Pipelines::Unclear),
        Outcome::TooSlow => Ok(Pipelines::Unanswered),
        Outcome::Unconfirmed(broken) => Err(Failure::Link(broken)),
        Outcome::Failed(failure) => Err(failure),
    }
}

/// What the codes of the write errors mean; none is success.
fn of_codes(codes: impl Iterator<Item = i32>) -> Pipelines {
    let mut found = Pipelines::Taken;
    for code in codes {
        if UNKNOWN_FORM.contains(&code) {
            return Pipelines::Refused;
        }
        found = Pipelines::Unanswered;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refused_form_says_that_pipelines_are_refused() {
        assert_eq!(of_codes([].into_iter()), Pipelines::Taken);
        assert_eq!(of_codes([112].into_iter()), Pipelines::Unanswered);
        assert_eq!(of_codes([112, 9].into_iter()), Pipelines::Refused);
    }
}
