//! Values become documents and values again, and documents of others become values.

use mongodb::bson::Document as Parsed;
use mongodb::bson::{
    Binary, Bson, DateTime, Decimal128, Regex, doc, oid::ObjectId, spec::BinarySubtype,
};
use proptest::prelude::*;

use super::*;
use crate::core::ids::Db;
use crate::core::mapping::bson::Document;
use crate::core::mapping::bson::Elements;
use crate::core::mapping::document::{Expiry, Identity, Read, write};
use crate::core::mapping::duplicate_names::Names;
use crate::core::mapping::rules::Rules;
use crate::core::mapping::value::{NO_EXPIRY, push_bytes};
use crate::core::registration::Namespace;
use crate::core::registration::schema::FieldType;
use crate::core::registration::schema::{Rule, Schema};

mod foreign;
mod round_trip;

const KEY: &[u8] = b"k:7";

fn registration(key_type: KeyType) -> Registration {
    let namespace = Namespace { database: "d".into(), collection: "c".into() };
    Registration { key_type, ..Registration::new(Db(0), b"k:", namespace) }
}

fn schema(
    rules: &[(&str, FieldType, Option<&str>)],
    star: Option<FieldType>,
) -> Option<Box<Schema>> {
    let rule = |(field, to, name): &(&str, FieldType, Option<&str>)| Rule {
        field: (*field).to_owned(),
        to: *to,
        name: name.map(str::to_owned),
    };
    Some(Box::new(Schema::new(rules.iter().map(rule).collect(), star)))
}

/// The document of a value.
fn encode(registration: &Registration, value: &[u8], decoded: Decoded) -> Option<Vec<u8>> {
    let Decoded { content, expire_ms } = decoded;
    let identity = Identity::of(registration, KEY).ok()?;
    let expiry = Expiry::of(registration, expire_ms).ok()?;
    let read = Read { identity, expiry, content, value, rules: Rules::of(registration) };
    let mut out = Vec::new();
    write(Document::begin(&mut out), &read, &mut Names::default()).ok()?;
    Some(out)
}

fn bytes_of(document: &Parsed) -> Vec<u8> {
    let mut bytes = Vec::new();
    document.to_writer(&mut bytes).unwrap();
    bytes
}

type Value = Option<(Vec<u8>, Decoded)>;

fn decoded(registration: &Registration, document: &[u8]) -> Result<Value, DecodeError> {
    let mut out = Vec::new();
    Ok(decode(document, registration, &mut out)?.map(|decoded| (out, decoded)))
}

fn value_of(registration: &Registration, document: &Parsed) -> Result<Value, String> {
    decoded(registration, &bytes_of(document)).map_err(|why| why.to_string())
}

fn strings(texts: &[&[u8]]) -> Vec<u8> {
    let mut value = Vec::new();
    texts.iter().for_each(|text| push_bytes(&mut value, text));
    value
}
