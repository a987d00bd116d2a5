//! Reads the reply to a write command, and believes nothing that contradicts itself: a reply must
//! account for every operation of its command, as done or as failed.

use mongodb::bson::{Bson, Document};

/// What the reply to a command has to account for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Operations of the command.
    pub ops: usize,
    /// So many of them write one document each, or fail: inserts and upserts. A delete may find none.
    pub written: usize,
    /// True if the first error ends the command: in order, or in a transaction.
    pub in_order: bool,
}

impl Expected {
    /// The command has no operations.
    pub const NO_OPS: Expected = Expected { ops: 0, written: 0, in_order: false };
}

/// An operation that was not applied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpError<'r> {
    /// Its place in the command.
    pub op: usize,
    /// MongoDB's code.
    pub code: i32,
    /// All that the reply says of it.
    pub error: &'r Document,
}

/// The operations of which `reply` says that they were not applied, each once: the first error
/// counts.
///
/// # Errors
/// What is wrong with the reply, in a few words; nothing of the command may be taken as written.
pub fn op_errors(reply: &Document, expected: Expected) -> Result<Vec<OpError<'_>>, &'static str> {
    let named = match reply.get("writeErrors") {
        None => &[][..],
        Some(Bson::Array(named)) => named.as_slice(),
        Some(_) => return Err("writeErrors is no array"),
    };
    let mut errors: Vec<OpError<'_>> = Vec::with_capacity(named.len().min(expected.ops));
    for error in named {
        let error = error.as_document().ok_or("an element of writeErrors is no document")?;
        let op = error.get("index").and_then(whole).and_then(|index| usize::try_from(index).ok());
        let op = op.filter(|op| *op < expected.ops);
        let op = op.ok_or("an error names no operation of the command")?;
        let code = error.get("code").and_then(whole).and_then(|code| i32::try_from(code).ok());
        let code = code.ok_or("an error has no code")?;
        errors.push(OpError { op, code, error });
    }
    // A stable sort: of several errors of an operation the first one stays.
    errors.sort_by_key(|error| error.op);
    errors.dedup_by_key(|error| error.op);
    if expected.ops > 0 {
        let done = reply.get("n").and_then(whole).and_then(|n| usize::try_from(n).ok());
        let done = done.ok_or("it has no count of documents")?;
        let ends_early = expected.in_order && !errors.is_empty();
        if !ends_early && done.saturating_add(errors.len()) < expected.written {
            return Err("it accounts for fewer operations than were sent");
        }
    }
    Ok(errors)
}

/// The code of an error of the write concern, if there is one; -1 where the reply has none. Its
/// mere presence means that the writes are not known to last.
pub fn unconfirmed(reply: &Document) -> Option<i32> {
    let code = |error: &Bson| whole(error.as_document()?.get("code")?);
    let error = reply.get("writeConcernError")?;
    Some(code(error).and_then(|code| i32::try_from(code).ok()).unwrap_or(-1))
}

/// A whole number. Servers and proxies differ in its type.
fn whole(value: &Bson) -> Option<i64> {
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
    fn every_operation_is_done_or_named() {
        assert_eq!(failed(&doc! { "n": 3 }, THREE), Ok(vec![]));
        assert_eq!(failed(&doc! { "n": 3.0, "writeErrors": [] }, THREE), Ok(vec![]));
        let error = doc! { "index": 1_i64, "code": 121.0 };
        assert_eq!(failed(&doc! { "n": 2, "writeErrors": [error] }, THREE), Ok(vec![(1, 121)]));
        assert_eq!(failed(&doc! { "n": 0 }, THREE_DELETES), Ok(vec![]));
        assert_eq!(failed(&doc! {}, Expected::NO_OPS), Ok(vec![]));
    }

    #[test]
    fn an_operation_that_is_named_twice_failed_once() {
        let error = |index, code| doc! { "index": index, "code": code };
        let errors = [error(2, 11), error(0, 112), error(2, 121)];
        let reply = doc! { "n": 1, "writeErrors": errors.to_vec() };
        assert_eq!(failed(&reply, THREE), Ok(vec![(0, 112), (2, 11)]));
        let reply = doc! { "n": 1, "writeErrors": [error(2, 11), error(2, 11)] };
        assert!(failed(&reply, THREE).is_err(), "one operation is neither done nor named");
    }

    #[test]
    fn what_contradicts_itself_is_not_believed() {
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
    fn a_command_in_order_ends_at_its_first_error() {
        let steps = Expected { ops: 4, written: 2, in_order: true };
        let error = doc! { "index": 1, "code": 121 };
        assert_eq!(failed(&doc! { "n": 1, "writeErrors": [error] }, steps), Ok(vec![(1, 121)]));
        assert_eq!(failed(&doc! { "n": 2 }, steps), Ok(vec![]));
        assert!(op_errors(&doc! { "n": 1 }, steps).is_err());
    }

    #[test]
    fn an_error_of_the_write_concern_counts_whatever_it_is() {
        assert_eq!(unconfirmed(&doc! { "n": 1 }), None);
        for (error, code) in [
            (Bson::from(doc! { "code": 64 }), 64),
            (Bson::from(doc! { "code": "64" }), -1),
            (Bson::from(doc! {}), -1),
            (Bson::from("late"), -1),
            (Bson::Null, -1),
        ] {
            assert_eq!(unconfirmed(&doc! { "writeConcernError": error }), Some(code));
        }
    }

    proptest! {
        #[test]
        fn what_is_neither_done_nor_named_is_never_taken_for_written(
            ops in 1usize..20,
            done in -2i32..22,
            named in prop::collection::vec((-2i32..22, 0i32..20_000), 0..10),
        ) {
            let errors: Vec<_> =
                named.iter().map(|(index, code)| doc! { "index": index, "code": code }).collect();
            let reply = doc! { "n": done, "writeErrors": errors };
            if let Ok(errors) = op_errors(&reply, Expected { ops, written: ops, in_order: false }) {
                prop_assert!(errors.is_sorted_by(|a, b| a.op < b.op));
                prop_assert!(errors.iter().all(|error| error.op < ops));
                let is_kept = |index: i32| errors.iter().any(|error| error.op as i32 == index);
                prop_assert!(named.iter().all(|(index, _)| is_kept(*index)));
                prop_assert!(done as usize + errors.len() >= ops);
            }
        }
    }
}
