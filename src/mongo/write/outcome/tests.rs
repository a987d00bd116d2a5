use mongodb::bson::{self, doc};
use mongodb::error::CommandError;

use super::*;
use crate::core::ids::Db;
use crate::core::registration::Namespace;

fn registration() -> Registration {
    let namespace = Namespace { database: "shop".to_owned(), collection: "movies".to_owned() };
    Registration { key_field: "movieId".to_owned(), ..Registration::new(Db(0), b"m:", namespace) }
}

fn command_error(code: i32) -> Error {
    let reply = doc! { "code": code, "codeName": "Name", "errmsg": "secret value 42" };
    ErrorKind::Command(bson::deserialize_from_document::<CommandError>(reply).unwrap()).into()
}

/// Ten operations, counted as deletes.
const TEN: Expected = Expected { ops: 10, written: 0, in_order: false };

fn whole(code: i32) -> Outcome {
    classify(Err(&command_error(code)), &registration(), TEN)
}

fn reply(mut reply: Document) -> Outcome {
    reply.entry("n".to_owned()).or_insert_with(|| 9.into());
    classify(Ok(&reply), &registration(), TEN)
}

fn is_settled(end: &Result<Document, Error>) -> bool {
    super::is_settled(end, &classify(end.as_ref(), &registration(), Expected::NO_OPS))
}

fn op_error(code: i32) -> Document {
    doc! { "index": 3, "code": code, "errmsg": "secret value 42", "keyValue": { "a": 42 } }
}

fn one_op(code: i32) -> Outcome {
    reply(doc! { "ok": 1, "n": 9, "writeErrors": [op_error(code)] })
}

fn duplicate_in(pattern: Document) -> Action {
    let mut error = op_error(DUPLICATE_KEY);
    error.insert("keyPattern", pattern);
    let Outcome::Answered(mut write_errors) = reply(doc! { "ok": 1, "writeErrors": [error] })
    else {
        panic!("a duplicate concerns one operation");
    };
    assert_eq!(write_errors.len(), 1);
    write_errors.remove(0).action
}

#[test]
fn a_reply_without_errors_acknowledges_everything() {
    let upserted = doc! { "ok": 1, "n": 2, "nModified": 1, "upserted": [{ "index": 0, "_id": 1 }] };
    assert_eq!(reply(upserted), Outcome::Answered(vec![]));
}

#[test]
fn broken_connections_are_failures_of_the_link() {
    let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let outcome = classify(Err(&Error::from(reset)), &registration(), TEN);
    let Outcome::Failed(Failure::Link(LinkError { error: sentence, .. })) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(sentence, "the connection to MongoDB broke: connection reset");
}

