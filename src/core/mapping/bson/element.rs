//! Elements of BSON documents and arrays: one method for each type of value.

use super::{Array, Document, Name, length};

/// An element whose name is written but not its value; each method writes the value.
#[derive(Debug)]
#[must_use = "an element without a value is not BSON"]
pub struct Element<'w> {
    out: &'w mut Vec<u8>,
    tag_at: usize,
}

impl<'w> Element<'w> {
    #[inline]
    pub(super) fn begin(out: &'w mut Vec<u8>, name: impl Name) -> Self {
        let tag_at = out.len();
        // The type precedes the name, but is known only when the value is written.
        out.push(0);
        name.append_to(out);
        Element { out, tag_at }
    }

    #[inline]
    fn tag(self, tag: u8) -> &'w mut Vec<u8> {
        if let Some(byte) = self.out.get_mut(self.tag_at) {
            *byte = tag;
        }
        self.out
    }

    /// Position of the value in the buffer.
    #[inline]
    pub fn position(&self) -> usize {
        self.out.len()
    }

    /// Position of the element in the buffer.
    #[inline]
    pub fn start(&self) -> usize {
        self.tag_at
    }

    /// Position of the name, for [`name_at`](Self::name_at).
    #[inline]
    pub fn name_position(&self) -> usize {
        self.tag_at + 1
    }

    /// The name of this or an earlier element of the buffer, by its position.
    pub fn name_at(&self, position: usize) -> &[u8] {
        let named = self.out.get(position..).unwrap_or_default();
        named.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// A double.
    #[inline]
    pub fn double(self, value: f64) {
        self.tag(0x01).extend_from_slice(&value.to_le_bytes());
    }

    /// A string, which may contain NUL; less than 2 GiB.
    #[inline]
    pub fn string(self, text: &str) {
        let out = self.tag(0x02);
        out.extend_from_slice(&length(text.len() + 1));
        out.extend_from_slice(text.as_bytes());
        out.push(0);
    }

    /// A nested document.
    #[inline]
    pub fn document(self) -> Document<'w> {
        Document::begin(self.tag(0x03))
    }

    /// An array.
    #[inline]
    pub fn array(self) -> Array<'w> {
        let Document { out, start } = Document::begin(self.tag(0x04));
        Array { out, start, next: 0 }
    }

    /// Binary of subtype 0 (generic); less than 2 GiB.
    #[inline]
    pub fn binary(self, bytes: &[u8]) {
        self.binary_of(0x00, bytes);
    }

    /// Binary of subtype 4 (UUID).
    #[inline]
    pub fn uuid(self, bytes: [u8; 16]) {
        self.binary_of(0x04, &bytes);
    }

    #[inline]
    fn binary_of(self, subtype: u8, bytes: &[u8]) {
        let out = self.tag(0x05);
        out.extend_from_slice(&length(bytes.len()));
        out.push(subtype);
        out.extend_from_slice(bytes);
    }

    /// An ObjectId.
    #[inline]
    pub fn object_id(self, bytes: [u8; 12]) {
        self.tag(0x07).extend_from_slice(&bytes);
    }

    /// A boolean.
    #[inline]
    pub fn bool(self, value: bool) {
        self.tag(0x08).push(u8::from(value));
    }

    /// A date, in milliseconds since 1970 UTC.
    #[inline]
    pub fn date_ms(self, unix_ms: i64) {
        self.tag(0x09).extend_from_slice(&unix_ms.to_le_bytes());
    }

    /// Null.
    #[inline]
    pub fn null(self) {
        self.tag(0x0a);
    }

    /// A 32-bit integer.
    #[inline]
    pub fn int32(self, value: i32) {
        self.tag(0x10).extend_from_slice(&value.to_le_bytes());
    }

    /// A 64-bit integer.
    #[inline]
    pub fn int64(self, value: i64) {
        self.tag(0x12).extend_from_slice(&value.to_le_bytes());
    }

    /// A Decimal128 in the encoding of BSON (little endian).
    #[inline]
    pub fn decimal128(self, bytes: [u8; 16]) {
        self.tag(0x13).extend_from_slice(&bytes);
    }

    /// A nested document that is already BSON; it is not validated.
    #[inline]
    pub fn raw_document(self, bson: &[u8]) {
        self.tag(0x03).extend_from_slice(bson);
    }
}
