//! What each command says besides its operations: how durable, how long it may take, and its number
//! in the session that it is sent in. It is appended last, because only then it is known.

use std::time::Duration;

use crate::core::mapping::bson::Document;
use crate::mongo::write_concern::{AcknowledgedBy, WriteConcern};

/// A command's place in its session. The server refuses a number below the session's last one, so
/// what was sent before can no longer be applied once a higher number has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxnPosition {
    /// In no session.
    NoSession,
    /// A retryable write with this number.
    RetryableWrite(i64),
    /// The first statement of the transaction with this number.
    Start(i64),
    /// A further statement of that transaction.
    InProgress(i64),
    /// The end of that transaction.
    Commit(i64),
}

/// What each command holds besides the operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOptions {
    /// The write concern.
    pub write_concern: WriteConcern,
    /// How long the server may take for a command at most, and for the members' confirmation.
    pub within: Duration,
}

impl CommandOptions {
    /// Completes a command, which is all of `bytes` and may take `limit`.
    pub fn complete(&self, bytes: &mut Vec<u8>, place: TxnPosition, limit: Duration) {
        let mut command = Document::reopen(bytes);
        let in_transaction = match place {
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
        if matches!(place, TxnPosition::Start(_)) {
            command.element(c"startTransaction").bool(true);
        }
        command.element(c"maxTimeMS").int64(ms(limit));
        // A transaction is confirmed as a whole.
        if !in_transaction || matches!(place, TxnPosition::Commit(_)) {
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

/// Never 0, which would mean indefinitely.
fn ms(limit: Duration) -> i64 {
    i64::try_from(limit.as_millis()).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use mongodb::bson::{Document as Parsed, RawDocument, doc};

    use super::*;

    fn completed(write_concern: WriteConcern, place: TxnPosition) -> Parsed {
        let mut bytes = Vec::new();
        let mut command = Document::begin(&mut bytes);
        command.element(c"delete").string("c");
        command.end();
        let options = CommandOptions { write_concern, within: Duration::from_secs(15) };
        options.complete(&mut bytes, place, Duration::from_secs(15));
        Parsed::try_from(RawDocument::from_bytes(&bytes).unwrap()).unwrap()
    }

    fn majority() -> WriteConcern {
        WriteConcern { w: AcknowledgedBy::Majority, journal: false, timeout_ms: None }
    }

    #[test]
    fn the_write_concern_never_says_that_the_journal_is_not_waited_for() {
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
    fn a_command_is_numbered_as_its_place_demands() {
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
    fn only_the_end_of_a_transaction_is_confirmed_by_members() {
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
