//! Lists, sets, sorted sets and streams: each becomes one array.

use std::fmt::Write;

use super::fields::Writer;
use crate::core::mapping::bson::Array;
use crate::core::mapping::duplicate_names::Kept;
use crate::core::mapping::error::MappingError;
use crate::core::mapping::rules::VALUE;
use crate::core::mapping::value::Strings;
use crate::core::registration::schema::FieldType;

/// The level of a document in the array; the top-level document is level 1.
const IN_ARRAY: u32 = 3;

impl Writer<'_> {
    /// Writes the items in their order.
    pub(super) fn list(
        &mut self,
        array: Array<'_>,
        to: Option<FieldType>,
        value: &[u8],
    ) -> Result<Kept, MappingError> {
        let mut strings = Strings::new(value);
        let kept = self.items(array, to, &mut strings)?;
        // After an item that omits the field, the rest is not read.
        if strings.is_empty() || kept == Kept::LeftOut {
            Ok(kept)
        } else {
            Err(MappingError::Truncated)
        }
    }

    /// Writes the members in the order of their bytes.
    pub(super) fn set(
        &mut self,
        array: Array<'_>,
        to: Option<FieldType>,
        value: &[u8],
    ) -> Result<Kept, MappingError> {
        let mut strings = Strings::new(value);
        let mut members: Vec<&[u8]> = strings.by_ref().collect();
        if !strings.is_empty() {
            return Err(MappingError::Truncated);
        }
        members.sort_unstable();
        members.dedup();
        self.items(array, to, &mut members.into_iter())
    }

    /// Writes the items. With ONERROR SKIP, an item that cannot be converted omits the whole field:
    /// an array without the item would be a different value.
    fn items(
        &mut self,
        mut array: Array<'_>,
        to: Option<FieldType>,
        items: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<Kept, MappingError> {
        let mut kept = Kept::Whole;
        for item in items {
            self.check(array.position())?;
            // Items have no names, so the error names the field.
            kept = self.string(array.push(), IN_ARRAY - 1, to, item).map_err(|why| match why {
                MappingError::Mismatch(_, to) => MappingError::Mismatch(VALUE.to_owned(), to),
                why => why,
            })?;
            if kept == Kept::LeftOut {
                break;
            }
        }
        array.end();
        Ok(kept)
    }

    /// Writes `{member, score}`, ordered as Redis orders them: by score, then by the bytes of the
    /// member.
    pub(super) fn zset(
        &mut self,
        mut array: Array<'_>,
        value: &[u8],
    ) -> Result<Kept, MappingError> {
        let mut strings = Strings::new(value);
        let mut members = Vec::new();
        while let Some(member) = strings.next() {
            let score = strings.array().map(f64::from_le_bytes).ok_or(MappingError::Truncated)?;
            members.push((score, member));
        }
        if !strings.is_empty() {
            return Err(MappingError::Truncated);
        }
        // Redis stores no NaN scores, and treats -0 and 0 as equal.
        members.sort_unstable_by(|a, b| {
            (a.0 + 0.0).total_cmp(&(b.0 + 0.0)).then_with(|| a.1.cmp(b.1))
        });
        members.dedup_by(|a, b| a.1 == b.1);
        for (score, member) in members {
            self.check(array.position())?;
            let mut document = array.push().document();
            self.plain(document.element(c"member"), member)?;
            document.element(c"score").double(score);
            document.end();
        }
        array.end();
        Ok(Kept::Whole)
    }

    /// Writes `{id, fields}` in the order of the IDs, which is that of the value.
    pub(super) fn stream(
        &mut self,
        mut array: Array<'_>,
        value: &[u8],
    ) -> Result<Kept, MappingError> {
        let mut strings = Strings::new(value);
        let mut id = String::new();
        while !strings.is_empty() {
            let ms = strings.array().map(u64::from_le_bytes).ok_or(MappingError::Truncated)?;
            let seq = strings.array().map(u64::from_le_bytes).ok_or(MappingError::Truncated)?;
            let count = strings.array().map(u32::from_le_bytes).ok_or(MappingError::Truncated)?;
            self.check(array.position())?;
            let mut document = array.push().document();
            id.clear();
            // Writing into a string does not fail.
            let _ = write!(id, "{ms}-{seq}");
            document.element(c"id").string(&id);
            let mut fields = document.element(c"fields").document();
            self.entry(&mut fields, IN_ARRAY + 1, count, &mut strings)?;
            fields.end();
            document.end();
        }
        array.end();
        Ok(Kept::Whole)
    }
}
