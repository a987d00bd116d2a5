//! The arguments of WB.FLUSH.

use super::Words;
use crate::core::settings::SettingLimits;

/// The parsed arguments of WB.FLUSH.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushArgs<'a> {
    /// Only keys of the registration with this prefix; with `keys`, only those that belong to it.
    pub prefix: Option<&'a [u8]>,
    /// Only these keys.
    pub keys: Option<Vec<&'a [u8]>>,
    /// Timeout in milliseconds; 0 waits indefinitely.
    pub timeout_ms: i64,
    /// True if all nodes of the cluster are flushed.
    pub all_nodes: bool,
}

const TIMEOUT: SettingLimits =
    SettingLimits { name: "TIMEOUT", default: 0, min: 0, max: i64::MAX / 1000 };
const KEYS: SettingLimits = SettingLimits { name: "KEYS", default: 0, min: 1, max: 1_000_000 };

/// Reads `[<prefix>] [KEYS <n> <key> ...] [TIMEOUT <ms>] [CLUSTER]`. A prefix that is spelled like an option
/// must be followed by an option.
///
/// # Errors
/// One sentence that names the argument and its valid values.
pub fn flush<'a>(words: &[&'a [u8]]) -> Result<FlushArgs<'a>, String> {
    let names: [&[u8]; 3] = [b"KEYS", b"TIMEOUT", b"CLUSTER"];
    let option = |word: &[u8]| names.iter().any(|name| name.eq_ignore_ascii_case(word));
    let mut args = FlushArgs::default();
    let mut timed = false;
    let mut rest = words;
    if let [first, others @ ..] = words {
        let second_is_option = others.first().is_some_and(|word| option(word));
        if !option(first) || second_is_option {
            args.prefix = Some(first);
            rest = others;
        }
    }
    while let [word, others @ ..] = rest {
        let mut values = Words(others.iter());
        if word.eq_ignore_ascii_case(b"TIMEOUT") && !timed {
            timed = true;
            args.timeout_ms = values.number("TIMEOUT", TIMEOUT)?;
            rest = others.get(1..).unwrap_or_default();
        } else if word.eq_ignore_ascii_case(b"KEYS") && args.keys.is_none() {
            let count = values.number("KEYS", KEYS)? as usize;
            let Some(keys) = others.get(1..=count) else {
                return Err(format!("KEYS {count} takes {count} keys after the number"));
            };
            args.keys = Some(keys.to_vec());
            rest = &others[1 + count..];
        } else if word.eq_ignore_ascii_case(b"CLUSTER") && !args.all_nodes {
            args.all_nodes = true;
            rest = others;
        } else {
            return Err("WB.FLUSH takes [<prefix>] [KEYS <n> <key> ...] [TIMEOUT <ms>] [CLUSTER]"
                .to_owned());
        }
    }
    if args.all_nodes && args.keys.is_some() {
        return Err(
            "WB.FLUSH takes KEYS or CLUSTER: keys are on one node, which they find".to_owned()
        );
    }
    Ok(args)
}
