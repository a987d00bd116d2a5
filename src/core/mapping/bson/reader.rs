//! Reads BSON that came from outside, without copying: every length is checked before it is used.

/// Bytes that are not a BSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The value of an element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A double.
    Double(f64),
    /// A string. MongoDB does not check that strings are UTF-8.
    String(&'a [u8]),
    /// A document, with its length and its end.
    Document(&'a [u8]),
    /// An array, which is laid out like a document.
    Array(&'a [u8]),
    /// The subtype, and the bytes.
    Binary(u8, &'a [u8]),
    /// An ObjectId.
    ObjectId([u8; 12]),
    /// A boolean.
    Bool(bool),
    /// Milliseconds since 1970.
    Date(i64),
    /// Null, or the deprecated undefined.
    Null,
    /// A 32-bit integer.
    Int32(i32),
    /// A 64-bit integer.
    Int64(i64),
    /// A Decimal128.
    Decimal([u8; 16]),
    /// A value of a type that no Redis value has, with the name of the type.
    Other(&'static str),
}

impl Value<'_> {
    /// What it is, with an article, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Double(_) => "a double",
            Value::String(_) => "a string",
            Value::Document(_) => "a document",
            Value::Array(_) => "an array",
            Value::Binary(4, _) => "a UUID",
            Value::Binary(..) => "binary data",
            Value::ObjectId(_) => "an ObjectId",
            Value::Bool(_) => "a boolean",
            Value::Date(_) => "a date",
            Value::Null => "null",
            Value::Int32(_) | Value::Int64(_) => "an integer",
            Value::Decimal(_) => "a Decimal128",
            Value::Other(kind) => kind,
        }
    }
}

/// Iterates over the elements of a document. After an error it ends.
#[derive(Clone, Debug)]
pub struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The elements of `document`, which has the length that it says and ends with a zero.
    pub fn of(document: &'a [u8]) -> Result<Self, Malformed> {
        let mut rest = Rest(document);
        let length = rest.length()?;
        match rest.0 {
            [elements @ .., 0] if length == document.len() => Ok(Elements(elements)),
            _ => Err(Malformed),
        }
    }

    /// The bytes of the elements that are left.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn read(&mut self) -> Result<(&'a [u8], Value<'a>), Malformed> {
        let mut rest = Rest(self.0);
        let [code] = rest.array()?;
        let name = rest.c_string()?;
        let value = rest.value(code)?;
        self.0 = rest.0;
        Ok((name, value))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<(&'a [u8], Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let element = self.read();
        if element.is_err() {
            self.0 = &[];
        }
        Some(element)
    }
}

