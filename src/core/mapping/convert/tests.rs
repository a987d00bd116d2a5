//! Converts text and JSON scalars to every type; decimals and dates are compared with the `bson`
//! crate.

use mongodb::bson::{DateTime, Decimal128};
use proptest::prelude::*;

use super::*;
use crate::core::registration::schema::FIELD_TYPES;

fn of(text: &str, to: FieldType) -> Option<Converted<'_>> {
    convert(Scalar::Bytes(text.as_bytes()), to)
}

fn refuses(to: FieldType, texts: &[&str]) {
    for text in texts {
        assert_eq!(of(text, to), None, "{text:?}");
    }
    assert_eq!(convert(Scalar::Bytes(b"\xff"), to), None);
}

#[test]
fn integers_are_read_up_to_their_limits() {
    for (text, value) in [
        ("0", 0),
        ("-0", 0),
        ("+7", 7),
        ("007", 7),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808", i64::MIN),
    ] {
        assert_eq!(of(text, FieldType::Int64), Some(Converted::Int64(value)), "{text}");
    }
    refuses(
        FieldType::Int64,
        &["", "-", "1.0", "1e3", " 1", "1 ", "9223372036854775808", "-9223372036854775809", "x"],
    );
    let of = |value| convert(value, FieldType::Int64);
    assert_eq!(of(Scalar::Int(5)), Some(Converted::Int64(5)));
    assert_eq!(of(Scalar::Double(-3.0)), Some(Converted::Int64(-3)));
    assert_eq!(of(Scalar::Double(i64::MIN as f64)), Some(Converted::Int64(i64::MIN)));
    for value in [Scalar::Double(0.5), Scalar::Double(9.3e18), Scalar::Double(f64::NAN)] {
        assert_eq!(of(value), None);
    }
    assert_eq!((of(Scalar::Unsigned(u64::MAX)), of(Scalar::Bool(true))), (None, None));
}

#[test]
fn doubles_are_read_and_numbers_out_of_range_are_refused() {
    for (text, value) in [
        ("1", 1.0),
        ("-0.0", -0.0),
        ("1e308", 1e308),
        ("5e-324", 5e-324),
        ("0e-999", 0.0),
        ("inf", f64::INFINITY),
        ("-Infinity", f64::NEG_INFINITY),
    ] {
        let Some(Converted::Double(found)) = of(text, FieldType::Double) else {
            panic!("{text}");
        };
        assert_eq!(found.to_bits(), f64::to_bits(value), "{text}");
    }
    assert!(matches!(of("nan", FieldType::Double), Some(Converted::Double(nan)) if nan.is_nan()));
    refuses(FieldType::Double, &["", "1e400", "-1e400", "1e-400", "1,5", "0x1", "one", " 1"]);
    assert_eq!(convert(Scalar::Int(3), FieldType::Double), Some(Converted::Double(3.0)));
    assert_eq!(convert(Scalar::Bool(true), FieldType::Double), None);
}

#[test]
fn booleans_are_true_false_1_and_0() {
    for (texts, value) in
        [(["1", "true", "TRUE", "True"], true), (["0", "false", "FALSE", "fAlse"], false)]
    {
        for text in texts {
            assert_eq!(of(text, FieldType::Bool), Some(Converted::Bool(value)), "{text}");
        }
    }
    refuses(FieldType::Bool, &["", "2", "yes", "on", "t", "01"]);
    assert_eq!(convert(Scalar::Int(1), FieldType::Bool), Some(Converted::Bool(true)));
    assert_eq!(convert(Scalar::Int(2), FieldType::Bool), None);
    assert_eq!(convert(Scalar::Double(1.0), FieldType::Bool), None);
}

