//! Classifies the result of a command: one function decides, for errors and replies alike.
//!
//! Raw commands carry no error labels, and a reply with `ok: 1` may contain write errors and a
//! write concern error; so the kind of error and its code decide.

use mongodb::bson::{Bson, Document};
use mongodb::error::{Error, ErrorKind};

use super::reply;
use super::reply::{Expected, OpError};
use super::validation;
use crate::core::registration::Registration;
use crate::mongo::codes::{DUPLICATE_KEY, Meaning, UNANSWERED, VALIDATION, meaning};
use crate::mongo::error::{broken, coded, failure_by};
use crate::sink::{Failure, LinkError};

/// The beginning of the driver's error for a message of more than 48 MB.
const TOO_LONG: &str = "Message length";

/// The end of MongoDB's error for an operation whose hint names a missing index; its code,
/// BadValue, is not specific.
const NO_INDEX: &str = "hint provided does not correspond to an existing index";

/// The classified result of a command.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// The server replied; every operation without a write error is acknowledged.
    Answered(Vec<WriteError>),
    /// The whole command is rejected because of some operation: bisect it until that one is found.
    Rejected {
        /// MongoDB's code; 0 when the driver refused.
        code: i32,
        /// The reason of the refusal, for the operation that is found.
        reason: String,
    },
    /// The command exceeded its time limit; any part may be applied.
    TooSlow,
    /// All operations were processed, but the members did not acknowledge them in time.
    Unconfirmed(LinkError),
    /// No operation of the command counts as written.
    Failed(Failure),
}

impl Outcome {
    /// True when the command was not applied for a transient reason.
    pub fn is_conflict(&self) -> bool {
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
    /// Its index in the command; `None` for all operations.
    pub op: Option<usize>,
    /// MongoDB's code.
    pub code: i32,
    /// How it is handled.
    pub action: Action,
}

/// How an operation that was not applied is handled.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// It becomes a dead letter with this reason; a retry would not help.
    Refuse(String),
    /// Another document has the value in a unique index: send it again when the other operations
    /// are written.
    Contested(Box<Duplicate>),
    /// Send it again; if that does not help, a dead letter with this reason.
    RetryThenRefuse(String),
    /// Send it again; if that does not help, its key is blocked for this reason, or the namespace
    /// backs off.
    RetryThenWait(String),
    /// Send it again, unless all others are refused, too; if that does not help, the results of the
    /// other operations decide whether it becomes a dead letter or the namespace backs off for this
    /// reason.
    RetryThenClassify(String),
}

/// A value that another document has in a unique index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Duplicate {
    /// The reason of the dead letter if the duplicate persists.
    pub reason: String,
    /// The index's fields with their values; empty when the reply does not contain the original
    /// values.
    pub values: Vec<(String, Bson)>,
}

/// Classifies the result of a command for `registration`, whose reply must account for the
/// `expected` operations.
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
    // The writes are applied, but may be rolled back: they do not count as written.
    if let Some(code) = reply::write_concern_error(reply) {
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
        Err(why) => return Outcome::Failed(Failure::Part(inconsistent_reply(registration, why))),
    };
    let mut write_errors = Vec::with_capacity(errors.len());
    for OpError { op, code, error } in errors {
        if let Some(failure) = failure_by(code) {
            return Outcome::Failed(failure);
        }
        if lacks_index(error) {
            return namespace(
                code,
                "the unique index of KEY is missing or hidden; a missing one is created again",
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
            Meaning::Collection(why) => Action::RetryThenClassify(sentence(why)),
            _ => Action::RetryThenClassify(coded("MongoDB refuses the change", code)),
        };
        write_errors.push(WriteError { op: Some(op), code, action });
    }
    Outcome::Answered(write_errors)
}

/// True if the server does not have the index of the operation's hint. Only the end of the message
/// is compared: user text may occur in the middle of it.
fn lacks_index(error: &Document) -> bool {
    error.get_str("errmsg").is_ok_and(|message| message.ends_with(NO_INDEX))
}

/// The failure for a reply that cannot be that of the command. The command may not have been
/// applied yet.
fn inconsistent_reply(registration: &Registration, why: &str) -> LinkError {
    let namespace = &registration.namespace;
    LinkError::unanswered(format!(
        "MongoDB's reply to a write to {namespace} makes no sense, and nothing of it counts as \
         written: {why}; is a proxy or another kind of server in between"
    ))
}

/// A duplicate in the index of the key itself is a race with another client's insert: the next
/// attempt finds the document. In any other index it persists until that document changes.
fn duplicate(error: &Document, registration: &Registration) -> Action {
    let mut fields = error
        .get_document("keyPattern")
        .map(|pattern| pattern.keys().cloned().collect::<Vec<_>>())
        .unwrap_or_default();
    // The reason contains only names: the server's message contains the values as well.
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

/// The fields of the index with the values in the error. With a collation the error contains the
/// collation keys of the index instead of the values.
fn duplicate_values(error: &Document) -> Vec<(String, Bson)> {
    match error.get_document("keyValue") {
        Ok(values) if !error.contains_key("collation") => values.clone().into_iter().collect(),
        _ => Vec::new(),
    }
}

/// True if both documents lack the index's fields, or have null in them.
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

/// The number of documents that an update created, from its reply.
pub fn created(reply: &Document) -> usize {
    reply.get_array("upserted").map_or(0, Vec::len)
}

/// True if the server has replied, or the command was never sent: nothing of it can be applied
/// later. An inconsistent reply does not count.
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

/// Classifies the failure of a whole command with `code`.
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
        // A document is not the cause of a refusal of the whole command: no dead letters.
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
