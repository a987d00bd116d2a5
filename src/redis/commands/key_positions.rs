//! Where the keys of a command are, for the server: in a cluster it redirects the client by them.

use crate::redis::command_spec::KeySpec;

/// The positions of the keys in `words`, the command's name first. None where the arguments are wrong: the
/// command itself says so.
pub fn positions(keys: KeySpec, words: &[&[u8]]) -> std::ops::Range<usize> {
    let after = |keyword: &str, from: usize| {
        let mut words = words.iter().enumerate().skip(from);
        words.find(|(_, word)| word.eq_ignore_ascii_case(keyword.as_bytes())).map(|(at, _)| at + 1)
    };
    let number = |at: usize| std::str::from_utf8(words.get(at)?).ok()?.parse::<usize>().ok();
    let range = match keys {
        KeySpec::Counted => after("KEYS", 1).and_then(|at| {
            let end = (at + 1).saturating_add(number(at)?);
            Some(at + 1..end)
        }),
        KeySpec::BehindKey => after("KEY", 2).map(|at| at..at + 1),
        KeySpec::First => Some(1..2),
        // The server knows them.
        KeySpec::Inner => None,
    };
    range.filter(|range| range.end <= words.len()).unwrap_or(0..0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(keys: KeySpec, line: &str) -> Vec<&str> {
        let words: Vec<&str> = line.split(' ').collect();
        let bytes: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        words[positions(keys, &bytes)].to_vec()
    }

    #[test]
    fn the_keys_are_behind_their_keyword() {
        for (line, keys) in [
            ("WB.FLUSH", vec![]),
            ("WB.FLUSH k:", vec![]),
            ("WB.FLUSH KEYS 2 a b TIMEOUT 5", vec!["a", "b"]),
            ("wb.flush timeout 5 keys 1 a", vec!["a"]),
            ("WB.FLUSH KEYS", vec![]),
            ("WB.FLUSH KEYS 3 a b", vec![]),
            ("WB.FLUSH KEYS -1 a", vec![]),
            ("WB.FLUSH KEYS 18446744073709551615 a", vec![]),
        ] {
            assert_eq!(of(KeySpec::Counted, line), keys, "{line}");
        }
        assert_eq!(of(KeySpec::BehindKey, "WB.DEADLETTER RETRY KEY k:1"), ["k:1"]);
        assert!(of(KeySpec::BehindKey, "WB.DEADLETTER RETRY k:").is_empty());
        assert!(of(KeySpec::BehindKey, "WB.DEADLETTER RETRY KEY").is_empty());
        assert_eq!(of(KeySpec::First, "WB.EXPLAIN k:1"), ["k:1"]);
    }
}
