//! Replies of the server, parsed.

/// A part of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// `+OK`
    Simple(&'a [u8]),
    /// `-ERR …`
    Error(&'a [u8]),
    /// A number.
    Integer(i64),
    /// A string.
    Bytes(&'a [u8]),
    /// So many parts follow.
    Array(usize),
    /// So many parts follow, each once.
    Set(usize),
    /// So many pairs follow.
    Map(usize),
    /// Nothing.
    Null,
    /// Nothing, where an array could be (RESP2).
    NullArray,
    /// `#t` or `#f`
    Boolean(bool),
    /// A number with a fraction, as text.
    Double(&'a [u8]),
    /// A number of any size, as text.
    BigNumber(&'a [u8]),
    /// A string behind the three letters of its format and a colon.
    Verbatim(&'a [u8]),
}

/// The parts of a reply in their order; `None` if it is damaged, incomplete, or has parts of other types.
pub fn parts(mut reply: &[u8]) -> Option<Vec<Part<'_>>> {
    let (mut parts, mut expected) = (Vec::new(), 1usize);
    while expected > 0 {
        let (part, rest) = part(reply)?;
        expected -= 1;
        match &part {
            Part::Array(len) | Part::Set(len) => expected = expected.checked_add(*len)?,
            Part::Map(len) => expected = expected.checked_add(len.checked_mul(2)?)?,
            _ => {}
        }
        // Each part takes three bytes at the least: a number that promises more is damaged.
        if expected > rest.len() {
            return None;
        }
        parts.push(part);
        reply = rest;
    }
    reply.is_empty().then_some(parts)
}

fn part(reply: &[u8]) -> Option<(Part<'_>, &[u8])> {
    let (tag, rest) = reply.split_first()?;
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    let (line, rest) = (&rest[..end], &rest[end + 2..]);
    let number = || std::str::from_utf8(line).ok()?.parse::<i64>().ok();
    let len = || usize::try_from(number()?).ok();
    let part = match tag {
        b'+' => Part::Simple(line),
        b'-' => Part::Error(line),
        b':' => Part::Integer(number()?),
        b'*' if line == b"-1" => Part::NullArray,
        b'*' => Part::Array(len()?),
        b'~' => Part::Set(len()?),
        b'%' => Part::Map(len()?),
        b'_' => Part::Null,
        b'$' if line == b"-1" => Part::Null,
        b'#' if line == b"t" || line == b"f" => Part::Boolean(line == b"t"),
        b',' => Part::Double(line),
        b'(' => Part::BigNumber(line),
        b'$' | b'=' => {
            let (bytes, rest) = rest.split_at_checked(len()?)?;
            let part = if *tag == b'$' { Part::Bytes(bytes) } else { Part::Verbatim(bytes) };
            return Some((part, rest.strip_prefix(b"\r\n")?));
        }
        _ => return None,
    };
    Some((part, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reply_is_read_part_by_part() {
        let reply = b"%2\r\n$1\r\na\r\n:-7\r\n$4\r\n\r\n\r\n\r\n*3\r\n+OK\r\n-ERR no\r\n_\r\n";
        let expected = [
            Part::Map(2),
            Part::Bytes(b"a"),
            Part::Integer(-7),
            Part::Bytes(b"\r\n\r\n"),
            Part::Array(3),
            Part::Simple(b"OK"),
            Part::Error(b"ERR no"),
            Part::Null,
        ];
        assert_eq!(parts(reply), Some(expected.to_vec()));
        for end in 0..reply.len() {
            assert_eq!(parts(&reply[..end]), None, "{end}");
        }
        assert_eq!(parts(b":1\r\n:2\r\n"), None, "more than one");
        assert_eq!(parts(b"*99999999999\r\n"), None);
        assert_eq!(parts(b"%9223372036854775807\r\n"), None);
        assert_eq!(parts(b"|1\r\n:1\r\n:1\r\n:1\r\n"), None, "attributes");
    }

    #[test]
    fn the_parts_of_resp3_are_read() {
        let reply = b"~5\r\n#t\r\n,1.5\r\n(123\r\n=6\r\ntxt:hi\r\n*-1\r\n";
        let expected = [
            Part::Set(5),
            Part::Boolean(true),
            Part::Double(b"1.5"),
            Part::BigNumber(b"123"),
            Part::Verbatim(b"txt:hi"),
            Part::NullArray,
        ];
        assert_eq!(parts(reply), Some(expected.to_vec()));
        for damaged in [&b"#x\r\n"[..], b"=9\r\ntxt:hi\r\n", b"~2\r\n:1\r\n"] {
            assert_eq!(parts(damaged), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in "[-+:*%$_~#,(=0-9at\r\n]{0,40}") {
            parts(bytes.as_bytes());
        }
    }
}
