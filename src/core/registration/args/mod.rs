//! Parses the arguments of commands into options, and formats them back.

mod dead_letter;
mod exclude;
mod flush;
pub mod load;
pub mod metrics;
mod mode;
mod read_through;

pub mod schema;
pub mod verify;

use std::collections::HashSet;

use super::{Atomic, IdType, KeyType, Namespace, OnError, OnRemoval, Registration, WriteMode};
use crate::core::ids::Db;
use crate::core::registration::printable::printable;
use crate::core::settings::{BATCH_MAX_KEYS, FLUSH_INTERVAL_MS, SettingLimits};
pub use dead_letter::{LetterList, Letters, letter_list, letters};
pub use flush::{FlushArgs, flush};

const KEY_TYPES: [(&str, KeyType); 8] = [
    ("ANY", KeyType::Any),
    ("HASH", KeyType::Hash),
    ("JSON", KeyType::Json),
    ("STRING", KeyType::String),
    ("LIST", KeyType::List),
    ("SET", KeyType::Set),
    ("ZSET", KeyType::Zset),
    ("STREAM", KeyType::Stream),
];
const ID_TYPES: [(&str, IdType); 4] = [
    ("STRING", IdType::String),
    ("INT64", IdType::Int64),
    ("OBJECTID", IdType::ObjectId),
    ("UUID", IdType::Uuid),
];
const WRITE_MODES: [(&str, WriteMode); 2] =
    [("REPLACE", WriteMode::Replace), ("MERGE", WriteMode::Merge)];
const ATOMIC: [(&str, Atomic); 3] =
    [("SPLIT", Atomic::Split), ("WHOLE", Atomic::Whole), ("NONE", Atomic::None)];
const ON_REMOVAL: [(&str, OnRemoval); 2] =
    [("DELETE", OnRemoval::Delete), ("KEEP", OnRemoval::Keep)];

const ON_ERROR: [(&str, OnError); 3] =
    [("DEADLETTER", OnError::DeadLetter), ("STRING", OnError::String), ("SKIP", OnError::Skip)];

/// Internal databases of MongoDB.
const INTERNAL_DATABASES: [&str; 3] = ["admin", "config", "local"];

/// Options reserved for later versions.
const RESERVED_OPTIONS: [&str; 4] = ["PARTS", "RATE", "REFRESH", "STAMP"];

/// The arguments of a command, read one after the other.
struct Words<'a>(std::slice::Iter<'a, &'a [u8]>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.next().copied()
    }

    fn choice<T: Copy>(&mut self, option: &str, choices: &[(&str, T)]) -> Result<T, String> {
        let word = self.next().unwrap_or_default();
        let found = choices.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word));
        found.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            format!("{option} takes one of {}", names.join(", "))
        })
    }

    /// Reads what happens to the document of a removed key.
    fn on_removal(&mut self, option: &str) -> Result<OnRemoval, String> {
        if self.0.as_slice().first().is_some_and(|word| word.eq_ignore_ascii_case(b"MARK")) {
            return Err(not_yet(&format!("{option} MARK")));
        }
        self.choice(option, &ON_REMOVAL)
    }

    fn number(&mut self, option: &str, limits: SettingLimits) -> Result<i64, String> {
        let word = self.next().and_then(|word| std::str::from_utf8(word).ok());
        let number = word.and_then(|word| word.parse().ok());
        number.filter(|number| (limits.min..=limits.max).contains(number)).ok_or_else(|| {
            format!("{option} takes a whole number from {} to {}", limits.min, limits.max)
        })
    }

    fn field(&mut self, option: &str) -> Result<String, String> {
        let field = self.next().and_then(|word| std::str::from_utf8(word).ok()).unwrap_or_default();
        if field.is_empty() || field.contains(['.', '\0']) || field.starts_with('$') {
            return Err(format!(
                "{option} takes the name of a field, in UTF-8, without dots and not starting with $"
            ));
        }
        Ok(field.to_owned())
    }
}

/// The option that was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Other,
    /// `AS` and `WHOLE` may follow.
    Key,
    /// `WHOLE` may follow.
    KeyAs,
}

/// Reads `<prefix> <database.collection> [option …]`; the bool is true if SYNC was given.
///
/// # Errors
/// One sentence that names the argument and its valid values.
pub fn register(db: Db, words: &[&[u8]]) -> Result<(Registration, bool), String> {
    let (registration, sync, repeated) = read_registration(db, words)?;
    if let Some(option) = repeated {
        return Err(format!("{option} is given twice; WB.REGISTER takes each option once"));
    }
    let Namespace { database, .. } = &registration.namespace;
    if INTERNAL_DATABASES.iter().any(|own| own.eq_ignore_ascii_case(database)) {
        return Err(format!(
            "<database.collection> takes a database of yours; {database} is MongoDB's own"
        ));
    }
    Ok((registration, sync))
}

