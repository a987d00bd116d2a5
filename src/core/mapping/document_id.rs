//! Converts a key's suffix to the value of the key field.

use std::str;

use super::bson::Element;
use super::error::MappingError;
use crate::core::registration::IdType;

/// The value of the key field. With each [`IdType`], different keys have different values, except
/// that hexadecimal digits are case-insensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentId<'k> {
    /// A string.
    Text(&'k str),
    /// Binary of subtype 0, for bytes that are not UTF-8.
    Bytes(&'k [u8]),
    /// A 64-bit integer.
    Int64(i64),
    /// An ObjectId.
    ObjectId([u8; 12]),
    /// Binary of subtype 4.
    Uuid([u8; 16]),
}

impl<'k> DocumentId<'k> {
    /// Converts `suffix`. [`MappingError::Suffix`] if it does not have the form that `to` requires.
    pub fn convert(suffix: &'k [u8], to: IdType) -> Result<Self, MappingError> {
        match to {
            IdType::String => Ok(match str::from_utf8(suffix) {
                Ok(text) => DocumentId::Text(text),
                Err(_) => DocumentId::Bytes(suffix),
            }),
            IdType::Int64 => canonical_int64(suffix)
                .map(DocumentId::Int64)
                .ok_or(MappingError::Suffix("a canonical 64-bit integer")),
            IdType::ObjectId => hex(suffix)
                .map(DocumentId::ObjectId)
                .ok_or(MappingError::Suffix("24 hexadecimal digits")),
            IdType::Uuid => {
                uuid(suffix).map(DocumentId::Uuid).ok_or(MappingError::Suffix("a hyphenated UUID"))
            }
        }
    }

    /// Writes it as the value of `element`.
    #[inline]
    pub fn write(self, element: Element<'_>) {
        match self {
            DocumentId::Text(text) => element.string(text),
            DocumentId::Bytes(bytes) => element.binary(bytes),
            DocumentId::Int64(value) => element.int64(value),
            DocumentId::ObjectId(bytes) => element.object_id(bytes),
            DocumentId::Uuid(bytes) => element.uuid(bytes),
        }
    }
}

/// Parses only the canonical form of a number: `7` and `07` are two keys, and must not map to the
/// same document.
pub(super) fn canonical_int64(suffix: &[u8]) -> Option<i64> {
    let canonical = match suffix {
        b"0" => true,
        [b'-', digits @ ..] | digits => matches!(digits, [b'1'..=b'9', ..]),
    };
    let text = str::from_utf8(suffix).ok()?;
    canonical.then(|| text.parse().ok()).flatten()
}

/// `2 * N` hexadecimal digits of either case.
pub(super) fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    if pairs.len() != N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let high = char::from(*high).to_digit(16)?;
        let low = char::from(*low).to_digit(16)?;
        *byte = (high << 4 | low) as u8;
    }
    Some(bytes)
}

/// The form 8-4-4-4-12.
pub(super) fn uuid(suffix: &[u8]) -> Option<[u8; 16]> {
    let mut digits = [0; 32];
    let mut rest = digits.as_mut_slice();
    let mut parts = suffix.split(|byte| *byte == b'-');
    for width in [8, 4, 4, 4, 12] {
        let part = parts.next().filter(|part| part.len() == width)?;
        let (head, tail) = rest.split_at_mut_checked(width)?;
        head.copy_from_slice(part);
        rest = tail;
    }
    if parts.next().is_some() {
        return None;
    }
    hex(&digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(suffix: &[u8], to: IdType) -> bool {
        matches!(DocumentId::convert(suffix, to), Err(MappingError::Suffix(_)))
    }

    #[test]
    fn a_suffix_is_a_string_or_binary_if_it_is_not_utf8() {
        assert_eq!(DocumentId::convert(b"", IdType::String), Ok(DocumentId::Text("")));
        assert_eq!(
            DocumentId::convert("é\0".as_bytes(), IdType::String),
            Ok(DocumentId::Text("é\0"))
        );
        assert_eq!(DocumentId::convert(b"\xff", IdType::String), Ok(DocumentId::Bytes(b"\xff")));
    }

    #[test]
    fn canonical_integers_become_int64() {
        for value in [0, 1, -1, 10, i64::MAX, i64::MIN] {
            let suffix = value.to_string();
            assert_eq!(
                DocumentId::convert(suffix.as_bytes(), IdType::Int64),
                Ok(DocumentId::Int64(value))
            );
        }
    }

    #[test]
    fn numbers_in_non_canonical_form_are_refused() {
        let suffixes = [
            "",
            "-",
            "-0",
            "+1",
            "01",
            "-01",
            "00",
            "1 ",
            " 1",
            "1.0",
            "1e2",
            "0x1",
            "١",
            "1_0",
            "9223372036854775808",
            "-9223372036854775809",
        ];
        for suffix in suffixes {
            assert!(refused(suffix.as_bytes(), IdType::Int64), "{suffix}");
        }
        assert!(refused(b"\xff", IdType::Int64));
    }

    #[test]
    fn twenty_four_hexadecimal_digits_become_an_object_id() {
        let bytes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 0xab, 0xcd, 0xef];
        for suffix in ["000102030405060708abcdef", "000102030405060708ABCDEF"] {
            assert_eq!(
                DocumentId::convert(suffix.as_bytes(), IdType::ObjectId),
                Ok(DocumentId::ObjectId(bytes))
            );
        }
        for suffix in [
            "",
            "0001",
            "000102030405060708abcdeg",
            "000102030405060708abcdef0",
            "+f0102030405060708abcdef",
        ] {
            assert!(refused(suffix.as_bytes(), IdType::ObjectId), "{suffix}");
        }
    }

    #[test]
    fn a_hyphenated_uuid_becomes_binary() {
        let bytes = [
            0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17,
            0x40, 0,
        ];
        for suffix in
            ["123e4567-e89b-12d3-a456-426614174000", "123E4567-E89B-12D3-A456-426614174000"]
        {
            assert_eq!(
                DocumentId::convert(suffix.as_bytes(), IdType::Uuid),
                Ok(DocumentId::Uuid(bytes))
            );
        }
        let refusals = [
            "",
            "123e4567e89b12d3a456426614174000",
            "123e4567-e89b-12d3-a456-42661417400",
            "123e4567-e89b-12d3-a456-4266141740000",
            "123e4567-e89b-12d3-a456-42661417400g",
            "123e456-7e89b-12d3-a456-426614174000",
            "123e4567-e89b-12d3-a456-426614174000-",
            "{123e4567-e89b-12d3-a456-426614174000}",
            "----",
        ];
        for suffix in refusals {
            assert!(refused(suffix.as_bytes(), IdType::Uuid), "{suffix}");
        }
    }
}
