//! Lines of commands in a file, with the quoting of redis-cli.

/// The lines of `text` that are neither empty nor comments (`#`), with their numbers from 1.
pub fn of(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
}

/// Splits a line into words, which are separated by white space. `"…"` supports the escapes
/// `\n \r \t \b \a \xHH`, and any other escaped character is kept as it is; `'…'` supports only `\'`.
///
/// # Errors
/// One sentence if a quote is not closed, or if no white space separates it from the next word.
pub fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while let Some(first) = rest.first() {
        let (word, behind) = match first {
            b'"' => double_quoted(&rest[1..])?,
            b'\'' => single_quoted(&rest[1..])?,
            _ => plain(rest)?,
        };
        if behind.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
            return Err("white space must follow a closing quote".to_owned());
        }
        words.push(word);
        rest = behind.trim_ascii_start();
    }
    Ok(words)
}

/// The line that [`words`] splits into these words.
pub fn line(words: &[Vec<u8>]) -> Vec<u8> {
    let mut line = Vec::new();
    for word in words {
        if !line.is_empty() {
            line.push(b' ');
        }
        // A backslash in a plain word stands for itself.
        let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'');
        if !word.is_empty() && word.iter().all(is_plain) {
            line.extend_from_slice(word);
        } else {
            quote(word, &mut line);
        }
    }
    line
}

fn quote(word: &[u8], line: &mut Vec<u8>) {
    line.push(b'"');
    for byte in word {
        match byte {
            b'"' | b'\\' => line.extend([b'\\', *byte]),
            b' '..=b'~' => line.push(*byte),
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            b'\t' => line.extend(b"\\t"),
            other => line.extend(format!("\\x{other:02x}").bytes()),
        }
    }
    line.push(b'"');
}

type Split<'a> = Result<(Vec<u8>, &'a [u8]), String>;

fn open_quote() -> String {
    "a quote is not closed".to_owned()
}

fn plain(rest: &[u8]) -> Split<'_> {
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    let (word, behind) = rest.split_at(end);
    if word.contains(&b'"') || word.contains(&b'\'') {
        return Err("a quote may only begin a word".to_owned());
    }
    Ok((word.to_vec(), behind))
}

fn single_quoted(mut rest: &[u8]) -> Split<'_> {
    let mut word = Vec::new();
    loop {
        match rest {
            [b'\\', b'\'', behind @ ..] => {
                word.push(b'\'');
                rest = behind;
            }
            [b'\'', behind @ ..] => return Ok((word, behind)),
            [byte, behind @ ..] => {
                word.push(*byte);
                rest = behind;
            }
            [] => return Err(open_quote()),
        }
    }
}

fn double_quoted(mut rest: &[u8]) -> Split<'_> {
    let mut word = Vec::new();
    loop {
        match rest {
            [b'\\', b'x', high, low, behind @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex(*high) << 4 | hex(*low));
                rest = behind;
            }
            [b'\\', escaped, behind @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = behind;
            }
            [b'"', behind @ ..] => return Ok((word, behind)),
            [byte, behind @ ..] => {
                word.push(*byte);
                rest = behind;
            }
            [] => return Err(open_quote()),
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_redis_cli_does() {
        let split = |line: &str| {
            words(line.as_bytes()).map(|words| {
                words.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect::<Vec<_>>()
            })
        };
        assert_eq!(split("  a  b\t c ").unwrap(), ["a", "b", "c"]);
        assert_eq!(split(r#""" 'it''s'"#).unwrap_err(), "white space must follow a closing quote");
        assert_eq!(split(r#""" '\'' "a\"b" "\x41\n""#).unwrap(), ["", "'", "a\"b", "A\n"]);
        assert_eq!(split("\"open").unwrap_err(), "a quote is not closed");
        assert_eq!(split("'open").unwrap_err(), "a quote is not closed");
        assert!(split("mid\"quote").is_err());
        assert!(split("").unwrap().is_empty());
    }

    proptest::proptest! {
        #[test]
        fn a_line_is_split_into_the_words_that_it_was_made_of(
            all in proptest::collection::vec(
                proptest::collection::vec(proptest::prelude::any::<u8>(), 0..8), 0..5),
        ) {
            let line = line(&all);
            proptest::prop_assert!(!line.contains(&b'\n'));
            proptest::prop_assert_eq!(words(&line).unwrap(), all);
        }
    }

    #[test]
    fn only_words_that_need_it_are_quoted() {
        let words =
            ["a:b", "", "c d", "e\"", "\u{1}\\", "f\\"].map(|word| word.as_bytes().to_vec());
        assert_eq!(line(&words), br#"a:b "" "c d" "e\"" "\x01\\" f\"#);
    }

    #[test]
    fn empty_lines_and_comments_are_skipped_but_counted() {
        let text = b"# first\n\n  WB.REGISTER a b.c\r\n#x\nlast";
        let lines: Vec<_> = of(text).collect();
        assert_eq!(lines, [(3, &b"WB.REGISTER a b.c"[..]), (5, &b"last"[..])]);
    }
}
