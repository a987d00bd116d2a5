//! The conversions of the places' SCHEMAs.

use mongodb::bson::{Binary, Bson, DateTime, Document, spec::BinarySubtype};

use crate::comparison::value::bson;

/// Options of the place with hashes.
pub const HASH: &str = "TYPE HASH INTERVAL 0 SCHEMA a INT64 b SKIP c AUTO d STRING AS renamed \
                        value DOUBLE * BINARY";
/// Options of the place with JSON.
pub const JSON: &str = "TYPE JSON SCHEMA o SKIP t AUTO AS truth c AUTO AS list";

/// Options of the place with hashes whose fields stay strings if they cannot be converted.
pub const LENIENT: &str = "TYPE HASH INTERVAL 0 ONERROR STRING SCHEMA a INT64 b BOOL value DOUBLE";
/// Options of the place with JSON whose fields are left out if they cannot be converted.
pub const SKIPPING: &str = "TYPE JSON ONERROR SKIP SCHEMA a BOOL o INT64 t DATE_MS";

/// Converts the fields of a hash, each a string or Binary, where possible.
pub fn lenient(fields: Document) -> Option<Document> {
    let typed = fields.into_iter().map(|(name, value)| {
        let text = value.as_str().unwrap_or_default();
        let typed: Option<Bson> = match name.as_str() {
            "a" => text.parse::<i64>().ok().map(Bson::Int64),
            "b" => match text {
                "0" => Some(Bson::Boolean(false)),
                "1" => Some(Bson::Boolean(true)),
                _ => None,
            },
            "value" => text.parse::<f64>().ok().map(Bson::Double),
            _ => None,
        };
        (name, typed.unwrap_or(value))
    });
    Some(typed.collect())
}

/// Converts the fields of JSON and leaves out those that cannot be converted.
pub fn skipping(fields: Document) -> Option<Document> {
    let typed = fields.into_iter().filter_map(|(name, value)| {
        let typed = match name.as_str() {
            "a" => each(value, &|item| match item {
                Bson::Boolean(is) => Some(Bson::Boolean(is)),
                Bson::Int64(bit @ 0..=1) => Some(Bson::Boolean(bit == 1)),
                _ => None,
            }),
            "o" => each(value, &|item| match item {
                Bson::Int64(whole) => Some(Bson::Int64(whole)),
                Bson::Double(it) if it.fract() == 0.0 && it.abs() < 9e18 => {
                    Some(Bson::Int64(it as i64))
                }
                _ => None,
            }),
            "t" => each(value, &|item| {
                let ms = match item {
                    Bson::Int64(ms) => ms,
                    Bson::Double(ms) if ms.abs() < 9e15 => ms.floor() as i64,
                    _ => return None,
                };
                Some(Bson::DateTime(DateTime::from_millis(ms)))
            }),
            _ => Some(value),
        };
        Some((name, typed?))
    });
    Some(typed.collect())
}

/// Converts a value, or an array if all its items can be converted. Null stays null.
fn each(value: Bson, to: &dyn Fn(Bson) -> Option<Bson>) -> Option<Bson> {
    match value {
        Bson::Null => Some(Bson::Null),
        Bson::Array(items) => {
            items.into_iter().map(|item| each(item, to)).collect::<Option<_>>().map(Bson::Array)
        }
        item => to(item),
    }
}

/// A string that contains a JSON object is replaced by that object.
pub fn unwrapped(fields: Document) -> Option<Document> {
    let text = fields.get_str("value").unwrap_or_default();
    let Ok(json @ serde_json::Value::Object(_)) = serde_json::from_str(text) else {
        return Some(fields);
    };
    Some(bson(json).as_document()?.clone())
}

/// Converts the fields of a hash, each a string or Binary; `None` if one cannot be converted.
pub fn hash(fields: Document) -> Option<Document> {
    let mut typed = Document::new();
    for (name, value) in fields {
        let text = value.as_str();
        match name.as_str() {
            "a" => typed.insert("a", text?.parse::<i64>().ok()?),
            "b" => continue,
            "c" => typed.insert("c", text.and_then(number).unwrap_or(value)),
            "d" => typed.insert("renamed", value),
            "value" => typed.insert("value", text?.parse::<f64>().ok()?),
            _ => typed.insert(name, bytes(value)),
        };
    }
    Some(typed)
}

/// Renames and removes fields; all types stay the same.
pub fn json(fields: Document) -> Option<Document> {
    let renamed = |name: String| match name.as_str() {
        "t" => "truth".to_owned(),
        "c" => "list".to_owned(),
        _ => name,
    };
    let kept = fields.into_iter().filter(|(name, _)| name != "o");
    Some(kept.map(|(name, value)| (renamed(name), value)).collect())
}

/// A number whose text equals the number's own formatting.
fn number(text: &str) -> Option<Bson> {
    let same = |again: String| again == text;
    let whole = text.parse::<i64>().ok().filter(|value| same(value.to_string()));
    let double = || text.parse::<f64>().ok().filter(|it| it.is_finite() && same(it.to_string()));
    whole.map(Bson::Int64).or_else(|| double().map(Bson::Double))
}

fn bytes(value: Bson) -> Bson {
    match value {
        Bson::String(text) => {
            Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: text.into_bytes() })
        }
        other => other,
    }
}