/// The bytes that were not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(i32::from_le_bytes(self.array()?)).map_err(|_| Malformed)
    }

    fn c_string(&mut self) -> Result<&'a [u8], Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
        let text = self.take(end)?;
        self.take(1)?;
        Ok(text)
    }

    fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.length()?;
        match self.take(length)? {
            [text @ .., 0] => Ok(text),
            _ => Err(Malformed),
        }
    }

    /// A document or an array, whose length includes the length itself.
    fn document(&mut self) -> Result<&'a [u8], Malformed> {
        let length = Rest(self.0).length()?;
        self.take(length)
    }

    fn value(&mut self, code: u8) -> Result<Value<'a>, Malformed> {
        Ok(match code {
            0x01 => Value::Double(f64::from_le_bytes(self.array()?)),
            0x02 => Value::String(self.string()?),
            0x03 => Value::Document(self.document()?),
            0x04 => Value::Array(self.document()?),
            0x05 => {
                let length = self.length()?;
                let [subtype] = self.array()?;
                Value::Binary(subtype, self.take(length)?)
            }
            0x06 | 0x0a => Value::Null,
            0x07 => Value::ObjectId(self.array()?),
            0x08 => Value::Bool(self.array()? != [0]),
            0x09 => Value::Date(i64::from_le_bytes(self.array()?)),
            0x0b => {
                self.c_string()?;
                self.c_string()?;
                Value::Other("a regular expression")
            }
            0x0c => {
                self.string()?;
                self.take(12)?;
                Value::Other("a DBPointer")
            }
            0x0d => {
                self.string()?;
                Value::Other("JavaScript code")
            }
            0x0e => {
                self.string()?;
                Value::Other("a symbol")
            }
            0x0f => {
                self.document()?;
                Value::Other("JavaScript code")
            }
            0x10 => Value::Int32(i32::from_le_bytes(self.array()?)),
            0x11 => {
                self.take(8)?;
                Value::Other("a timestamp")
            }
            0x12 => Value::Int64(i64::from_le_bytes(self.array()?)),
            0x13 => Value::Decimal(self.array()?),
            0x7f => Value::Other("a MaxKey"),
            0xff => Value::Other("a MinKey"),
            _ => return Err(Malformed),
        })
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Binary, DateTime, spec::BinarySubtype};
    use mongodb::bson::{Bson, Decimal128, JavaScriptCodeWithScope, Regex, Timestamp, doc, oid};
    use proptest::prelude::*;

    use super::*;

    fn every_type() -> Vec<u8> {
        let scope = JavaScriptCodeWithScope { code: "f()".into(), scope: doc! { "x": 1 } };
        let regex = Regex { pattern: "a.b".try_into().unwrap(), options: "i".try_into().unwrap() };
        let document = doc! {
            "double": 1.5, "string": "text", "document": { "a": 1 }, "array": [1, "x"],
            "binary": Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 255] },
            "undefined": Bson::Undefined, "oid": oid::ObjectId::from_bytes([7; 12]),
            "bool": true, "date": DateTime::from_millis(-5), "null": Bson::Null,
            "regex": regex, "code": Bson::JavaScriptCode("f()".into()),
            "symbol": Bson::Symbol("s".into()), "scope": scope, "int32": 5, "int64": 5_i64,
            "timestamp": Timestamp { time: 1, increment: 2 },
            "decimal": Decimal128::from_bytes([1; 16]), "max": Bson::MaxKey, "min": Bson::MinKey,
        };
        let mut bytes = Vec::new();
        document.to_writer(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn every_type_is_read() {
        let bytes = every_type();
        let values: Vec<Value<'_>> =
            Elements::of(&bytes).unwrap().map(|element| element.unwrap().1).collect();
        let expected = [
            Value::Double(1.5),
            Value::String(b"text"),
            values[2],
            values[3],
            Value::Binary(0, &[0, 255]),
            Value::Null,
            Value::ObjectId([7; 12]),
            Value::Bool(true),
            Value::Date(-5),
            Value::Null,
            Value::Other("a regular expression"),
            Value::Other("JavaScript code"),
            Value::Other("a symbol"),
            Value::Other("JavaScript code"),
            Value::Int32(5),
            Value::Int64(5),
            Value::Other("a timestamp"),
            Value::Decimal([1; 16]),
            Value::Other("a MaxKey"),
            Value::Other("a MinKey"),
        ];
        assert_eq!(values, expected);
        let Value::Document(inner) = values[2] else { panic!() };
        let inner: Vec<_> = Elements::of(inner).unwrap().collect();
        assert_eq!(inner, [Ok((&b"a"[..], Value::Int32(1)))]);
        let Value::Array(items) = values[3] else { panic!() };
        assert_eq!(Elements::of(items).unwrap().count(), 2);
    }

    #[test]
    fn a_document_with_another_length_is_malformed() {
        let bytes = every_type();
        for end in 0..bytes.len() {
            assert!(Elements::of(&bytes[..end]).is_err(), "{end}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Elements::of(&longer).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_read_beyond_their_end(
            at in 0..400_usize, byte in any::<u8>(), other in any::<usize>(),
        ) {
            let mut bytes = every_type();
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes[other % length] = byte.wrapping_add(1);
            if let Ok(elements) = Elements::of(&bytes) {
                prop_assert!(elements.count() <= length);
            }
        }
    }
}