#[test]
fn dates_are_read_from_iso_8601_seconds_and_milliseconds() {
    for (text, unix_ms) in [
        ("0", 0),
        ("-1", -1_000),
        ("1700000000", 1_700_000_000_000),
        ("99999999999", 99_999_999_999_000),
        ("100000000000", 100_000_000_000),
        ("1700000000123", 1_700_000_000_123),
        // As redis-om, Python and Java format a timestamp.
        ("1659038730.123", 1_659_038_730_123),
        ("1659038730.1234567", 1_659_038_730_123),
        ("1.659038730123E9", 1_659_038_730_123),
        ("99999999999.9999", 99_999_999_999_999),
        ("-0.25", -250),
        ("1700000000123.75", 1_700_000_000_123),
        ("1970-01-01", 0),
        ("2024-02-29", 1_709_164_800_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000),
        ("2023-11-14 22:13:20", 1_700_000_000_000),
        ("2023-11-14T22:13", 1_699_999_980_000),
        ("2023-11-14T22:13:20.1Z", 1_700_000_000_100),
        ("2023-11-14T22:13:20.123987Z", 1_700_000_000_123),
        ("2023-11-14T23:43:20+01:30", 1_700_000_000_000),
        ("2023-11-14T20:13:20-0200", 1_700_000_000_000),
        ("2023-11-15T00:13:20.000+02", 1_700_000_000_000),
        ("1969-12-31T23:59:59.999Z", -1),
        ("0000-01-01", -62_167_219_200_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ] {
        assert_eq!(of(text, FieldType::Date), Some(Converted::Date(unix_ms)), "{text}");
    }
    refuses(
        FieldType::Date,
        &[
            "",
            "-",
            "1.",
            ".5",
            "1659038730,5",
            "1659038730.5Z",
            "1e30",
            "tomorrow",
            "2023-",
            "2023-1-1",
            "2023-13-01",
            "2023-00-01",
            "2023-02-29",
            "1900-02-29",
            "2023-04-31",
            "2023-01-00",
            "2023-01-01T",
            "2023-01-01T24:00",
            "2023-01-01T10",
            "2023-01-01T10:60",
            "2023-01-01T10:00:60",
            "2023-01-01T10:00:00.",
            "2023-01-01T10:00:00+1",
            "2023-01-01T10:00:00+24:00",
            "2023-01-01T10:00:00+01:",
            "2023-01-01T10:00:00Zx",
            "2023-01-01Z",
            "9999999999999999999",
        ],
    );
    assert_eq!(convert(Scalar::Int(7), FieldType::Date), Some(Converted::Date(7_000)));
    assert_eq!(convert(Scalar::Double(7.0), FieldType::Date), Some(Converted::Date(7_000)));
    let redis_om = Scalar::Double(1_659_038_730.123);
    assert_eq!(convert(redis_om, FieldType::Date), Some(Converted::Date(1_659_038_730_123)));
    assert_eq!(convert(Scalar::Double(1e30), FieldType::Date), None);
    assert_eq!(convert(Scalar::Unsigned(u64::MAX), FieldType::Date), None);
    assert_eq!(convert(Scalar::Bool(true), FieldType::Date), None);
}

#[test]
fn the_unit_of_a_date_is_not_guessed_if_it_is_given() {
    for (text, seconds, milliseconds) in [
        ("50000000000", Some(50_000_000_000_000), Some(50_000_000_000)),
        ("0.5", Some(500), Some(0)),
        ("-0.5", Some(-500), Some(-1)),
        ("1659038730123", Some(1_659_038_730_123_000), Some(1_659_038_730_123)),
        ("9223372036854775807", None, Some(i64::MAX)),
        ("2023-11-14T22:13:20Z", Some(1_700_000_000_000), Some(1_700_000_000_000)),
        ("yesterday", None, None),
    ] {
        assert_eq!(of(text, FieldType::DateS), seconds.map(Converted::Date), "{text}");
        assert_eq!(of(text, FieldType::DateMs), milliseconds.map(Converted::Date), "{text}");
    }
    let number = Scalar::Int(50_000_000_000);
    assert_eq!(convert(number, FieldType::DateMs), Some(Converted::Date(50_000_000_000)));
    assert_eq!(convert(number, FieldType::DateS), Some(Converted::Date(50_000_000_000_000)));
}

#[test]
fn ids_and_binary_data_are_converted() {
    let hex = "000102030405060708abcdef";
    let id = [0, 1, 2, 3, 4, 5, 6, 7, 8, 0xab, 0xcd, 0xef];
    assert_eq!(of(hex, FieldType::ObjectId), Some(Converted::ObjectId(id)));
    refuses(FieldType::ObjectId, &["", "00", "000102030405060708abcdeg"]);
    let uuid = of("123e4567-e89b-12d3-a456-426614174000", FieldType::Uuid);
    assert!(matches!(uuid, Some(Converted::Uuid([0x12, 0x3e, ..]))));
    refuses(FieldType::Uuid, &["", "123e4567e89b12d3a456426614174000"]);
    assert_eq!(of("text", FieldType::Binary), Some(Converted::Binary(b"text")));
    let bytes = Scalar::Bytes(b"\xff\0");
    assert_eq!(convert(bytes, FieldType::Binary), Some(Converted::Binary(b"\xff\0")));
    assert_eq!(convert(bytes, FieldType::String), Some(Converted::Binary(b"\xff\0")));
    for to in [FieldType::ObjectId, FieldType::Uuid, FieldType::Binary] {
        assert_eq!(convert(Scalar::Int(1), to), None);
    }
}

#[test]
fn other_values_become_strings_as_json_formats_them() {
    for (value, text) in [
        (Scalar::Int(-5), "-5"),
        (Scalar::Unsigned(u64::MAX), "18446744073709551615"),
        (Scalar::Double(1.0), "1.0"),
        (Scalar::Double(1e300), "1e+300"),
        (Scalar::Bool(false), "false"),
    ] {
        let Some(Converted::Written(found)) = convert(value, FieldType::String) else {
            panic!("{text}");
        };
        // The sign of a positive exponent does not matter.
        assert_eq!(found.replace("e+", "e"), text.replace("e+", "e"));
    }
}

#[test]
fn auto_converts_only_numbers_that_format_to_the_same_text() {
    for (text, value) in [("0", 0), ("-7", -7), ("9223372036854775807", i64::MAX)] {
        assert_eq!(of(text, FieldType::Auto), Some(Converted::Int64(value)));
    }
    for (text, value) in [("0.5", 0.5), ("-3.25", -3.25), ("1.0", 1.0), ("10.6", 10.6)] {
        assert_eq!(of(text, FieldType::Auto), Some(Converted::Double(value)));
    }
    for text in [
        "",
        "07",
        "+1",
        "-0",
        "1.50",
        ".5",
        "5.",
        "1e3",
        "1E400",
        "inf",
        "nan",
        "0x1",
        "1_0",
        " 1",
        "9223372036854775808",
        "0.1000000000000000055",
        "1.0.0",
        "true",
    ] {
        assert_eq!(of(text, FieldType::Auto), Some(Converted::Text(text)));
    }
    assert_eq!(convert(Scalar::Double(1.5), FieldType::Auto), Some(Converted::Double(1.5)));
    assert_eq!(convert(Scalar::Bytes(b"\xff"), FieldType::Auto), Some(Converted::Binary(b"\xff")));
}

fn decimal_of(text: &str) -> Option<[u8; 16]> {
    match of(text, FieldType::Decimal)? {
        Converted::Decimal(bytes) => Some(bytes),
        other => panic!("{other:?}"),
    }
}

#[test]
fn decimals_keep_every_digit() {
    for (text, shown) in [
        ("0", "0"),
        ("-0", "-0"),
        ("1.50", "1.50"),
        ("+0.1", "0.1"),
        (".5", "0.5"),
        ("5.", "5"),
        ("00012", "12"),
        ("1e3", "1E+3"),
        ("-1.2E-7", "-1.2E-7"),
        ("1234567890123456789012345678901234", "1234567890123456789012345678901234"),
        ("1E6144", "1.000000000000000000000000000000000E+6144"),
        ("9.999999999999999999999999999999999e6144", "9.999999999999999999999999999999999E+6144"),
        ("1e-6176", "1E-6176"),
        ("10e-6177", "1E-6176"),
        ("12345678901234567890123456789012340", "1.234567890123456789012345678901234E+34"),
        ("inf", "Infinity"),
        ("-Infinity", "-Infinity"),
        ("NaN", "NaN"),
    ] {
        let bytes = decimal_of(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(Decimal128::from_bytes(bytes).to_string(), shown, "{text}");
    }
    refuses(
        FieldType::Decimal,
        &[
            "",
            "-",
            ".",
            "e5",
            "1e",
            "1e+",
            "1 ",
            "1,5",
            "--1",
            "1.2.3",
            "x",
            "1e6145",
            "1e-6177",
            "12345678901234567890123456789012345",
            "11e-6177",
            "1e99999999999999999999",
        ],
    );
    for (value, shown) in [
        (Scalar::Int(i64::MIN), "-9223372036854775808"),
        (Scalar::Unsigned(u64::MAX), "18446744073709551615"),
        (Scalar::Double(0.1), "0.1"),
    ] {
        let Some(Converted::Decimal(bytes)) = convert(value, FieldType::Decimal) else {
            panic!("{shown}");
        };
        assert_eq!(Decimal128::from_bytes(bytes).to_string(), shown);
    }
    assert_eq!(convert(Scalar::Bool(true), FieldType::Decimal), None);
}

proptest! {
    #[test]
    fn decimals_are_those_of_the_bson_crate(
        text in "[+-]?[0-9]{1,34}(\\.[0-9]{0,6})?([eE][+-]?[0-9]{1,4})?"
    ) {
        let ours = decimal_of(&text);
        match text.parse::<Decimal128>() {
            Ok(theirs) => prop_assert_eq!(ours, Some(theirs.bytes())),
            // The crate refuses some numbers whose trailing zeros could be dropped.
            Err(_) => if let Some(bytes) = ours {
                let again = Decimal128::from_bytes(bytes).to_string();
                prop_assert_eq!(decimal_of(&again), Some(bytes));
            },
        }
    }

    #[test]
    fn dates_are_those_of_the_bson_crate(unix_ms in -62_167_219_200_000i64..253_402_300_800_000) {
        let text = DateTime::from_millis(unix_ms).try_to_rfc3339_string().unwrap();
        prop_assert_eq!(of(&text, FieldType::Date), Some(Converted::Date(unix_ms)));
    }

    #[test]
    fn a_date_in_seconds_is_the_same_in_a_hash_and_in_json(unix_ms in -62_167_219_200_000i64..253_402_300_800_000) {
        // As most applications compute it: milliseconds divided as a double.
        let seconds = unix_ms as f64 / 1000.0;
        let expected = Some(Converted::Date(unix_ms));
        let text = seconds.to_string();
        prop_assert_eq!(of(&text, FieldType::DateS), expected.clone());
        prop_assert_eq!(convert(Scalar::Double(seconds), FieldType::DateS), expected);
    }

    #[test]
    fn auto_loses_nothing(text in "-?[0-9]{0,20}(\\.[0-9]{0,20})?(e[0-9])?") {
        let again = match of(&text, FieldType::Auto) {
            Some(Converted::Int64(value)) => value.to_string(),
            Some(Converted::Double(value)) => format!("{value:?}"),
            Some(Converted::Text(text)) => text.to_owned(),
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(again, text);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "[0-9a-fA-FtTzZ:.+ -]{0,40}", to in 0..FIELD_TYPES.len()) {
        let _ = of(&text, FIELD_TYPES[to].1);
    }
}
