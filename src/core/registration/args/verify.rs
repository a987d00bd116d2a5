//! The arguments of WB.VERIFY.

use super::Words;
use crate::core::settings::SettingLimits;

/// What WB.VERIFY does with differences, and what it looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// True if keys that differ are written again.
    pub repairs: bool,
    /// True if documents without keys are looked for, too.
    pub full: bool,
}

/// What WB.VERIFY is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Compare all keys once.
    Once(VerifyOptions),
    /// Compare all keys again and again, every so many seconds; 0 ends that.
    Every(u64),
}

/// One year.
const EVERY: SettingLimits = SettingLimits { name: "EVERY", default: 0, min: 0, max: 31_536_000 };

/// Reads `[REPAIR] [FULL] | EVERY <seconds>`.
///
/// # Errors
/// One sentence that names the argument and its valid values.
pub fn parse(words: &[&[u8]]) -> Result<Verification, String> {
    let mut options = VerifyOptions::default();
    let mut words = Words(words.iter());
    let mut is_first = true;
    let usage = || Err("WB.VERIFY takes <prefix> [REPAIR] [FULL] | EVERY <seconds>".to_owned());
    while let Some(word) = words.next() {
        match word.to_ascii_uppercase().as_slice() {
            b"REPAIR" if !options.repairs => options.repairs = true,
            b"FULL" if !options.full => options.full = true,
            b"EVERY" if is_first => {
                let seconds = words.number("EVERY", EVERY)?.unsigned_abs();
                return match words.next() {
                    None => Ok(Verification::Every(seconds)),
                    Some(_) => usage(),
                };
            }
            _ => return usage(),
        }
        is_first = false;
    }
    Ok(Verification::Once(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Verification, String> {
        parse(&line.split_whitespace().map(str::as_bytes).collect::<Vec<_>>())
    }

    #[test]
    fn a_verification_is_once_or_every_so_often() {
        let once = |repairs, full| Ok(Verification::Once(VerifyOptions { repairs, full }));
        assert_eq!(of(""), once(false, false));
        assert_eq!(of("repair"), once(true, false));
        assert_eq!(of("FULL REPAIR"), once(true, true));
        assert_eq!(of("EVERY 60"), Ok(Verification::Every(60)));
        assert_eq!(of("every 0"), Ok(Verification::Every(0)));
        assert!(of("EVERY").unwrap_err().starts_with("EVERY takes a whole number from 0"));
        for line in ["REPAIR REPAIR", "FULL EVERY 5", "EVERY 5 REPAIR", "ALL"] {
            assert!(of(line).unwrap_err().starts_with("WB.VERIFY takes <prefix>"), "{line}");
        }
    }
}