/// The same for a registration that was saved or replicated. Checks that only new registrations must
/// pass are skipped: an older version of the module may have accepted it.
///
/// # Errors
/// As [`register`].
pub fn registered(db: Db, words: &[&[u8]]) -> Result<(Registration, bool), String> {
    let (registration, sync, _) = read_registration(db, words)?;
    Ok((registration, sync))
}

/// The registration, whether SYNC was given, and an option that was given twice.
fn read_registration(
    db: Db,
    words: &[&[u8]],
) -> Result<(Registration, bool, Option<String>), String> {
    let mut words = Words(words.iter());
    let (Some(prefix), Some(namespace)) = (words.next(), words.next()) else {
        return Err("WB.REGISTER takes <prefix> <database.collection> [option ...]".to_owned());
    };
    let mut registration = Registration::new(db, prefix, parse_namespace(namespace)?);
    let mut sync = false;
    let mut last = Last::Other;
    let (mut given, mut repeated) = (HashSet::new(), None);
    while let Some(word) = words.next() {
        let option = word.to_ascii_uppercase();
        let before = std::mem::replace(&mut last, Last::Other);
        match option.as_slice() {
            b"TYPE" => registration.key_type = words.choice("TYPE", &KEY_TYPES)?,
            b"KEY" => {
                registration.key_field = words.field("KEY")?;
                last = Last::Key;
            }
            b"AS" if before == Last::Key => {
                registration.key_as = words.choice("AS", &ID_TYPES)?;
                last = Last::KeyAs;
            }
            b"WHOLE" if before != Last::Other => registration.key_whole = true,
            b"WRITE" => registration.write = words.choice("WRITE", &WRITE_MODES)?,
            b"ATOMIC" => registration.atomic = words.choice("ATOMIC", &ATOMIC)?,
            b"ONDEL" => registration.on_delete = words.on_removal("ONDEL")?,
            b"ONEXPIRE" => registration.on_expire = words.on_removal("ONEXPIRE")?,
            b"ONEVICT" => registration.on_evict = words.on_removal("ONEVICT")?,
            b"TTLFIELD" => registration.ttl_field = Some(words.field("TTLFIELD")?),
            b"INTERVAL" => {
                let ms = words.number("INTERVAL", FLUSH_INTERVAL_MS)?;
                registration.interval_ms = Some(ms.unsigned_abs());
            }
            b"BATCH" => {
                // The limits fit into 32 bits.
                registration.batch_max_keys = Some(words.number("BATCH", BATCH_MAX_KEYS)? as u32);
            }
            b"EXCLUDE" => registration.exclude = exclude::parse(&mut words)?,
            b"UNWRAP" => registration.unwraps = true,
            b"SHARED" => registration.shared = true,
            b"ONERROR" => registration.on_error = words.choice("ONERROR", &ON_ERROR)?,
            b"MODE" => registration.write_through = mode::parse(&mut words)?,
            b"READTHROUGH" => registration.read_through = Some(read_through::parse(&mut words)?),
            b"SYNC" => sync = true,
            b"SCHEMA" => registration.schema = Some(Box::new(schema::parse(&mut words)?)),
            _ => return Err(unknown_option(&option)),
        }
        if given.contains(&option) {
            repeated.get_or_insert_with(|| printable(&option));
        }
        given.insert(option);
    }
    let ttl_field = registration.ttl_field.as_deref();
    if ttl_field.is_some_and(|field| field == "_id" || field == registration.key_field) {
        return Err("TTLFIELD takes the name of a field other than _id and that of KEY".to_owned());
    }
    if registration.read_through.is_some() {
        read_through::check(&registration)?;
    }
    if registration.key_whole && registration.key_as != IdType::String {
        return Err("KEY ... WHOLE takes AS STRING: a whole key is a string".to_owned());
    }
    let strings = matches!(registration.key_type, KeyType::Any | KeyType::String);
    if registration.unwraps && !strings {
        return Err("UNWRAP takes TYPE STRING or ANY: it is about strings".to_owned());
    }
    schema::check(&registration)?;
    Ok((registration, sync, repeated))
}

fn unknown_option(option: &[u8]) -> String {
    let option = printable(option);
    if RESERVED_OPTIONS.contains(&&*option) {
        return not_yet(&option);
    }
    format!("unknown option '{option}' for WB.REGISTER; WB.HELP lists the options")
}

fn not_yet(option: &str) -> String {
    format!("{option} is not supported by this version of writebehind yet")
}

