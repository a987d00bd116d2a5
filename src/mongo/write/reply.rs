//! Reads the reply to a write command, and rejects an inconsistent one: a reply must account for
//! every operation of its command, as applied or as failed.

use mongodb::bson::{Bson, Document};

/// The operations that the reply to a command must account for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Operations of the command.
    pub ops: usize,
    /// The number of them that write one document each, or fail: inserts and upserts. A delete may
    /// find none.
    pub written: usize,
    /// True if the first error ends the command: an ordered one, or one in a transaction.
    pub in_order: bool,
}

impl Expected {
    /// A command without operations.
    pub const NO_OPS: Expected = Expected { ops: 0, written: 0, in_order: false };
}

/// An operation that was not applied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpError<'r> {
    /// Its index in the command.
    pub op: usize,
    /// MongoDB's code.
    pub code: i32,
    /// Its entry in `writeErrors`.
    pub error: &'r Document,
}

/// The operations that were not applied according to `reply`, each once, with its first error.
///
/// # Errors
/// What is wrong with the reply, in a few words; no operation of the command counts as written.
pub fn op_errors(reply: &Document, expected: Expected) -> Result<Vec<OpError<'_>>, &'static str> {
    let named = match reply.get("writeErrors") {
        None => &[][..],
        Some(Bson::Array(named)) => named.as_slice(),
        Some(_) => return Err("writeErrors is no array"),
    };
    let mut errors: Vec<OpError<'_>> = Vec::with_capacity(named.len().min(expected.ops));
    for error in named {
        let error = error.as_document().ok_or("an element of writeErrors is no document")?;
        let op = error.get("index").and_then(integer).and_then(|index| usize::try_from(index).ok());
        let op = op.filter(|op| *op < expected.ops);
        let op = op.ok_or("an error names no operation of the command")?;
        let code = error.get("code").and_then(integer).and_then(|code| i32::try_from(code).ok());
        let code = code.ok_or("an error has no code")?;
        errors.push(OpError { op, code, error });
    }
    // The sort is stable: of several errors of an operation the first one is kept.
    errors.sort_by_key(|error| error.op);
    errors.dedup_by_key(|error| error.op);
    if expected.ops > 0 {
        let applied = reply.get("n").and_then(integer).and_then(|n| usize::try_from(n).ok());
        let applied = applied.ok_or("it has no count of documents")?;
        let ends_early = expected.in_order && !errors.is_empty();
        if !ends_early && applied.saturating_add(errors.len()) < expected.written {
            return Err("it accounts for fewer operations than were sent");
        }
    }
    Ok(errors)
}

/// The code of a write concern error, if there is one; -1 if it has no code. Its presence alone
/// means that the writes may be rolled back.
pub fn write_concern_error(reply: &Document) -> Option<i32> {
    let code = |error: &Bson| integer(error.as_document()?.get("code")?);
    let error = reply.get("writeConcernError")?;
    Some(code(error).and_then(|code| i32::try_from(code).ok()).unwrap_or(-1))
}

