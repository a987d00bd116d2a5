//! Names from outside in messages: a prefix may be any bytes, and must not forge a line of the log or
//! send commands to a terminal.

/// `bytes` as text for a message: control characters and others that are not printed are escaped as in
/// Rust (`\n`, `\u{1b}`), bytes that are not UTF-8 as `\xHH`.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\\' | '"' | '\'' => text.push(letter),
                _ => text.extend(letter.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_printed_is_escaped() {
        assert_eq!(printable("Fältet \"7\" \\ '日本':".as_bytes()), "Fältet \"7\" \\ '日本':");
        assert_eq!(printable(b"a\x1b[31m\r\n\0\xff\xc3"), "a\\u{1b}[31m\\r\\n\\0\\xff\\xc3");
        assert_eq!(printable("\u{202e}x".as_bytes()), "\\u{202e}x");
    }
}
