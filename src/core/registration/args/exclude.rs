//! The arguments of EXCLUDE: `<n> <glob> ...`.

use super::{SettingLimits, Words};
use crate::core::registration::glob::{Glob, MAX_BYTES};

const COUNT: SettingLimits = SettingLimits { name: "EXCLUDE", default: 0, min: 1, max: 64 };

/// Reads the count and the globs.
///
/// # Errors
/// One sentence that names the argument and its valid values.
pub(super) fn parse(words: &mut Words<'_>) -> Result<Vec<Glob>, String> {
    let count = words.number("EXCLUDE", COUNT)?;
    let glob = |_| {
        let word = words
            .next()
            .ok_or_else(|| format!("EXCLUDE {count} takes {count} globs after the number"))?;
        let glob = Glob::new(word);
        glob.ok_or_else(|| format!("EXCLUDE takes globs of at most {MAX_BYTES} bytes"))
    };
    (0..count).map(glob).collect()
}

/// The option EXCLUDE followed by the arguments that `parse` reads as `globs`.
pub(super) fn words(globs: &[Glob]) -> impl Iterator<Item = Vec<u8>> {
    let count = [b"EXCLUDE".to_vec(), globs.len().to_string().into_bytes()];
    count.into_iter().chain(globs.iter().map(|glob| glob.text().to_vec()))
}
