//! What the end of a command means: one function decides, for errors and replies alike.
//!
//! Raw commands carry no error labels, and a reply with `ok: 1` may hold errors of single
//! operations and of the write concern; so everything goes by the kind of error and its code.

use mongodb::bson::{Bson, Document};
use mongodb::error::{Error, ErrorKind};

use super::reply;
use super::reply::{Expected, OpError};
use super::validation;
use crate::core::registration::Registration;
use crate::mongo::codes::{DUPLICATE_KEY, Meaning, UNANSWERED, VALIDATION, meaning};
use crate::mongo::error::{broken, coded, failure_by};
use crate::sink::{Failure, LinkError};

/// How the driver begins its refusal of a message of more than 48 MB.
const TOO_LONG: &str = "Message length";

/// How MongoDB ends its refusal of an operation that names an index which does not exist; the code
/// is that of any bad value.
const NO_INDEX: &str = "hint provided does not correspond to an existing index";

/// The end of a command.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// The server answered; every operation that is not named is acknowledged.
    Answered(Vec<WriteError>),
    /// Some operation makes the whole command unreadable: split it until that one is found.
    Rejected {
        /// MongoDB's code; 0 when the driver refused.
        code: i32,
        /// The refusal of the operation that is found in the end.
        reason: String,
    },
    /// The server's limit for one command was reached; any part may be applied.
    TooSlow,
    /// Each operation came to its end, and the members did not confirm them in time.
    Unconfirmed(LinkError),
    /// Nothing of it may be taken as written.
    Failed(Failure),
}

impl Outcome {
    /// True when it was not applied for a reason that passes by itself.
    pub fn is_clash(&self) -> bool {
        match self {
            Outcome::Answered(write_errors) => write_errors
                .iter()
                .any(|write_error| matches!(write_error.action, Action::RetryThenWait(_))),
            Outcome::TooSlow => true,
            Outcome::Rejected { .. } | Outcome::Unconfirmed(_) | Outcome::Failed(_) => false,
        }
    }
}

/// An operation that was not applied.
#[derive(Debug, PartialEq)]
pub struct WriteError {
    /// Its place in the command; `None` means all of them.
    pub op: Option<usize>,
    /// MongoDB's code.
    pub code: i32,
    /// What to do about it.
    pub action: Action,
}

/// What to do about an operation that was not applied.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Nothing helps: a dead letter with this reason.
    Refuse(String),
    /// Another document has the value in a unique index: send it again when the rest is written.
    Contested(Box<Duplicate>),
    /// Send it again; if that does not help, a dead letter with this reason.
    RetryThenRefuse(String),
    /// Send it again; if that does not help, its key waits for this reason, or the namespace does.
    RetryThenWait(String),
    /// Send it again, unless all others are refused, too; if that does not help, the namespace rests
    /// for this reason, or it is a dead letter: as the other operations show.
    Judge(String),
}

/// A value that another document has in a unique index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Duplicate {
    /// Why the operation is refused if that stays so.
    pub reason: String,
    /// The index's fields with the values; none when the reply does not have them as they are.
    pub values: Vec<(String, Bson)>,
}

/// Decides what the end of a command for `registration` means, whose reply must account for what
/// is `expected`.
pub fn classify(
    end: Result<&Document, &Error>,
    registration: &Registration,
    expected: Expected,
) -> Outcome {
    match end {
        Ok(reply) => of_reply(reply, registration, expected),
        Err(error) => of_error(error, registration),
    }
}

fn of_reply(reply: &Document, registration: &Registration, expected: Expected) -> Outcome {
    // Applied, but not known to last: as good as not written.
    if let Some(code) = reply::unconfirmed(reply) {
        let failure = failure_by(code).unwrap_or_else(|| {
            let why = "MongoDB: the writes are not confirmed by enough members";
            Failure::Link(LinkError::transient(coded(why, code)))
        });
        return match failure {
            Failure::Link(broken) if matches!(code, 50 | 64) => Outcome::Unconfirmed(broken),
            failure => Outcome::Failed(failure),
        };
    }
    let errors = match reply::op_errors(reply, expected) {
        Ok(errors) => errors,
        Err(why) => return Outcome::Failed(Failure::Part(nonsense(registration, why))),
    };
    let mut write_errors = Vec::with_capacity(errors.len());
    for OpError { op, code, error } in errors {
        if let Some(failure) = failure_by(code) {
            return Outcome::Failed(failure);
        }
        if is_without_index(error) {
            return namespace(
                code,
                "the unique index of KEY is gone or hidden; a missing one is made again",
                registration,
            );
        }
        let sentence = |why| sentence(code, why, registration);
        let action = match meaning(code) {
            Meaning::Namespace(why) => return namespace(code, why, registration),
            Meaning::Transient(why) => Action::RetryThenWait(sentence(why)),
            Meaning::TooSlow => Action::RetryThenWait(sentence("it takes too long")),
            Meaning::Refused(why) if code == VALIDATION => Action::Refuse(coded(
                &match validation::failures(error) {
                    names if names.is_empty() => why.to_owned(),
                    names => format!("{why}: {names}"),
                },
                code,
            )),
            Meaning::Rejected(why) | Meaning::Refused(why) => Action::Refuse(coded(why, code)),
            Meaning::Unknown if code == DUPLICATE_KEY => duplicate(error, registration),
            Meaning::Collection(why) => Action::Judge(sentence(why)),
            _ => Action::Judge(coded("MongoDB refuses the change", code)),
        };
        write_errors.push(WriteError { op: Some(op), code, action });
    }
    Outcome::Answered(write_errors)
}

