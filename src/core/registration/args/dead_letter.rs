//! The arguments of WB.DEADLETTER.

use super::{SettingLimits, Words};

const COUNT: SettingLimits = SettingLimits { name: "COUNT", default: 0, min: 1, max: i64::MAX };

/// The parsed arguments of WB.DEADLETTER LIST.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LetterList<'a> {
    /// Only dead letters of the registration with this prefix; `None` lists all databases.
    pub prefix: Option<&'a [u8]>,
    /// Maximum number to list; `None` lists all.
    pub count: Option<usize>,
}

/// The dead letters to which RETRY or DROP applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letters<'a> {
    /// Dead letters of all databases.
    All,
    /// Dead letters of the registration with this prefix.
    Prefix(&'a [u8]),
    /// The dead letter of one key.
    Key(&'a [u8]),
}

/// Reads `[<prefix>] [COUNT <n>]`. A prefix that is spelled like the option must be followed by the
/// option.
///
/// # Errors
/// One sentence that names the argument and its valid values.
pub fn letter_list<'a>(words: &[&'a [u8]]) -> Result<LetterList<'a>, String> {
    let option = |word: &[u8]| word.eq_ignore_ascii_case(b"COUNT");
    let (prefix, rest) = match words {
        [first, others @ ..]
            if !option(first) || others.first().is_some_and(|word| option(word)) =>
        {
            (Some(*first), others)
        }
        _ => (None, words),
    };
    let count = match rest {
        [] => None,
        [word, value @ ..] if option(word) && value.len() <= 1 => {
            let count = Words(value.iter()).number("COUNT", COUNT)?;
            Some(usize::try_from(count).unwrap_or(usize::MAX))
        }
        _ => return Err("WB.DEADLETTER LIST takes [<prefix>] [COUNT <n>]".to_owned()),
    };
    Ok(LetterList { prefix, count })
}

/// Reads `[<prefix>|KEY <key>]` of the subcommand `name`.
///
/// # Errors
/// One sentence that names the argument and its valid values.
pub fn letters<'a>(name: &str, words: &[&'a [u8]]) -> Result<Letters<'a>, String> {
    match words {
        [] => Ok(Letters::All),
        [word] if word.eq_ignore_ascii_case(b"KEY") => {
            Err("KEY takes the name of a key".to_owned())
        }
        [prefix] => Ok(Letters::Prefix(prefix)),
        [word, key] if word.eq_ignore_ascii_case(b"KEY") => Ok(Letters::Key(key)),
        _ => Err(format!("WB.DEADLETTER {name} takes [<prefix>|KEY <key>]")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &'static str) -> Vec<&'static [u8]> {
        line.split_whitespace().map(str::as_bytes).collect()
    }

    #[test]
    fn list_reads_all_its_forms() {
        let parse = |line| letter_list(&split(line));
        let list = |prefix: Option<&'static str>, count| {
            Ok(LetterList { prefix: prefix.map(str::as_bytes), count })
        };
        assert_eq!(parse(""), list(None, None));
        assert_eq!(parse("k:"), list(Some("k:"), None));
        assert_eq!(parse("count 5"), list(None, Some(5)));
        assert_eq!(parse("k: COUNT 1"), list(Some("k:"), Some(1)));
        assert_eq!(parse("COUNT Count 7"), list(Some("COUNT"), Some(7)));
        for (line, named) in [
            ("COUNT", "COUNT takes a whole number from 1"),
            ("COUNT 0", "COUNT takes a whole number from 1"),
            ("k: COUNT x", "COUNT takes"),
            ("k: COUNT", "COUNT takes"),
            ("k: TEAPOT", "LIST takes [<prefix>] [COUNT <n>]"),
            ("k: COUNT 1 2", "LIST takes"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(named), "{line}: {error}");
        }
    }

    #[test]
    fn retry_and_drop_read_all_their_forms() {
        let parse = |line| letters("RETRY", &split(line));
        assert_eq!(parse(""), Ok(Letters::All));
        assert_eq!(parse("k:"), Ok(Letters::Prefix(b"k:")));
        assert_eq!(parse("key k:1"), Ok(Letters::Key(b"k:1")));
        assert_eq!(parse("KEY key"), Ok(Letters::Key(b"key")));
        for (line, named) in [
            ("KEY", "KEY takes the name of a key"),
            ("k: k:1", "WB.DEADLETTER RETRY takes [<prefix>|KEY <key>]"),
            ("KEY a b", "WB.DEADLETTER RETRY takes"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(named), "{line}: {error}");
        }
    }
}
