//! Released keys are sent together, because two of them may need each other's value.

use super::{Parked, Tried};
use crate::core::backlog::Backlog;
use crate::core::backlog::table::Taken;
use crate::core::delivery::batch::Batch;
use crate::core::mapping::value::Span;

/// Maximum number of keys sent together, independent of `batch-max-keys`: in different batches, keys
/// could not exchange their values.
const TOGETHER_KEYS: usize = 10_000;
/// Maximum bytes sent together, unless `batch-max-bytes` allows more.
const TOGETHER_BYTES: usize = 8 << 20;
/// Maximum number of remembered attempts. At this number all are dropped, because keys that left the
/// dirty table in another way are not removed one by one.
const MOST_TRIED: usize = 1 << 17;

impl Backlog {
    /// Takes the next released key that is sent together with others.
    pub(in crate::core::backlog) fn take_released(
        &mut self,
        batch: &mut Batch,
    ) -> Option<(Taken, Span)> {
        let most_bytes = usize::try_from(self.settings.batch_max_bytes).unwrap_or(0);
        let full = batch.items.len() >= TOGETHER_KEYS
            || (!batch.items.is_empty() && batch.bytes.len() >= most_bytes.max(TOGETHER_BYTES));
        if full {
            return None;
        }
        let last = self.contested.contests.get(&batch.registration.namespace);
        let last = last.map_or(0, |contest| contest.wait);
        let start = batch.bytes.len();
        loop {
            let released = self.contested.together.get_mut(&batch.registration_id)?;
            let Some(parked) = released.pop_front() else {
                self.contested.together.remove(&batch.registration_id);
                self.dirty.reschedule(batch.registration_id);
                return None;
            };
            let is_last = released.is_empty();
            if is_last {
                self.contested.together.remove(&batch.registration_id);
                self.dirty.reschedule(batch.registration_id);
            }
            let Parked { entry, since_us, wait, attempts, letter } = parked;
            let copy = |key: &[u8]| batch.bytes.extend_from_slice(key);
            let Some(taken) = self.dirty.take_again(entry, batch.registration_id, since_us, copy)
            else {
                if is_last {
                    return None;
                }
                continue;
            };
            if self.contested.tried.len() >= MOST_TRIED {
                self.contested.tried.clear();
            }
            let tried = Tried { version: taken.version, waited: wait <= last, attempts, letter };
            self.contested.tried.insert(entry, tried);
            return Some((taken, Span { start, end: batch.bytes.len() }));
        }
    }
}
