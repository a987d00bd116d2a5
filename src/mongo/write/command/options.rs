//! The options of each command besides its operations: write concern, time limit, and its txnNumber
//! in the session. They are appended last, because they are known only when the command is sent.

use std::time::Duration;

use crate::core::mapping::bson::Document;
use crate::mongo::write_concern::{AcknowledgedBy, WriteConcern};

/// A command's position in its session. The server refuses a txnNumber below the session's last
/// one, so earlier commands can no longer be applied once the server has seen a higher number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxnPosition {
    /// Outside of a session.
    NoSession,
    /// A retryable write with this txnNumber.
    RetryableWrite(i64),
    /// The first statement of the transaction with this txnNumber.
    Start(i64),
    /// A further statement of the transaction.
    InProgress(i64),
    /// The commit of the transaction.
    Commit(i64),
}

/// The options of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOptions {
    /// The write concern.
    pub write_concern: WriteConcern,
    /// Time limit for a command, and for the acknowledgement of the members (`wtimeout`).
    pub within: Duration,
}

impl CommandOptions {
    /// Appends the options to the command in `bytes`, whose `maxTimeMS` is `limit`.
    pub fn complete(&self, bytes: &mut Vec<u8>, position: TxnPosition, limit: Duration) {
        let mut command = Document::reopen(bytes);
        let in_transaction = match position {
            TxnPosition::NoSession => false,
            TxnPosition::RetryableWrite(number) => {
                command.element(c"txnNumber").int64(number);
                false
            }
            TxnPosition::Start(number)
            | TxnPosition::InProgress(number)
            | TxnPosition::Commit(number) => {
                command.element(c"txnNumber").int64(number);
                command.element(c"autocommit").bool(false);
                true
            }
        };
        if matches!(position, TxnPosition::Start(_)) {
            command.element(c"startTransaction").bool(true);
        }
        command.element(c"maxTimeMS").int64(ms(limit));
        // The write concern of a transaction is that of its commit.
        if !in_transaction || matches!(position, TxnPosition::Commit(_)) {
            self.append_concern(&mut command);
        }
        command.end();
    }

    fn append_concern(&self, command: &mut Document<'_>) {
        let mut concern = command.element(c"writeConcern").document();
        match &self.write_concern.w {
            AcknowledgedBy::Majority => concern.element(c"w").string("majority"),
            AcknowledgedBy::Members(count) => concern.element(c"w").int32(i32::from(count.get())),
            AcknowledgedBy::Tag(tag) => concern.element(c"w").string(tag),
        }
        if self.write_concern.journal {
            concern.element(c"j").bool(true);
        }
        let limit_ms = self.write_concern.timeout_ms.map_or(i64::MAX, i64::from);
        concern.element(c"wtimeout").int64(limit_ms.min(ms(self.within)));
        concern.end();
    }
}

/// Milliseconds; never 0, which would mean no limit.
fn ms(limit: Duration) -> i64 {
    i64::try_from(limit.as_millis()).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use mongodb::bson::{Document as Parsed, RawDocument, doc};

    use super::*;

    fn completed(write_concern: WriteConcern, position: TxnPosition) -> Parsed {
        let mut bytes = Vec::new();
        let mut command = Document::begin(&mut bytes);
        command.element(c"delete").string("c");
        command.end();
        let options = CommandOptions { write_concern, within: Duration::from_secs(15) };
        options.complete(&mut bytes, position, Duration::from_secs(15));
        Parsed::try_from(RawDocument::from_bytes(&bytes).unwrap()).unwrap()
    }

    fn majority() -> WriteConcern {
        WriteConcern { w: AcknowledgedBy::Majority, journal: false, timeout_ms: None }
    }

    #[test]
    fn the_write_concern_never_contains_j_false() {
        let concern = |w, journal, timeout_ms| {
            let command =
                completed(WriteConcern { w, journal, timeout_ms }, TxnPosition::NoSession);
            command.get_document("writeConcern").unwrap().clone()
        };
        let (all, limit) = (AcknowledgedBy::Majority, 15_000_i64);
        assert_eq!(concern(all.clone(), false, None), doc! { "w": "majority", "wtimeout": limit });
        assert_eq!(
            concern(all, true, Some(5)),
            doc! { "w": "majority", "j": true, "wtimeout": 5_i64 }
        );
        let two = AcknowledgedBy::Members(NonZeroU8::new(2).unwrap());
        assert_eq!(concern(two, false, Some(5)), doc! { "w": 2, "wtimeout": 5_i64 });
        let tag = AcknowledgedBy::Tag("dc".into());
        assert_eq!(concern(tag, false, Some(99_999)), doc! { "w": "dc", "wtimeout": limit });
    }

    #[test]
    fn a_command_is_numbered_according_to_its_position() {
        let concern = doc! { "w": "majority", "wtimeout": 15_000_i64 };
        let limit = 15_000_i64;
        assert_eq!(
            completed(majority(), TxnPosition::NoSession),
            doc! { "delete": "c", "maxTimeMS": limit, "writeConcern": concern.clone() }
        );
        assert_eq!(
            completed(majority(), TxnPosition::RetryableWrite(7)),
            doc! {
                "delete": "c", "txnNumber": 7_i64, "maxTimeMS": limit,
                "writeConcern": concern.clone(),
            }
        );
    }

    #[test]
    fn only_the_commit_of_a_transaction_has_a_write_concern() {
        let further = doc! {
            "delete": "c", "txnNumber": 7_i64, "autocommit": false, "maxTimeMS": 15_000_i64,
        };
        assert_eq!(completed(majority(), TxnPosition::InProgress(7)), further);
        let first = completed(majority(), TxnPosition::Start(7));
        assert_eq!(first.get("startTransaction").and_then(|v| v.as_bool()), Some(true));
        assert!(!first.contains_key("writeConcern"));
        let commit = completed(majority(), TxnPosition::Commit(7));
        assert!(commit.contains_key("writeConcern") && commit.contains_key("autocommit"));
    }
}
