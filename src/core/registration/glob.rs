//! Glob-style patterns as in KEYS and PSUBSCRIBE: `*`, `?`, `[a-z]`, `[^a]`, and `\` to escape a
//! character.
//!
//! Any glob is matched in one pass over the text: one bit for each element says whether the text
//! read so far can end there.

use std::fmt;

/// The longest glob, in bytes.
pub const MAX_BYTES: usize = 255;
/// Maximum number of elements for which one machine word has enough bits.
const SHORT: usize = 63;
/// Machine words for the elements of the longest glob.
const WORDS: usize = 4;

/// A set of elements; bit `i` represents element `i`.
type Elements = [u64; WORDS];

/// A compiled glob. Matching allocates nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Glob {
    text: Box<[u8]>,
    /// Number of elements, not counting the stars.
    len: usize,
    /// Which elements follow a star.
    starred: Elements,
    /// The elements that match a byte, by the class of the byte.
    takes: Vec<Elements>,
    /// The class of each byte: bytes of one class are matched by the same elements.
    class_of: Box<[u8; 256]>,
}

impl Glob {
    /// Compiles the glob `text`; `None` if it is longer than [`MAX_BYTES`].
    pub fn new(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let mut by_byte = vec![Elements::default(); 256];
        let mut starred = Elements::default();
        let mut len = 0;
        let mut rest = text;
        while let Some((first, behind)) = rest.split_first() {
            rest = behind;
            match first {
                b'*' => {
                    set(&mut starred, len);
                    continue;
                }
                b'?' => by_byte.iter_mut().for_each(|elements| set(elements, len)),
                b'[' => {
                    let taken;
                    (taken, rest) = class(behind);
                    let taken = by_byte.iter_mut().zip(taken).filter(|(_, taken)| *taken);
                    taken.for_each(|(elements, _)| set(elements, len));
                }
                b'\\' if !behind.is_empty() => {
                    set(&mut by_byte[usize::from(behind[0])], len);
                    rest = &behind[1..];
                }
                byte => set(&mut by_byte[usize::from(*byte)], len),
            }
            len += 1;
        }
        let mut takes: Vec<Elements> = Vec::new();
        let mut class_of = Box::new([0; 256]);
        for (class, elements) in class_of.iter_mut().zip(by_byte) {
            let known = takes.iter().position(|other| *other == elements);
            // There are 256 bytes, so no class has a greater number.
            *class = known.unwrap_or(takes.len()) as u8;
            if known.is_none() {
                takes.push(elements);
            }
        }
        Some(Glob { text: text.into(), len, starred, takes, class_of })
    }

    /// The source text of the glob.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// True if it matches the whole of `text`.
    pub fn matches(&self, text: &[u8]) -> bool {
        if self.len <= SHORT { self.run::<1>(text) } else { self.run::<WORDS>(text) }
    }

    /// `state` has bit `i` when the first `i` elements match the text so far.
    fn run<const N: usize>(&self, text: &[u8]) -> bool {
        let mut state = [0u64; N];
        state[0] = 1;
        let takes_the_rest = has(&self.starred, self.len);
        for byte in text {
            if takes_the_rest && has(&state, self.len) {
                return true;
            }
            let takes = &self.takes[usize::from(self.class_of[usize::from(*byte)])];
            let (mut carry, mut any) = (0, 0);
            for ((word, takes), starred) in state.iter_mut().zip(takes).zip(&self.starred) {
                let taken = *word & takes;
                *word = taken << 1 | carry | (*word & starred);
                carry = taken >> 63;
                any |= *word;
            }
            if any == 0 {
                return false;
            }
        }
        has(&state, self.len)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({})", self.text.escape_ascii())
    }
}

fn set(elements: &mut Elements, at: usize) {
    elements[at / 64] |= 1 << (at % 64);
}

fn has(words: &[u64], at: usize) -> bool {
    words.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
}