/// Whether the server does not have the index that the operation names. Text of a user may stand
/// in the middle of a message only.
fn is_without_index(error: &Document) -> bool {
    error.get_str("errmsg").is_ok_and(|message| message.ends_with(NO_INDEX))
}

/// The reply cannot be that of the command. What it answers was perhaps not even applied yet.
fn nonsense(registration: &Registration, why: &str) -> LinkError {
    let namespace = &registration.namespace;
    LinkError::unanswered(format!(
        "MongoDB's reply to a write to {namespace} makes no sense, and nothing of it counts as \
         written: {why}; is a proxy or another kind of server in between"
    ))
}

/// A duplicate in the index of the key itself is a race with another writer's insert: the next
/// attempt finds the document. In any other index it is there until that document changes.
fn duplicate(error: &Document, registration: &Registration) -> Action {
    let mut fields = error
        .get_document("keyPattern")
        .map(|pattern| pattern.keys().cloned().collect::<Vec<_>>())
        .unwrap_or_default();
    // Only names go into the reason: the server's message holds the values as well.
    let names = fields.join(", ");
    let reason = if fields.is_empty() {
        "another document has the same value in a unique index".to_owned()
    } else if has_no_value(error) {
        format!(
            "another document without {names} exists, and the unique index of {names} takes no \
             second one; make that index partial or sparse"
        )
    } else {
        format!("another document has the same value in the unique index of {names}")
    };
    let reason = coded(&reason, DUPLICATE_KEY);
    match (fields.pop(), fields.is_empty()) {
        (Some(field), true) if field == "_id" || field == registration.key_field => {
            Action::RetryThenRefuse(reason)
        }
        _ => Action::Contested(Box::new(Duplicate { reason, values: duplicate_values(error) })),
    }
}

/// The fields of the index with the values that the error names. Under a collation the server
/// names what the index has in their place.
fn duplicate_values(error: &Document) -> Vec<(String, Bson)> {
    match error.get_document("keyValue") {
        Ok(values) if !error.contains_key("collation") => values.clone().into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Whether what the duplicate shares is that it lacks the fields, or that they are null.
fn has_no_value(error: &Document) -> bool {
    error
        .get_document("keyValue")
        .is_ok_and(|value| !value.is_empty() && value.values().all(|value| *value == Bson::Null))
}

fn of_error(error: &Error, registration: &Registration) -> Outcome {
    match &*error.kind {
        ErrorKind::Command(error) => of_code(error.code, registration),
        ErrorKind::InvalidArgument { message, .. } if message.starts_with(TOO_LONG) => {
            Outcome::Rejected {
                code: 0,
                reason: "the document is too large for one message to MongoDB".to_owned(),
            }
        }
        _ => Outcome::Failed(Failure::Link(broken(error))),
    }
}

/// Documents that an update created, as its reply says.
pub fn created(reply: &Document) -> usize {
    reply.get_array("upserted").map_or(0, Vec::len)
}

/// Whether the server has answered, or was never asked: nothing of it can be applied later. A
/// reply that makes no sense is no answer.
pub fn is_settled(end: &Result<Document, Error>, outcome: &Outcome) -> bool {
    if let Outcome::Failed(Failure::Link(broken) | Failure::Part(broken)) = outcome
        && broken.unanswered
    {
        return false;
    }
    match end {
        Ok(_) => true,
        Err(error) => match &*error.kind {
            ErrorKind::Command(error) => !UNANSWERED.contains(&error.code),
            ErrorKind::ServerSelection { .. }
            | ErrorKind::Authentication { .. }
            | ErrorKind::InvalidArgument { .. } => true,
            _ => false,
        },
    }
}

/// The whole command failed with `code`.
fn of_code(code: i32, registration: &Registration) -> Outcome {
    if let Some(failure) = failure_by(code) {
        return Outcome::Failed(failure);
    }
    match meaning(code) {
        Meaning::Namespace(why) | Meaning::Collection(why) => namespace(code, why, registration),
        Meaning::Transient(why) => {
            let action = Action::RetryThenWait(sentence(code, why, registration));
            Outcome::Answered(vec![WriteError { op: None, code, action }])
        }
        Meaning::TooSlow => Outcome::TooSlow,
        Meaning::Rejected(why) => Outcome::Rejected { code, reason: coded(why, code) },
        // A refusal of the command as such is not the fault of a document: no dead letters.
        _ => namespace(code, "the server refuses the whole command", registration),
    }
}

fn namespace(code: i32, why: &str, registration: &Registration) -> Outcome {
    Outcome::Failed(Failure::Namespace(sentence(code, why, registration)))
}

fn sentence(code: i32, why: &str, registration: &Registration) -> String {
    let namespace = &registration.namespace;
    format!("MongoDB does not write to {namespace}: {}", coded(why, code))
}

#[cfg(test)]
mod tests;