/// Parses `database.collection`.
///
/// # Errors
/// One sentence when it is no namespace of MongoDB.
pub fn parse_namespace(word: &[u8]) -> Result<Namespace, String> {
    let takes = "<database.collection> takes a MongoDB namespace such as shop.movies";
    let text = std::str::from_utf8(word).map_err(|_| format!("{takes}, in UTF-8"))?;
    let Some((database, collection)) = text.split_once('.') else {
        return Err(format!("{takes}: the dot is missing"));
    };
    if database.is_empty() || collection.is_empty() {
        return Err(format!("{takes}: neither name may be empty"));
    }
    if database.len() > 63 || text.len() > 255 {
        return Err(format!("{takes}: at most 63 bytes for the database and 255 in all"));
    }
    if database.contains(['/', '\\', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0']) {
        return Err(format!("{takes}: a database name has no blank and none of /\\\"$*<>:|?"));
    }
    if collection.contains(['$', '\0']) || collection.starts_with('.') || collection.ends_with('.')
    {
        return Err(format!("{takes}: a collection name has no $ and no dot at either end"));
    }
    if collection.starts_with("system.") {
        return Err(format!("{takes}: system collections belong to MongoDB"));
    }
    Ok(Namespace { database: database.to_owned(), collection: collection.to_owned() })
}

fn name_of<T: PartialEq>(value: T, choices: &[(&'static str, T)]) -> &'static str {
    choices.iter().find(|(_, choice)| *choice == value).map_or("", |(name, _)| name)
}

/// The arguments of KEY.
pub fn key(registration: &Registration) -> String {
    let whole = if registration.key_whole { " WHOLE" } else { "" };
    format!("{} AS {}{whole}", registration.key_field, name_of(registration.key_as, &ID_TYPES))
}

/// The arguments of READTHROUGH: `ON` without any; empty without the option.
pub fn read_through(registration: &Registration) -> String {
    let words = registration.read_through.as_ref().map(read_through::words).unwrap_or_default();
    let words: Vec<String> = words.iter().map(|word| printable(word)).collect();
    match words.as_slice() {
        [] => String::new(),
        [_] => "ON".to_owned(),
        [_, arguments @ ..] => arguments.join(" "),
    }
}

/// The arguments of MODE.
pub fn mode(registration: &Registration) -> String {
    let words = mode::words(registration.write_through.as_ref());
    let words: Vec<String> = words.iter().map(|word| printable(word)).collect();
    if words.is_empty() { "BEHIND".to_owned() } else { words[1..].join(" ") }
}

/// The options of `registration` that have one value each. Options with their default value are
/// included only if the default has a name.
pub fn pairs(registration: &Registration) -> Vec<(&'static str, String)> {
    let of = registration;
    let mut pairs = vec![
        ("TYPE", name_of(of.key_type, &KEY_TYPES).to_owned()),
        ("KEY", of.key_field.clone()),
        ("AS", name_of(of.key_as, &ID_TYPES).to_owned()),
        ("WRITE", name_of(of.write, &WRITE_MODES).to_owned()),
        ("ATOMIC", name_of(of.atomic, &ATOMIC).to_owned()),
        ("ONDEL", name_of(of.on_delete, &ON_REMOVAL).to_owned()),
        ("ONEXPIRE", name_of(of.on_expire, &ON_REMOVAL).to_owned()),
        ("ONEVICT", name_of(of.on_evict, &ON_REMOVAL).to_owned()),
        ("ONERROR", name_of(of.on_error, &ON_ERROR).to_owned()),
    ];
    pairs.extend(of.ttl_field.iter().map(|field| ("TTLFIELD", field.clone())));
    pairs.extend(of.interval_ms.map(|ms| ("INTERVAL", ms.to_string())));
    pairs.extend(of.batch_max_keys.map(|keys| ("BATCH", keys.to_string())));
    pairs
}

/// The arguments that [`register`] reads as `registration`. Options that older versions do not know
/// are included only if they differ from their defaults, so that older versions can read the rest.
pub fn words(registration: &Registration) -> Vec<Vec<u8>> {
    // Without `..`: a new field must be added here, or its option would be lost in RDB, AOF and WB.LIST.
    let Registration {
        prefix,
        namespace,
        key_whole,
        shared,
        exclude,
        unwraps,
        on_error,
        atomic,
        write_through,
        read_through,
        schema,
        // SELECT in front of the line.
        db: _,
        // In `pairs`.
        key_type: _,
        key_field: _,
        key_as: _,
        write: _,
        on_delete: _,
        on_expire: _,
        on_evict: _,
        ttl_field: _,
        interval_ms: _,
        batch_max_keys: _,
    } = registration;
    let mut words = vec![prefix.clone(), namespace.to_string().into_bytes()];
    for (option, value) in pairs(registration) {
        let is_new = match option {
            "ONERROR" => *on_error != OnError::default(),
            "ATOMIC" => *atomic != Atomic::default(),
            _ => true,
        };
        if !is_new {
            continue;
        }
        words.extend([option.as_bytes().to_vec(), value.into_bytes()]);
        if option == "AS" && *key_whole {
            words.push(b"WHOLE".to_vec());
        }
    }
    if !exclude.is_empty() {
        words.extend(exclude::words(exclude));
    }
    if *shared {
        words.push(b"SHARED".to_vec());
    }
    if *unwraps {
        words.push(b"UNWRAP".to_vec());
    }
    words.extend(mode::words(write_through.as_ref()));
    if let Some(read_through) = read_through {
        words.extend(read_through::words(read_through));
    }
    if let Some(schema) = schema {
        words.push(b"SCHEMA".to_vec());
        words.extend(schema::words(schema));
    }
    words
}

#[cfg(test)]
mod tests;