/// An integer. Servers and proxies differ in its BSON type.
fn integer(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(n) => Some(i64::from(*n)),
        Bson::Int64(n) => Some(*n),
        Bson::Double(n) if n.fract() == 0.0 && n.abs() < 9e15 => Some(*n as i64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;
    use proptest::prelude::*;

    use super::*;

    const THREE: Expected = Expected { ops: 3, written: 3, in_order: false };
    const THREE_DELETES: Expected = Expected { ops: 3, written: 0, in_order: false };

    fn failed(reply: &Document, expected: Expected) -> Result<Vec<(usize, i32)>, &'static str> {
        let errors = op_errors(reply, expected)?;
        Ok(errors.into_iter().map(|error| (error.op, error.code)).collect())
    }

    #[test]
    fn every_operation_is_applied_or_has_an_error() {
        assert_eq!(failed(&doc! { "n": 3 }, THREE), Ok(vec![]));
        assert_eq!(failed(&doc! { "n": 3.0, "writeErrors": [] }, THREE), Ok(vec![]));
        let error = doc! { "index": 1_i64, "code": 121.0 };
        assert_eq!(failed(&doc! { "n": 2, "writeErrors": [error] }, THREE), Ok(vec![(1, 121)]));
        assert_eq!(failed(&doc! { "n": 0 }, THREE_DELETES), Ok(vec![]));
        assert_eq!(failed(&doc! {}, Expected::NO_OPS), Ok(vec![]));
    }

    #[test]
    fn an_operation_with_two_errors_failed_once() {
        let error = |index, code| doc! { "index": index, "code": code };
        let errors = [error(2, 11), error(0, 112), error(2, 121)];
        let reply = doc! { "n": 1, "writeErrors": errors.to_vec() };
        assert_eq!(failed(&reply, THREE), Ok(vec![(0, 112), (2, 11)]));
        let reply = doc! { "n": 1, "writeErrors": [error(2, 11), error(2, 11)] };
        assert!(failed(&reply, THREE).is_err(), "one operation is neither applied nor named");
    }

    #[test]
    fn an_inconsistent_reply_is_rejected() {
        let named = |error: Document| doc! { "n": 2, "writeErrors": [error] };
        for reply in [
            doc! {},
            doc! { "n": 2 },
            doc! { "n": "3" },
            doc! { "n": -3 },
            doc! { "n": f64::NAN },
            doc! { "n": 2.5 },
            doc! { "n": 3, "writeErrors": 1 },
            doc! { "n": 3, "writeErrors": Bson::Null },
            doc! { "n": 3, "writeErrors": { "0": { "index": 0, "code": 1 } } },
            doc! { "n": 2, "writeErrors": [1] },
            named(doc! {}),
            named(doc! { "code": 121 }),
            named(doc! { "index": 1 }),
            named(doc! { "index": 1, "code": "121" }),
            named(doc! { "index": 1, "code": i64::MAX }),
            named(doc! { "index": "1", "code": 121 }),
            named(doc! { "index": 3, "code": 121 }),
            named(doc! { "index": -1, "code": 121 }),
            named(doc! { "index": i64::MAX, "code": 121 }),
            named(doc! { "index": 1.5, "code": 121 }),
        ] {
            assert!(op_errors(&reply, THREE).is_err(), "{reply}");
        }
        assert!(op_errors(&doc! {}, THREE_DELETES).is_err());
    }

    #[test]
    fn an_ordered_command_ends_at_its_first_error() {
        let steps = Expected { ops: 4, written: 2, in_order: true };
        let error = doc! { "index": 1, "code": 121 };
        assert_eq!(failed(&doc! { "n": 1, "writeErrors": [error] }, steps), Ok(vec![(1, 121)]));
        assert_eq!(failed(&doc! { "n": 2 }, steps), Ok(vec![]));
        assert!(op_errors(&doc! { "n": 1 }, steps).is_err());
    }

    #[test]
    fn any_write_concern_error_counts() {
        assert_eq!(write_concern_error(&doc! { "n": 1 }), None);
        for (error, code) in [
            (Bson::from(doc! { "code": 64 }), 64),
            (Bson::from(doc! { "code": "64" }), -1),
            (Bson::from(doc! {}), -1),
            (Bson::from("late"), -1),
            (Bson::Null, -1),
        ] {
            assert_eq!(write_concern_error(&doc! { "writeConcernError": error }), Some(code));
        }
    }

    proptest! {
        #[test]
        fn an_operation_that_is_neither_applied_nor_failed_never_counts_as_written(
            ops in 1usize..20,
            applied in -2i32..22,
            named in prop::collection::vec((-2i32..22, 0i32..20_000), 0..10),
        ) {
            let errors: Vec<_> =
                named.iter().map(|(index, code)| doc! { "index": index, "code": code }).collect();
            let reply = doc! { "n": applied, "writeErrors": errors };
            if let Ok(errors) = op_errors(&reply, Expected { ops, written: ops, in_order: false }) {
                prop_assert!(errors.is_sorted_by(|a, b| a.op < b.op));
                prop_assert!(errors.iter().all(|error| error.op < ops));
                let is_kept = |index: i32| errors.iter().any(|error| error.op as i32 == index);
                prop_assert!(named.iter().all(|(index, _)| is_kept(*index)));
                prop_assert!(applied as usize + errors.len() >= ops);
            }
        }
    }
}