#[test]
fn a_shard_that_mongos_does_not_reach_affects_its_namespaces() {
    for code in [6, 7, 89, 202, 9001, 133] {
        let outcome = whole(code);
        let Outcome::Failed(Failure::Part(broken)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(broken.unanswered, code != 133, "{code}");
    }
}

#[test]
fn a_command_without_a_reply_may_still_be_applied() {
    let reset = Error::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    assert!(!is_settled(&Err(reset.clone())));
    assert!(broken(&reset).unanswered);
    for code in [6, 7, 89, 9001] {
        assert!(!is_settled(&Err(command_error(code))), "{code}");
    }
    for code in [91, 13, 50, 11_602] {
        assert!(is_settled(&Err(command_error(code))), "{code}");
        assert!(!broken(&command_error(code)).unanswered, "{code}");
    }
    assert!(is_settled(&Ok(doc! { "ok": 1 })));
}

#[test]
fn errors_that_the_operator_must_fix_are_permanent() {
    for (code, permanent) in [(18, true), (79, true), (100, true), (64, false), (10_107, false)] {
        let outcome = whole(code);
        let Outcome::Failed(Failure::Link(broken)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(broken.permanent, permanent, "{code}");
    }
}

#[test]
fn a_server_that_is_no_primary_is_a_failure_of_the_link() {
    for code in [91, 189, 10107, 10058, 11600, 11602, 13435, 13436, 391, 18] {
        assert!(matches!(whole(code), Outcome::Failed(Failure::Link(_))), "{code}");
        assert!(matches!(one_op(code), Outcome::Failed(Failure::Link(_))), "{code} of one op");
    }
}

#[test]
fn applied_but_not_acknowledged_is_not_written() {
    for code in [64, 11602, 91, 189, 11600, 10107, 79, 100, 50, 999_999] {
        let late = [64, 50].contains(&code);
        let applied = doc! {
            "ok": 1, "n": 5, "writeConcernError": { "code": code, "errmsg": "secret value 42" },
        };
        let sentence = match reply(applied) {
            Outcome::Failed(Failure::Link(LinkError { error, .. })) if !late => error,
            Outcome::Unconfirmed(LinkError { error, .. }) if late => error,
            outcome => panic!("{outcome:?}"),
        };
        assert!(!sentence.contains("42 ") && sentence.contains(&code.to_string()), "{sentence}");
    }
}

#[test]
fn a_write_concern_error_takes_precedence_over_write_errors() {
    let both = doc! {
        "ok": 1, "writeErrors": [op_error(121)], "writeConcernError": { "code": 64 },
    };
    assert!(matches!(reply(both), Outcome::Unconfirmed(_)));
}

#[test]
fn privileges_and_names_are_failures_of_the_namespace() {
    for code in [13, 20, 72, 73, 166, 371, 8000, 13297, 14_031] {
        let outcome = whole(code);
        let Outcome::Failed(Failure::Namespace(sentence)) = outcome else { panic!("{outcome:?}") };
        assert!(sentence.starts_with("MongoDB does not write to shop.movies: "), "{sentence}");
        assert!(matches!(one_op(code), Outcome::Failed(Failure::Namespace(_))), "{code} of one op");
    }
}

#[test]
fn an_unknown_or_misplaced_error_of_a_whole_command_causes_no_dead_letters() {
    for code in [999_999, 2, 9, 121, 11000] {
        assert!(matches!(whole(code), Outcome::Failed(Failure::Namespace(_))), "{code}");
    }
}

#[test]
fn a_transient_error_is_retried_and_never_a_dead_letter() {
    for code in [
        24, 46, 48, 63, 107, 112, 117, 150, 246, 251, 272, 314, 365, 388, 402, 433, 11_601, 12_587,
        13_388, 16_500,
    ] {
        for (outcome, place) in [(whole(code), None), (one_op(code), Some(3))] {
            let Outcome::Answered(write_errors) = outcome else { panic!("{code}: {outcome:?}") };
            let [WriteError { op, action: Action::RetryThenWait(reason), .. }] =
                write_errors.as_slice()
            else {
                panic!("{code}: {write_errors:?}");
            };
            assert_eq!(*op, place);
            assert!(reason.contains("shop.movies") && !reason.contains("42 "), "{reason}");
        }
    }
}

#[test]
fn a_command_that_exceeds_its_time_limit_is_too_slow() {
    for code in [50, 262] {
        assert_eq!(whole(code), Outcome::TooSlow);
        let Outcome::Answered(write_errors) = one_op(code) else {
            panic!("it concerns one operation")
        };
        assert!(matches!(write_errors[0].action, Action::RetryThenWait(_)));
    }
}

#[test]
fn a_rejected_command_must_be_bisected() {
    for code in [10334, 16, 22, 15, 40414, 40415] {
        assert!(matches!(whole(code), Outcome::Rejected { code: c, .. } if c == code), "{code}");
    }
}

#[test]
fn an_unwritable_document_is_refused_with_a_reason_without_values() {
    let codes =
        [121, 10334, 17419, 17420, 2, 15, 9, 40, 52, 55, 56, 53, 66, 16755, 16766, 171, 61, 28, 22];
    for code in codes {
        let outcome = one_op(code);
        let Outcome::Answered(write_errors) = outcome else { panic!("{outcome:?}") };
        let [WriteError { op: Some(3), action: Action::Refuse(reason), .. }] =
            write_errors.as_slice()
        else {
            panic!("{code}: {write_errors:?}");
        };
        assert!(reason.ends_with(&format!("(code {code})")), "{reason}");
        assert!(!reason.contains("secret"), "{reason}");
    }
}

#[test]
fn a_duplicate_in_a_unique_index_is_contested_and_names_the_fields_only() {
    let reason = "another document has the same value in the unique index of email (code 11000)";
    let contested = |reason: &str| {
        Action::Contested(Box::new(Duplicate {
            reason: reason.to_owned(),
            values: vec![("a".to_owned(), Bson::Int32(42))],
        }))
    };
    assert_eq!(duplicate_in(doc! { "email": 1 }), contested(reason));
    assert!(matches!(duplicate_in(doc! { "_id": 1, "x": 1 }), Action::Contested(_)));
    assert!(matches!(one_op(DUPLICATE_KEY), Outcome::Answered(write_errors)
        if matches!(write_errors[0].action, Action::Contested(_))));
}

#[test]
fn a_duplicate_of_a_missing_field_is_reported_as_such() {
    for (value, expected) in [
        (doc! { "a": null, "b": null }, "without a, b"),
        (doc! { "a": null, "b": "secret" }, "same value in the unique index of a, b"),
        (doc! {}, "same value in the unique index of a, b"),
    ] {
        let pattern = doc! { "a": 1, "b": 1 };
        let error = doc! { "index": 3, "code": 11000, "keyPattern": pattern, "keyValue": value };
        let outcome = reply(doc! { "ok": 1, "writeErrors": [error] });
        let Outcome::Answered(write_errors) = outcome else { panic!("{outcome:?}") };
        let [WriteError { action: Action::Contested(duplicate), .. }] = &write_errors[..] else {
            panic!("{write_errors:?}")
        };
        let reason = &duplicate.reason;
        assert!(reason.contains(expected) && !reason.contains("secret"), "{reason}");
    }
}

#[test]
fn a_missing_index_is_a_failure_of_the_namespace_and_values_do_not_imitate_it() {
    let end = |errmsg: &str| {
        let error = doc! { "index": 3, "code": 2, "errmsg": errmsg };
        reply(doc! { "ok": 1, "writeErrors": [error] })
    };
    let missing = end(&format!("planner returned error :: caused by :: {NO_INDEX}"));
    assert!(matches!(missing, Outcome::Failed(Failure::Namespace(_))), "{missing:?}");
    let refused = end(&format!("no such field '{NO_INDEX}' is allowed"));
    assert!(matches!(refused, Outcome::Answered(_)), "{refused:?}");
}

#[test]
fn a_duplicate_of_the_key_itself_is_a_race_and_retried_first() {
    for field in ["_id", "movieId"] {
        assert!(matches!(duplicate_in(doc! { field: 1 }), Action::RetryThenRefuse(_)), "{field}");
    }
}

#[test]
fn an_error_of_the_collection_or_the_document_is_classified_by_other_operations() {
    for (code, word) in
        [(999_999, "refuses the change"), (17_262, "language_override"), (10_003, "capped")]
    {
        let Outcome::Answered(mut write_errors) = one_op(code) else { panic!("{code} is of one") };
        let Action::RetryThenClassify(reason) = write_errors.remove(0).action else {
            panic!("{code} is to be judged");
        };
        assert!(reason.contains(word) && reason.ends_with(&format!("(code {code})")), "{reason}");
    }
}

#[test]
fn numbers_of_a_reply_may_have_any_type() {
    let errors = doc! { "ok": 1.0, "writeErrors": [
        { "index": 1_i64, "code": 121.0 }, { "index": 2, "code": 121_i64 },
    ] };
    let Outcome::Answered(write_errors) = reply(errors) else { panic!("the server answered") };
    let places: Vec<_> =
        write_errors.iter().map(|write_error| (write_error.op, write_error.code)).collect();
    assert_eq!(places, [(Some(1), 121), (Some(2), 121)]);
}

#[test]
fn an_inconsistent_reply_does_not_count_as_a_reply() {
    for inconsistent in [
        doc! { "ok": 1, "writeErrors": "secret value 42" },
        doc! { "ok": 1, "writeErrors": [{ "code": 121 }] },
        doc! { "ok": 1, "writeErrors": [{ "index": 10, "code": 121 }] },
        doc! { "ok": 1, "n": "secret value 42" },
    ] {
        let outcome = reply(inconsistent.clone());
        let Outcome::Failed(Failure::Part(why)) = &outcome else { panic!("{outcome:?}") };
        assert!(why.unanswered && why.error.contains("shop.movies"), "{}", why.error);
        assert!(!why.error.contains("42"), "{}", why.error);
        assert!(!super::is_settled(&Ok(inconsistent), &outcome));
    }
    let short = doc! { "ok": 1, "n": 9 };
    let outcome =
        classify(Ok(&short), &registration(), Expected { ops: 10, written: 10, in_order: false });
    assert!(matches!(outcome, Outcome::Failed(Failure::Part(_))), "{outcome:?}");
}
