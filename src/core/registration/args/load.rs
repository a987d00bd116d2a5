//! The arguments of WB.LOAD.

use super::Words;
use crate::core::settings::SettingLimits;

/// The options of WB.LOAD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Which documents, as JSON; empty for all.
    pub filter: Vec<u8>,
    /// In which order, as JSON; empty for that of `_id`.
    pub sort: Vec<u8>,
    /// Maximum number of documents; 0 for no limit.
    pub limit: u64,
    /// When loaded keys expire, seconds after they were stored; 0 for what their documents say.
    pub ttl_s: u64,
    /// True if keys that exist are replaced.
    pub replaces: bool,
}

const LIMIT: SettingLimits = SettingLimits { name: "LIMIT", default: 0, min: 1, max: i64::MAX };
/// 100 years.
const TTL: SettingLimits = SettingLimits { name: "TTL", default: 0, min: 1, max: 3_155_760_000 };

/// Reads `[FILTER <json>] [SORT <json>] [LIMIT <n>] [TTL <seconds>] [REPLACE]`. Whether FILTER and SORT are
/// JSON is not checked.
///
/// # Errors
/// One sentence that names the argument and its valid values.
pub fn parse(words: &[&[u8]]) -> Result<LoadOptions, String> {
    let mut options = LoadOptions::default();
    let mut words = Words(words.iter());
    while let Some(word) = words.next() {
        let mut json = |option: &str| {
            let json = words.next().filter(|json| !json.is_empty());
            json.map(<[u8]>::to_vec).ok_or_else(|| format!("{option} takes a JSON object"))
        };
        match word.to_ascii_uppercase().as_slice() {
            b"FILTER" if options.filter.is_empty() => options.filter = json("FILTER")?,
            b"SORT" if options.sort.is_empty() => options.sort = json("SORT")?,
            b"LIMIT" if options.limit == 0 => {
                options.limit = words.number("LIMIT", LIMIT)?.unsigned_abs();
            }
            b"TTL" if options.ttl_s == 0 => {
                options.ttl_s = words.number("TTL", TTL)?.unsigned_abs();
            }
            b"REPLACE" if !options.replaces => options.replaces = true,
            _ => {
                return Err("WB.LOAD takes <prefix> [FILTER <json>] [SORT <json>] [LIMIT <n>] \
                            [TTL <seconds>] [REPLACE]"
                    .to_owned());
            }
        }
    }
    Ok(options)
}

/// The arguments that [`parse`] reads as `options`.
pub fn words(options: &LoadOptions) -> Vec<Vec<u8>> {
    let LoadOptions { filter, sort, limit, ttl_s, replaces } = options;
    let mut words = Vec::new();
    for (name, json) in [("FILTER", filter), ("SORT", sort)] {
        if !json.is_empty() {
            words.extend([name.as_bytes().to_vec(), json.clone()]);
        }
    }
    for (name, number) in [("LIMIT", limit), ("TTL", ttl_s)] {
        if *number > 0 {
            words.extend([name.as_bytes().to_vec(), number.to_string().into_bytes()]);
        }
    }
    if *replaces {
        words.push(b"REPLACE".to_vec());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_formatted_as_they_are_parsed() {
        let line: [&[u8]; 9] =
            [b"filter", b"{}", b"SORT", b"{\"a\":1}", b"limit", b"7", b"TTL", b"60", b"replace"];
        let options = parse(&line).unwrap();
        assert_eq!((options.limit, options.ttl_s, options.replaces), (7, 60, true));
        let words = words(&options);
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        assert_eq!(parse(&words), Ok(options));
        assert_eq!(parse(&[]), Ok(LoadOptions::default()));
        assert!(super::words(&LoadOptions::default()).is_empty());
    }

    #[test]
    fn bad_arguments_are_named() {
        let error = |line: &str| {
            parse(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>()).unwrap_err()
        };
        assert_eq!(error("FILTER"), "FILTER takes a JSON object");
        assert!(error("LIMIT 0").starts_with("LIMIT takes a whole number from 1"));
        assert!(error("TTL x").starts_with("TTL takes a whole number from 1"));
        for line in ["WHAT", "REPLACE REPLACE", "LIMIT 1 LIMIT 2", "FILTER {} FILTER {}"] {
            assert!(error(line).starts_with("WB.LOAD takes <prefix>"), "{line}");
        }
    }
}
