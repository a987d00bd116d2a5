//! The arguments of READTHROUGH.

use super::Words;
use crate::core::registration::{KeyType, OnRemoval, ReadThrough, Registration};
use crate::core::settings::SettingLimits;

/// 100 years.
const TTL: SettingLimits = SettingLimits { name: "TTL", default: 0, min: 1, max: 3_155_760_000 };
const JITTER: SettingLimits = SettingLimits { name: "JITTER", default: 10, min: 0, max: 100 };
const ABSENT: SettingLimits =
    SettingLimits { name: "ABSENT", default: 1_000, min: 0, max: 86_400_000 };

/// Reads `[TTL <seconds>] [JITTER <percent>] [ABSENT <ms>]`, in any order.
///
/// # Errors
/// One sentence that names the argument and its valid values.
pub fn parse(words: &mut Words<'_>) -> Result<ReadThrough, String> {
    let mut number = |limits: SettingLimits| {
        let word = words.0.as_slice().first();
        if !word.is_some_and(|word| word.eq_ignore_ascii_case(limits.name.as_bytes())) {
            return Ok(None);
        }
        words.next();
        let option = format!("READTHROUGH {}", limits.name);
        words.number(&option, limits).map(|number| Some(number.unsigned_abs()))
    };
    let (mut ttl_s, mut jitter, mut absent_ms) = (None, None, None);
    loop {
        let mut read = false;
        for (limits, value) in [(TTL, &mut ttl_s), (JITTER, &mut jitter), (ABSENT, &mut absent_ms)]
        {
            if let Some(given) = number(limits)? {
                if value.replace(given).is_some() {
                    let name = limits.name;
                    return Err(format!("READTHROUGH takes {name} once"));
                }
                read = true;
            }
        }
        if !read {
            break;
        }
    }
    let of = |given: Option<u64>, limits: SettingLimits| {
        given.unwrap_or_else(|| limits.default.unsigned_abs())
    };
    Ok(ReadThrough {
        ttl_s: of(ttl_s, TTL),
        jitter_percent: u8::try_from(of(jitter, JITTER)).unwrap_or(100),
        absent_ms: of(absent_ms, ABSENT),
    })
}

/// # Errors
/// One sentence if other options contradict READTHROUGH.
pub fn check(registration: &Registration) -> Result<(), String> {
    let has_ttl = registration.read_through.is_some_and(|of| of.ttl_s > 0);
    if registration.key_type == KeyType::Any {
        return Err("READTHROUGH takes a TYPE other than ANY: a document does not tell what kind of key it was"
            .to_owned());
    }
    if has_ttl && registration.on_expire == OnRemoval::Delete {
        return Err("READTHROUGH takes no TTL with ONEXPIRE DELETE: the documents would be deleted when the keys \
                    expire"
            .to_owned());
    }
    if has_ttl && registration.ttl_field.is_some() {
        return Err("READTHROUGH takes no TTL with TTLFIELD: the next write would store the time of the cache in \
                    the document"
            .to_owned());
    }
    Ok(())
}

/// The arguments that [`parse`] reads, after the option's name.
pub fn words(of: &ReadThrough) -> Vec<Vec<u8>> {
    let ReadThrough { ttl_s, jitter_percent, absent_ms } = *of;
    let mut words = vec![b"READTHROUGH".to_vec()];
    let numbers = [
        ("TTL", ttl_s, TTL),
        ("JITTER", jitter_percent.into(), JITTER),
        ("ABSENT", absent_ms, ABSENT),
    ];
    for (name, number, limits) in numbers {
        if number != limits.default.unsigned_abs() {
            words.extend([name.as_bytes().to_vec(), number.to_string().into_bytes()]);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Db;
    use crate::core::registration::args;

    fn register(line: &str) -> Result<Registration, String> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        args::register(Db(0), &words).map(|(registration, _)| registration)
    }

    #[test]
    fn options_are_formatted_as_they_are_parsed() {
        for (line, expected) in [
            ("READTHROUGH", (0, 10, 1_000)),
            ("readthrough ttl 60", (60, 10, 1_000)),
            ("READTHROUGH ABSENT 0 JITTER 0 TTL 1", (1, 0, 0)),
            ("READTHROUGH JITTER 100", (0, 100, 1_000)),
        ] {
            let registration = register(&format!("k: d.c TYPE HASH {line} SYNC")).unwrap();
            let ReadThrough { ttl_s, jitter_percent, absent_ms } =
                registration.read_through.unwrap();
            assert_eq!((ttl_s, jitter_percent, absent_ms), expected, "{line}");
            let words = args::words(&registration);
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            assert_eq!(args::registered(Db(0), &words).unwrap().0, registration);
        }
        assert_eq!(register("k: d.c TYPE HASH").unwrap().read_through, None);
    }

    #[test]
    fn what_contradicts_it_is_named() {
        for (line, expected) in [
            ("READTHROUGH", "READTHROUGH takes a TYPE other than ANY"),
            ("TYPE SET READTHROUGH TTL 0", "READTHROUGH TTL takes a whole number from 1"),
            (
                "TYPE SET READTHROUGH JITTER 101",
                "READTHROUGH JITTER takes a whole number from 0 to 100",
            ),
            ("TYPE SET READTHROUGH ABSENT", "READTHROUGH ABSENT takes a whole number"),
            ("TYPE SET READTHROUGH TTL 1 TTL 2", "READTHROUGH takes TTL once"),
            (
                "TYPE SET ONEXPIRE DELETE READTHROUGH TTL 1",
                "READTHROUGH takes no TTL with ONEXPIRE DELETE",
            ),
            ("TYPE SET READTHROUGH TTL 1 TTLFIELD at", "READTHROUGH takes no TTL with TTLFIELD"),
            ("TYPE SET READTHROUGH READTHROUGH", "READTHROUGH is given twice"),
        ] {
            let error = register(&format!("k: d.c {line}")).unwrap_err();
            assert!(error.starts_with(expected), "{line}: {error}");
        }
        assert!(register("k: d.c TYPE SET ONEXPIRE DELETE READTHROUGH").is_ok());
    }
}
