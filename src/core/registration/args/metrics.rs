//! The arguments of WB.METRICS.

use super::Words;
use crate::core::settings::SettingLimits;

/// Number of prefixes with metrics of their own. One costs the server thread about 4 µs.
const PREFIXES: SettingLimits = SettingLimits { name: "PREFIXES", default: 100, min: 0, max: 1000 };

/// Reads `[PREFIXES <n>]`: at most so many prefixes have metrics of their own.
///
/// # Errors
/// One sentence that names the argument and its allowed values.
pub fn parse(words: &[&[u8]]) -> Result<usize, String> {
    match words {
        [] => Ok(PREFIXES.default as usize),
        [option, value @ ..] if option.eq_ignore_ascii_case(b"PREFIXES") && value.len() < 2 => {
            Words(value.iter()).number("PREFIXES", PREFIXES).map(|prefixes| prefixes as usize)
        }
        _ => Err("WB.METRICS takes [PREFIXES <n>]".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_prefixes_may_follow() {
        assert_eq!(parse(&[]), Ok(100));
        assert_eq!(parse(&[b"prefixes", b"0"]), Ok(0));
        for (words, expected) in [
            (&[&b"PREFIXES"[..]][..], "PREFIXES takes a whole number from 0 to 1000"),
            (&[b"PREFIXES", b"1001"], "PREFIXES takes a whole number from 0 to 1000"),
            (&[b"k:"], "WB.METRICS takes [PREFIXES <n>]"),
            (&[b"PREFIXES", b"1", b"2"], "WB.METRICS takes [PREFIXES <n>]"),
        ] {
            let error = parse(words).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
