//! The arguments of MODE.

use super::Words;
use crate::core::registration::WriteThrough;
use crate::core::settings::{SettingLimits, THROUGH_TIMEOUT_MS};

const TIMEOUT: SettingLimits = SettingLimits { name: "TIMEOUT", ..THROUGH_TIMEOUT_MS };

const MODES: [(&str, bool); 2] = [("BEHIND", false), ("THROUGH", true)];

/// Reads `BEHIND`, or `THROUGH [TIMEOUT <ms>]`.
///
/// # Errors
/// One sentence that names the argument and its valid values.
pub fn parse(words: &mut Words<'_>) -> Result<Option<WriteThrough>, String> {
    if !words.choice("MODE", &MODES)? {
        return Ok(None);
    }
    let next = words.0.as_slice().first();
    if !next.is_some_and(|word| word.eq_ignore_ascii_case(TIMEOUT.name.as_bytes())) {
        return Ok(Some(WriteThrough { timeout_ms: None }));
    }
    words.next();
    let timeout_ms = words.number("MODE THROUGH TIMEOUT", TIMEOUT)?.unsigned_abs();
    Ok(Some(WriteThrough { timeout_ms: Some(timeout_ms) }))
}

/// The option as [`parse`] reads it, with its name; empty for BEHIND.
pub fn words(of: Option<&WriteThrough>) -> Vec<Vec<u8>> {
    let Some(WriteThrough { timeout_ms }) = of else { return Vec::new() };
    let mut words = vec![b"MODE".to_vec(), b"THROUGH".to_vec()];
    if let Some(ms) = timeout_ms {
        words.extend([TIMEOUT.name.as_bytes().to_vec(), ms.to_string().into_bytes()]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Db;
    use crate::core::registration::{Registration, args};

    fn register(line: &str) -> Result<Registration, String> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        args::register(Db(0), &words).map(|(registration, _)| registration)
    }

    #[test]
    fn a_mode_is_read_and_written_again() {
        for (line, expected) in [
            ("k: d.c", None),
            ("k: d.c MODE BEHIND", None),
            ("k: d.c mode through", Some(WriteThrough { timeout_ms: None })),
            ("k: d.c MODE THROUGH SYNC", Some(WriteThrough { timeout_ms: None })),
            ("k: d.c MODE THROUGH TIMEOUT 250", Some(WriteThrough { timeout_ms: Some(250) })),
            (
                "k: d.c MODE THROUGH timeout 1 TYPE HASH READTHROUGH",
                Some(WriteThrough { timeout_ms: Some(1) }),
            ),
        ] {
            let registration = register(line).unwrap();
            assert_eq!(registration.write_through, expected, "{line}");
            let words = args::words(&registration);
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            assert_eq!(args::registered(Db(0), &words).unwrap().0, registration, "{line}");
        }
    }

    #[test]
    fn a_wrong_mode_is_an_error_that_names_it() {
        for (line, expected) in [
            ("k: d.c MODE", "MODE takes one of BEHIND, THROUGH"),
            ("k: d.c MODE BESIDE", "MODE takes one of BEHIND, THROUGH"),
            ("k: d.c MODE THROUGH TIMEOUT", "MODE THROUGH TIMEOUT takes a whole number from 1 to"),
            (
                "k: d.c MODE THROUGH TIMEOUT 0",
                "MODE THROUGH TIMEOUT takes a whole number from 1 to",
            ),
            ("k: d.c MODE THROUGH MODE BEHIND", "MODE is given twice"),
            ("k: d.c MODE BEHIND TIMEOUT 5", "unknown option 'TIMEOUT'"),
        ] {
            let error = register(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