/// The bytes that the class after a `[` matches, and the text after its `]`. A class that is not
/// closed ends with the glob, as in the server.
fn class(text: &[u8]) -> ([bool; 256], &[u8]) {
    let (negated, mut rest) = match text {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut named = [false; 256];
    loop {
        match rest {
            [] => break,
            [b']', behind @ ..] => {
                rest = behind;
                break;
            }
            [b'\\', byte, behind @ ..] => {
                named[usize::from(*byte)] = true;
                rest = behind;
            }
            [first, b'-', last, behind @ ..] => {
                for byte in *first.min(last)..=*first.max(last) {
                    named[usize::from(byte)] = true;
                }
                rest = behind;
            }
            [byte, behind @ ..] => {
                named[usize::from(*byte)] = true;
                rest = behind;
            }
        }
    }
    (named.map(|named| named != negated), rest)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn matches(glob: &[u8], text: &[u8]) -> bool {
        Glob::new(glob).unwrap().matches(text)
    }

    #[test]
    fn globs_match_like_those_of_the_server() {
        for (glob, matched, others) in [
            ("", &[""][..], &["a"][..]),
            ("index:hash", &["index:hash"], &["index:has", "index:hash:", "", "xindex:hash"]),
            ("*:phantom", &["1:phantom", ":phantom"], &["phantom", "1:phantom:"]),
            ("tmp:*", &["tmp:", "tmp:1"], &["tmp", "xtmp:1"]),
            ("*", &["", "anything"], &[]),
            ("a*b*c", &["abc", "axbxc", "abcbc"], &["ab", "acb", "abcd"]),
            ("**a", &["a", "xa"], &["", "ab"]),
            ("h?llo", &["hello", "h\u{7}llo"], &["hllo", "heello"]),
            ("h[ae]llo", &["hallo", "hello"], &["hillo", "h[ae]llo"]),
            ("h[^e]llo", &["hallo"], &["hello", "hllo"]),
            ("[a-c][c-a]", &["ab", "ca"], &["ad", "a"]),
            (r"h\*llo", &["h*llo"], &["hello", r"h\*llo"]),
            (r"[\]a]", &["]", "a"], &["b", r"\"]),
            ("[^", &["x"], &["", "xy"]),
            ("[", &[], &["[", ""]),
            ("[]", &[], &["", "]"]),
            ("[a", &["a"], &["[a"]),
            ("[a-", &["a", "-"], &["b"]),
            (r"a\", &[r"a\"], &["a"]),
        ] {
            for text in matched {
                assert!(matches(glob.as_bytes(), text.as_bytes()), "{glob} {text}");
            }
            for text in others {
                assert!(!matches(glob.as_bytes(), text.as_bytes()), "{glob} {text}");
            }
        }
    }

    #[test]
    fn the_longest_glob_is_matched_to_its_end() {
        for len in [62, 63, 64, 127, 128, 255] {
            let text = vec![b'a'; len];
            assert!(matches(&text, &text));
            assert!(!matches(&text, &text[1..]) && !matches(&text[1..], &text));
            assert!(matches(&[b"*", &text[1..]].concat(), &text.repeat(2)));
        }
        assert!(Glob::new(&[b'a'; 256]).is_none());
    }

    #[test]
    fn matching_time_is_linear_in_the_text() {
        let text = [vec![b'a'; 1_000_000], vec![b'b']].concat();
        let stars = "*a".repeat(127);
        let run = format!("*{}*", "a".repeat(200) + "c");
        let began = Instant::now();
        assert!(!matches(stars.as_bytes(), &text));
        assert!(!matches(run.as_bytes(), &text));
        // Backtracking would take years.
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }

    /// The definition of a match, with backtracking.
    fn is_match(glob: &[u8], text: &[u8]) -> bool {
        match (glob, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => {
                is_match(rest, text) || (!text.is_empty() && is_match(glob, &text[1..]))
            }
            ([b'?', rest @ ..], [_, behind @ ..]) => is_match(rest, behind),
            ([b'[', rest @ ..], [byte, behind @ ..]) => {
                let (taken, rest) = class(rest);
                taken[usize::from(*byte)] && is_match(rest, behind)
            }
            ([b'\\', escaped, rest @ ..], [byte, behind @ ..]) => {
                escaped == byte && is_match(rest, behind)
            }
            ([own, rest @ ..], [byte, behind @ ..]) => own == byte && is_match(rest, behind),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn one_pass_matches_like_backtracking(
            glob in r"[ab*?\[\]^\\-]{0,12}",
            longer in prop::option::of("[ab]{60,70}"),
            text in r"[abc\]\\-]{0,12}",
        ) {
            let prefix = longer.unwrap_or_default();
            let (glob, text) = (format!("{prefix}{glob}"), format!("{prefix}{text}"));
            let expected = is_match(glob.as_bytes(), text.as_bytes());
            prop_assert_eq!(matches(glob.as_bytes(), text.as_bytes()), expected);
        }
    }
}
