//! What the SCHEMA of a place makes of a document.

use mongodb::bson::{Binary, Bson, Document, spec::BinarySubtype};

/// Options of the place with hashes.
pub const HASH: &str = "TYPE HASH INTERVAL 0 SCHEMA a INT64 b SKIP c AUTO d STRING AS renamed \
                        value DOUBLE * BINARY";
/// Options of the place with JSON.
pub const JSON: &str = "TYPE JSON SCHEMA o SKIP t AUTO AS truth c AUTO AS list";

/// The fields of a hash, each a string or Binary.
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

/// Only names change: the root's fields keep their types.
pub fn json(fields: Document) -> Option<Document> {
    let renamed = |name: String| match name.as_str() {
        "t" => "truth".to_owned(),
        "c" => "list".to_owned(),
        _ => name,
    };
    let kept = fields.into_iter().filter(|(name, _)| name != "o");
    Some(kept.map(|(name, value)| (renamed(name), value)).collect())
}

/// A number that is written as it would be written again.
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
