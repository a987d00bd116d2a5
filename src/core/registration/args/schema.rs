//! The arguments of SCHEMA: `<field|*> <type> [AS <name>] ...`, the last option of WB.REGISTER.

use std::collections::HashSet;

use super::{Words, name_of};
use crate::core::registration::schema::{FIELD_TYPES, FieldType, Rule, Schema};
use crate::core::registration::{KeyType, Registration};

/// Reads all remaining arguments.
///
/// # Errors
/// One sentence that names the argument and its valid values.
pub(super) fn parse(words: &mut Words<'_>) -> Result<Schema, String> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut star = None;
    let mut seen = HashSet::new();
    while let Some(word) = words.next() {
        let field = field(word)?;
        if !seen.insert(field) {
            return Err(format!("SCHEMA takes each field once: {field:?} is given twice"));
        }
        let to = words.choice(&format!("SCHEMA {field:?}"), &FIELD_TYPES)?;
        let name = match words.0.as_slice().first() {
            Some(next) if next.eq_ignore_ascii_case(b"AS") => {
                words.next();
                Some(words.field("SCHEMA ... AS")?)
            }
            _ => None,
        };
        if field == "*" {
            if name.is_some() {
                return Err("SCHEMA takes AS behind the type of one field, not of *".to_owned());
            }
            star = Some(to);
        } else {
            let last = field.rsplit('.').next().unwrap_or_default();
            let name = name.filter(|name| name != last || last != field);
            rules.push(Rule { field: field.to_owned(), to, name });
        }
    }
    if seen.is_empty() {
        return Err("SCHEMA takes <field|*> <type> [AS <name>] ...".to_owned());
    }
    Ok(Schema::new(rules, star))
}

/// Refuses a field named `AS`: it could not be distinguished from the option.
fn field(word: &[u8]) -> Result<&str, String> {
    let field = std::str::from_utf8(word).ok().filter(|field| !field.contains('\0'));
    match field {
        Some(field) if !field.eq_ignore_ascii_case("AS") => Ok(field),
        _ => Err("SCHEMA takes the names of fields, in UTF-8, without NUL and none of them AS"
            .to_owned()),
    }
}

/// Refuses a name that two fields would get, or that is `_id`, the key field or the TTL field.
///
/// # Errors
/// One sentence that names the field.
pub(super) fn check(registration: &Registration) -> Result<(), String> {
    let Some(schema) = &registration.schema else { return Ok(()) };
    let ttl_field = registration.ttl_field.as_deref();
    let reserved =
        |name: &str| name == "_id" || name == registration.key_field || Some(name) == ttl_field;
    let json =
        registration.unwraps || matches!(registration.key_type, KeyType::Any | KeyType::Json);
    let others = registration.key_type != KeyType::Json;
    let (mut names, mut paths) = (HashSet::new(), HashSet::new());
    for rule in schema.rules().iter().filter(|rule| rule.to != FieldType::Skip) {
        let (name, path) = rule.outcomes();
        if (others && reserved(name)) || (json && reserved(&path)) {
            return Err(format!(
                "SCHEMA takes no field with the name {name:?}, which is that of KEY, of TTLFIELD \
                 or _id: SKIP it or give it another one by AS"
            ));
        }
        if (others && !names.insert(name.to_owned())) || (json && !paths.insert(path)) {
            return Err(format!("SCHEMA takes each name once: two fields get the name {name:?}"));
        }
    }
    Ok(())
}

/// The arguments that `parse` reads as `schema`.
pub fn words(schema: &Schema) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut push = |word: &str| words.push(word.as_bytes().to_vec());
    for rule in schema.rules() {
        push(&rule.field);
        push(name_of(rule.to, &FIELD_TYPES));
        if let Some(name) = &rule.name {
            push("AS");
            push(name);
        }
    }
    if let Some(to) = schema.star() {
        push("*");
        push(name_of(to, &FIELD_TYPES));
    }
    words
}
