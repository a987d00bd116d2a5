//! Filters and orders that operators write as JSON.

use mongodb::bson::Document;

/// Maximum nesting of the JSON: the levels that MongoDB parses.
const MAX_LEVELS: usize = 100;

/// Parses a JSON object, whose values may be Extended JSON such as `{"$date": "2026-01-31T00:00:00Z"}`; empty
/// text is an empty document.
///
/// # Errors
/// One sentence without the text, if it is no JSON object.
pub fn document(text: &[u8]) -> Result<Document, String> {
    if text.is_empty() {
        return Ok(Document::new());
    }
    if levels(text) > MAX_LEVELS {
        return Err(format!("it has more than {MAX_LEVELS} levels"));
    }
    serde_json::from_slice(text)
        .map_err(|error| format!("it cannot be read at column {}", error.column()))
}

/// An upper bound of the nesting of JSON text.
fn levels(text: &[u8]) -> usize {
    let (mut level, mut most) = (0_usize, 0);
    for byte in text {
        match byte {
            b'{' | b'[' => level += 1,
            b'}' | b']' => level = level.saturating_sub(1),
            _ => {}
        }
        most = most.max(level);
    }
    most
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{DateTime, doc, oid::ObjectId};

    use super::*;

    #[test]
    fn extended_json_is_understood_and_the_order_is_kept() {
        let text = br#"{"z": 1, "a": {"$gte": {"$date": "1970-01-01T00:00:00.005Z"}},
            "_id": {"$oid": "000000000000000000000007"}, "n": 1.5, "big": 5000000000}"#;
        let mut id = [0; 12];
        id[11] = 7;
        let expected = doc! {
            "z": 1, "a": { "$gte": DateTime::from_millis(5) }, "_id": ObjectId::from_bytes(id), "n": 1.5,
            "big": 5_000_000_000_i64,
        };
        let parsed = document(text).unwrap();
        assert_eq!(parsed.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        assert_eq!(parsed.to_string(), expected.to_string());
        assert_eq!(document(b""), Ok(Document::new()));
    }

    #[test]
    fn what_is_no_object_is_refused_without_its_text() {
        for text in ["[]", "5", "{", "{\"secret\": }", "{} x", "\"secret\""] {
            let error = document(text.as_bytes()).unwrap_err();
            assert!(error.contains("column") && !error.contains("secret"), "{text}: {error}");
        }
        let deep = "{\"a\":".repeat(101) + "1" + &"}".repeat(101);
        assert!(document(deep.as_bytes()).unwrap_err().contains("levels"));
    }
}
