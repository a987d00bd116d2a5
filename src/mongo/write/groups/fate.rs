//! What became of the items of a group, and the result of a batch from it.

use super::Part;
use crate::core::delivery::batch::{Held, Refusal, Written};

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing yet.
    Open,
    /// It was written.
    Written,
    /// It becomes a dead letter with this code and reason.
    Refused(i32, String),
    /// It must be written apart from its group.
    Apart,
    /// It waits with its whole group.
    Held,
    /// Its namespace refuses writes.
    Returned,
}

impl Part<'_> {
    /// The items that must be written apart from their groups.
    pub fn apart(&self) -> Vec<u32> {
        let items = (0..).zip(&self.fates);
        items.filter(|(_, fate)| **fate == Fate::Apart).map(|(index, _)| index).collect()
    }

    /// The result of the batch; the items that are written apart count as written.
    pub fn written(&self, held_because: &str) -> Written {
        let mut written = Written { sent_bytes: self.sent_bytes, ..Written::default() };
        let mut held = Vec::new();
        for (index, fate) in self.fates.iter().enumerate() {
            match fate {
                Fate::Written | Fate::Apart => {}
                Fate::Refused(code, reason) => {
                    let reason = reason.clone();
                    written.refused.push(Refusal { index, code: *code, reason });
                }
                Fate::Open | Fate::Held => held.push(index),
                Fate::Returned => written.returned.push(index),
            }
        }
        if !held.is_empty() {
            let because = held_because.to_owned();
            written.held = Some(Box::new(Held { items: held, because }));
        }
        if !written.returned.is_empty() {
            written.error.clone_from(&self.refused_because);
        }
        written
    }
}
