//! Names of BSON elements: they are NUL-terminated, so they must not contain a NUL.

use std::ffi::CStr;

/// A field name with a NUL byte, which BSON does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NulInName;

/// The name of an element.
pub trait Name {
    /// Appends the name, and the NUL that ends it, to `out`.
    fn append_to(self, out: &mut Vec<u8>);
}

/// A constant name: a C string contains no NUL.
impl Name for &CStr {
    #[inline]
    fn append_to(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.to_bytes_with_nul());
    }
}

/// A name from data that was checked to contain no NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldName<'a>(&'a str);

impl<'a> FieldName<'a> {
    /// Checks `text` as a name; an error if it contains a NUL.
    #[inline]
    pub fn new(text: &'a str) -> Result<Self, NulInName> {
        // A plain loop: names are short, and it beats the set-up of a vectorised search.
        if text.bytes().any(|byte| byte == 0) {
            return Err(NulInName);
        }
        Ok(FieldName(text))
    }

    /// The name as text.
    #[inline]
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

impl Name for FieldName<'_> {
    #[inline]
    fn append_to(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
        out.push(0);
    }
}

/// The name of an array's element: its index in decimal.
pub(super) struct ArrayIndex(pub(super) u32);

impl Name for ArrayIndex {
    #[inline]
    fn append_to(self, out: &mut Vec<u8>) {
        // Ten digits and the NUL, filled from the back.
        let mut digits = [0u8; 11];
        let mut first = digits.len() - 1;
        let mut rest = self.0;
        for digit in digits.iter_mut().rev().skip(1) {
            *digit = b'0' + (rest % 10) as u8;
            first -= 1;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        out.extend_from_slice(digits.get(first..).unwrap_or_default());
    }
}
