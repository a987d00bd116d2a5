//! Compares values as a unique index does, and finds the documents that have them.

use std::collections::HashMap;

use mongodb::bson::{Bson, Document};

/// Maximum number of index keys compared for one document; arrays cause many (multikey index).
const COMBINATIONS: usize = 256;

/// For each list of needed values, the document that has them, by its number; each document is
/// paired with its index among the lists.
pub fn holders(
    needs: &[&[(String, Bson)]],
    documents: &[(usize, &Document)],
) -> Vec<Option<usize>> {
    let mut known: HashMap<Vec<&str>, HashMap<Vec<u8>, usize>> = HashMap::new();
    let mut holders = Vec::with_capacity(needs.len());
    for (at, values) in needs.iter().enumerate() {
        let fields: Vec<&str> = values.iter().map(|(field, _)| field.as_str()).collect();
        if fields.is_empty() {
            holders.push(None);
            continue;
        }
        let by_values = known.entry(fields).or_insert_with_key(|fields| {
            let pairs = documents.iter().flat_map(|(number, document)| {
                keys(document, fields).into_iter().map(|key| (key, *number))
            });
            pairs.collect()
        });
        let mut key = Vec::new();
        values.iter().for_each(|(_, value)| append(value, &mut key));
        holders.push(by_values.get(&key).copied().filter(|holder| *holder != at));
    }
    holders
}

/// An encoding of a value in which equal values have equal bytes.
pub fn canonical(value: &Bson) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(value, &mut bytes);
    bytes
}

/// The index keys of a document in an index of these fields.
fn keys(document: &Document, fields: &[&str]) -> Vec<Vec<u8>> {
    let mut keys = vec![Vec::new()];
    for field in fields {
        let path: Vec<&str> = field.split('.').collect();
        let mut values = Vec::new();
        let (first, rest) = path.split_first().unwrap_or((&"", &[]));
        collect(document.get(first), rest, &mut values);
        let mut longer = Vec::new();
        for key in &keys {
            for value in &values {
                let mut key: Vec<u8> = key.clone();
                append(value, &mut key);
                longer.push(key);
            }
        }
        longer.truncate(COMBINATIONS);
        keys = longer;
    }
    keys
}

/// Collects the values at a path; for an array, each of its elements.
fn collect<'d>(value: Option<&'d Bson>, path: &[&str], values: &mut Vec<&'d Bson>) {
    match (value, path.split_first()) {
        (Some(Bson::Array(elements)), None) => values.extend(elements),
        (Some(Bson::Array(elements)), Some(_)) => {
            elements.iter().for_each(|element| collect(Some(element), path, values));
        }
        (Some(value), None) => values.push(value),
        (Some(Bson::Document(inner)), Some((first, rest))) => {
            collect(inner.get(first), rest, values);
        }
        _ => values.push(&Bson::Null),
    }
}

/// Appends the encoding of a value: numbers are equal regardless of their type, and a missing field
/// equals null.
fn append(value: &Bson, bytes: &mut Vec<u8>) {
    let number = match value {
        Bson::Int32(n) => Some(i64::from(*n)),
        Bson::Int64(n) => Some(*n),
        Bson::Double(n) if (*n as i64) as f64 == *n => Some(*n as i64),
        _ => None,
    };
    let text = match (number, value) {
        (Some(number), _) => format!("n{number}"),
        (None, Bson::Null | Bson::Undefined) => "0".to_owned(),
        (None, Bson::String(text) | Bson::Symbol(text)) => format!("s{text}"),
        (None, other) => format!("o{other:?}"),
    };
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    fn needs(document: Document) -> Vec<(String, Bson)> {
        document.into_iter().collect()
    }

    #[test]
    fn a_value_is_found_with_any_numeric_type_and_path() {
        let documents = [
            doc! { "n": 7_i64 },
            doc! { "a": { "b": [{ "c": "x" }, { "c": "y" }] } },
            doc! { "tenant": 1, "email": "e" },
            doc! { "tenant": 1 },
        ];
        let documents: Vec<_> = documents.iter().enumerate().map(|(at, d)| (at + 10, d)).collect();
        let lists = [
            doc! { "n": 7.0 },
            doc! { "a.b.c": "y" },
            doc! { "tenant": 1, "email": "e" },
            doc! { "tenant": 1, "email": null },
            doc! { "tenant": 2, "email": "e" },
            doc! {},
        ];
        let lists: Vec<_> = lists.into_iter().map(needs).collect();
        let lists: Vec<_> = lists.iter().map(Vec::as_slice).collect();
        let found = holders(&lists, &documents);
        assert_eq!(found, [Some(10), Some(11), Some(12), Some(13), None, None]);
    }

    #[test]
    fn different_values_have_different_encodings() {
        let values = [
            Bson::Null,
            Bson::Int32(0),
            Bson::String("0".into()),
            Bson::String("n0".into()),
            Bson::Boolean(false),
            Bson::Double(0.5),
            Bson::Array(vec![]),
        ];
        for (at, value) in values.iter().enumerate() {
            for other in &values[at + 1..] {
                assert_ne!(canonical(value), canonical(other), "{value} {other}");
            }
        }
        let pair = |a: &str, b: &str| keys(&doc! { "a": a, "b": b }, &["a", "b"]);
        assert_ne!(pair("x", "yz"), pair("xy", "z"));
    }
}
