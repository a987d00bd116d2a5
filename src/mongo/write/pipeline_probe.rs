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

/// Whether the server takes a pipeline, which MongoDB does from 4.2 on and some compatible servers do
/// not; learned from an update that changes nothing. Nothing if it refuses that for another reason, for
/// which it will refuse the batch, too.
///
/// # Errors
/// When the server does not reply.
pub async fn takes_pipelines(
    session: &mut SessionGuard<'_>,
    registration: &Registration,
    options: &CommandOptions,
) -> Result<Option<bool>, Failure> {
    let bytes = no_op_update(&registration.namespace.collection, ObjectId::new().bytes(), true);
    let command = (bytes, Expected { ops: 1, written: 0, in_order: false });
    let position = session.next_position();
    Ok(match session.send(registration, options, command, position, options.within).await {
        Outcome::Answered(errors) if errors.is_empty() => Some(true),
        Outcome::Answered(errors) => refused(errors.iter().map(|error| error.code)),
        Outcome::Rejected { code, .. } => refused([code].into_iter()),
        Outcome::TooSlow | Outcome::Failed(Failure::Namespace(_)) => None,
        Outcome::Unconfirmed(broken) => return Err(Failure::Link(broken)),
        Outcome::Failed(failure) => return Err(failure),
    })
}

fn refused(mut codes: impl Iterator<Item = i32>) -> Option<bool> {
    codes.any(|code| UNKNOWN_FORM.contains(&code)).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refused_form_says_that_pipelines_are_unknown() {
        assert_eq!(refused([9].into_iter()), Some(false));
        assert_eq!(refused([13].into_iter()), None);
    }
}
