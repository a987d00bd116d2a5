//! Names from outside in messages: a prefix may be any bytes, and must not forge a line of the log or
//! send commands to a terminal.

use std::fmt::Write;

/// `bytes` as text for a message: bytes of control characters, of marks that are invisible or change the
/// direction of the text, and those that are not UTF-8 are shown as WB.LIST shows them, `\n`, `\r`, `\t`
/// or `\xHH`.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                letter if letter.is_control() || is_invisible(letter) => {
                    push_hex(&mut text, letter.encode_utf8(&mut [0; 4]).as_bytes());
                }
                letter => text.push(letter),
            }
        }
        push_hex(&mut text, chunk.invalid());
    }
    text
}

/// Zero-width characters, line and paragraph separators, and marks for the direction of text.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_printed_is_escaped() {
        assert_eq!(
            printable("Fältet \"7\" \\ '日本' e\u{301}:".as_bytes()),
            "Fältet \"7\" \\ '日本' e\u{301}:"
        );
        assert_eq!(printable(b"a\x1b[31m\r\n\t\0\xff\xc3"), "a\\x1b[31m\\r\\n\\t\\x00\\xff\\xc3");
        assert_eq!(printable("\u{202e}x".as_bytes()), "\\xe2\\x80\\xaex");
    }
}
