//! Formats documents as canonical MongoDB Extended JSON (v2), which preserves every type: an int64
//! differs from an int32 and a double. `EJSON.parse` of mongosh and mongoimport read it.

use mongodb::bson::{RawArray, RawBsonRef, RawDocument};

/// Appends `document`.
///
/// # Errors
/// When it is not valid BSON, or contains a type that this module does not write.
pub fn append(document: &RawDocument, out: &mut String) -> Result<(), String> {
    out.push('{');
    for (at, element) in document.iter().enumerate() {
        let (name, value) = element.map_err(invalid)?;
        if at > 0 {
            out.push(',');
        }
        append_text(name.as_str(), out);
        out.push(':');
        append_value(value, out)?;
    }
    out.push('}');
    Ok(())
}

fn append_array(array: &RawArray, out: &mut String) -> Result<(), String> {
    out.push('[');
    for (at, value) in array.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        append_value(value.map_err(invalid)?, out)?;
    }
    out.push(']');
    Ok(())
}

fn append_value(value: RawBsonRef<'_>, out: &mut String) -> Result<(), String> {
    match value {
        RawBsonRef::Document(document) => append(document, out)?,
        RawBsonRef::Array(array) => append_array(array, out)?,
        RawBsonRef::String(text) => append_text(text, out),
        RawBsonRef::Boolean(value) => out.push_str(if value { "true" } else { "false" }),
        RawBsonRef::Null => out.push_str("null"),
        RawBsonRef::Int32(number) => append_typed("$numberInt", &number.to_string(), out),
        RawBsonRef::Int64(number) => append_typed("$numberLong", &number.to_string(), out),
        RawBsonRef::Double(number) => append_typed("$numberDouble", &double(number), out),
        RawBsonRef::Decimal128(number) => {
            append_typed("$numberDecimal", &number.to_string(), out);
        }
        RawBsonRef::ObjectId(id) => append_typed("$oid", &id.to_hex(), out),
        RawBsonRef::DateTime(date) => {
            out.push_str("{\"$date\":");
            append_typed("$numberLong", &date.timestamp_millis().to_string(), out);
            out.push('}');
        }
        RawBsonRef::Binary(binary) => {
            out.push_str("{\"$binary\":{\"base64\":\"");
            append_base64(binary.bytes, out);
            out.push_str(&format!("\",\"subType\":\"{:02x}\"}}}}", u8::from(binary.subtype)));
        }
        other => return Err(format!("a value of type {:?} is not ours", other.element_type())),
    }
    Ok(())
}

fn append_typed(name: &str, text: &str, out: &mut String) {
    out.push_str("{\"");
    out.push_str(name);
    out.push_str("\":\"");
    out.push_str(text);
    out.push_str("\"}");
}

fn append_text(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
        let (plain, from) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = from.chars();
        match chars.next() {
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(mark @ ('"' | '\\')) => out.extend(['\\', mark]),
            Some(control) => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn double(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        // Always with a point or an exponent, so that 1.0 is no integer.
        format!("{number:?}")
    }
}

const DIGITS: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn append_base64(bytes: &[u8], out: &mut String) {
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let at = (bits >> (18 - 6 * digit)) as usize & 63;
            out.push(if digit <= group.len() { char::from(DIGITS[at]) } else { '=' });
        }
    }
}

fn invalid(error: mongodb::bson::error::Error) -> String {
    format!("the document cannot be shown: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::spec::BinarySubtype;
    use mongodb::bson::{Binary, Bson, DateTime, doc, oid::ObjectId, serialize_to_vec};

    fn shown(document: mongodb::bson::Document) -> String {
        let bytes = serialize_to_vec(&document).unwrap();
        let mut out = String::new();
        append(RawDocument::from_bytes(&bytes).unwrap(), &mut out).unwrap();
        out
    }

    #[test]
    fn every_type_is_distinguished() {
        let id = ObjectId::parse_str("5f43a1b2c3d4e5f60718293a").unwrap();
        let binary = |subtype, bytes: &[u8]| Binary { subtype, bytes: bytes.to_vec() };
        let document = doc! {
            "_id": id,
            "int": 1i32, "long": 1i64, "double": 1.0, "large": 1e300, "nan": f64::NAN,
            "less": f64::NEG_INFINITY,
            "decimal": Bson::Decimal128("1.50".parse().unwrap()),
            "date": DateTime::from_millis(-5),
            "bytes": binary(BinarySubtype::Generic, b"\xff\x00"),
            "uuid": binary(BinarySubtype::Uuid, b"0123456789abcdef"),
            "all": [true, Bson::Null, { "a": "b" }, []],
        };
        assert_eq!(
            shown(document),
            concat!(
                r#"{"_id":{"$oid":"5f43a1b2c3d4e5f60718293a"},"int":{"$numberInt":"1"},"#,
                r#""long":{"$numberLong":"1"},"double":{"$numberDouble":"1.0"},"#,
                r#""large":{"$numberDouble":"1e300"},"nan":{"$numberDouble":"NaN"},"#,
                r#""less":{"$numberDouble":"-Infinity"},"decimal":{"$numberDecimal":"1.50"},"#,
                r#""date":{"$date":{"$numberLong":"-5"}},"#,
                r#""bytes":{"$binary":{"base64":"/wA=","subType":"00"}},"#,
                r#""uuid":{"$binary":{"base64":"MDEyMzQ1Njc4OWFiY2RlZg==","subType":"04"}},"#,
                r#""all":[true,null,{"a":"b"},[]]}"#,
            )
        );
    }

    #[test]
    fn text_is_read_back_by_any_json_parser() {
        let text = "é\"\\\n\r\t\u{1}\u{7f}\u{2028}😀";
        let shown = shown(doc! { text: text });
        let parsed: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(parsed[text], text);
    }

    #[test]
    fn base64_is_padded_to_four() {
        let encoded = |bytes: &[u8]| {
            let mut out = String::new();
            append_base64(bytes, &mut out);
            out
        };
        let all = [&b""[..], b"f", b"fo", b"foo", b"foob"].map(encoded);
        assert_eq!(all, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
