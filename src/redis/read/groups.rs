//! Reads groups: keys that are written together. The values of a group are of one moment: if any of its
//! keys changes before all are read, the group is read anew, and after three times in one go.

use std::cell::{Cell, RefCell};

use super::batch_reader::BatchReader;
use super::large_value::LargeValue;
use crate::core::backlog::{Acknowledged, Backlog, DueGroup};
use crate::core::delivery::group_batch::GroupBatch;
use crate::redis::api::clock;
use crate::redis::api::context::Ctx;
use crate::redis::pipeline::Pipeline;

/// Delay before a group is tried again of which a key cannot be read or settled now, microseconds.
const AGAIN_US: u64 = 10_000;
/// After so many interrupted reads in a row, a group is read in one go.
const TRIES: u32 = 3;
/// The clock is read once every so many keys of a group.
const CLOCK_KEYS: usize = 16;

/// Fills group batches.
#[derive(Debug, Default)]
pub struct GroupFiller {
    /// Groups that were read and not sent yet: more are added in the next iteration.
    incomplete: RefCell<GroupBatch>,
    /// The group that was read in part into it.
    partial: RefCell<Option<PartialGroup>>,
    /// Number of interrupted reads in a row.
    interrupted: Cell<u32>,
}

/// A group that was read in part.
#[derive(Debug)]
struct PartialGroup {
    due: DueGroup,
    /// The number of members that were read.
    read: usize,
    /// The number of items of each batch before the first of the group.
    lens: Vec<usize>,
}

/// Where keys are read, and until when.
pub struct Reading<'r> {
    /// The pipeline.
    pub pipeline: &'r Pipeline,
    /// The large value that is being read, which no group waits for.
    pub large: &'r LargeValue,
    /// The server's context.
    pub ctx: Ctx<'r>,
    /// The end of the slice, microseconds.
    pub end_us: u64,
}

/// How the reading of a group has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All its keys were read.
    Complete,
    /// The slice has ended.
    Partial,
    /// A key was changed by being read, or cannot be read now.
    Impossible,
}

impl GroupFiller {
    /// Reads groups until the slice ends, and sends full batches, or the last one when no group is left
    /// to be read. False when the slice has ended. Keys that needed no write are added to `clean`.
    pub fn send_due(&self, reading: &Reading<'_>, now_us: u64, clean: &mut Acknowledged) -> bool {
        let pipeline = reading.pipeline;
        loop {
            let mut groups = self.incomplete.take();
            let next = {
                let mut backlog = pipeline.backlog.borrow_mut();
                self.drop_old(&backlog, &mut groups);
                if !backlog.may_send_groups() {
                    self.partial.take();
                    backlog.unsent_groups(groups);
                    return true;
                }
                match self.partial.take() {
                    Some(partial) => self.resume(&mut backlog, &mut groups, partial, now_us),
                    None => backlog.next_group(&groups, now_us).map(|due| PartialGroup {
                        due,
                        read: 0,
                        lens: groups.batches.iter().map(|batch| batch.items.len()).collect(),
                    }),
                }
            };
            let Some(mut partial) = next else {
                if groups.is_empty() || !pipeline.send_groups(groups) {
                    return true;
                }
                continue;
            };
            match self.read(reading, &mut groups, &mut partial, clean) {
                End::Complete => self.interrupted.set(0),
                End::Partial => drop(self.partial.replace(Some(partial))),
                End::Impossible => {
                    let until_us = clock::now_us() + AGAIN_US;
                    let mut backlog = pipeline.backlog.borrow_mut();
                    backlog.give_back(&mut groups, (&partial.due, &partial.lens), until_us);
                }
            }
            pipeline.backlog.borrow_mut().in_flight.hold_groups(&groups);
            self.incomplete.replace(groups);
            if clock::now_us() >= reading.end_us {
                return false;
            }
        }
    }

    /// True if groups were read and can be sent.
    pub fn can_continue(&self, backlog: &Backlog) -> bool {
        let mut incomplete = self.incomplete.borrow_mut();
        self.drop_old(backlog, &mut incomplete);
        let is_empty = incomplete.is_empty() && self.partial.borrow().is_none();
        !is_empty && backlog.may_send_groups()
    }

    /// Drops what was read in an earlier epoch: its keys are dirty again already.
    fn drop_old(&self, backlog: &Backlog, groups: &mut GroupBatch) {
        let mut batches = groups.batches.iter();
        if batches.any(|batch| !backlog.in_flight.is_current(batch)) {
            *groups = GroupBatch::default();
            self.partial.take();
        }
    }

    /// A group that was read in part, if nothing of it has changed since; otherwise it is given back, and
    /// the next one is returned.
    fn resume(
        &self,
        backlog: &mut Backlog,
        groups: &mut GroupBatch,
        partial: PartialGroup,
        now_us: u64,
    ) -> Option<PartialGroup> {
        if backlog.is_as_read(groups, (&partial.due, &partial.lens), now_us) {
            return Some(partial);
        }
        self.interrupted.set(self.interrupted.get() + 1);
        backlog.give_back(groups, (&partial.due, &partial.lens), 0);
        let due = backlog.next_group(groups, now_us)?;
        let lens = groups.batches.iter().map(|batch| batch.items.len()).collect();
        Some(PartialGroup { due, read: 0, lens })
    }

    /// Reads the keys of a group that were not read yet.
    fn read(
        &self,
        reading: &Reading<'_>,
        groups: &mut GroupBatch,
        partial: &mut PartialGroup,
        clean: &mut Acknowledged,
    ) -> End {
        let Reading { pipeline, large, ctx, end_us } = *reading;
        let end_us = if self.interrupted.get() < TRIES { end_us } else { u64::MAX };
        let PartialGroup { due, read, lens } = partial;
        let members = due.members.get(*read..).unwrap_or_default();
        if *read == 0 {
            groups.groups.push(due.sent);
        }
        let number = groups.groups.len() as u32 - 1;
        let most_bytes = pipeline.backlog.borrow().batch_max_bytes();
        let first_bytes = groups.bytes();
        let (mut end, mut is_large) = (End::Complete, false);
        for members in members.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((id, _)) = members.first() else { continue };
            let all_bytes = groups.bytes();
            let batch = pipeline.backlog.borrow_mut().batch_for(groups, *id);
            let Some(batch) = batch else { continue };
            ctx.select(batch.registration.db);
            // What the group has in other batches already.
            let others = all_bytes - batch.bytes.len();
            let mut reader = BatchReader::of_group((pipeline, large), ctx, batch, clean);
            for (_, entry) in members {
                // The borrow ends with the statement: reading calls into the server.
                let taken = pipeline.backlog.borrow_mut().take_member(reader.batch, *entry);
                *read += 1;
                let Some((taken, key)) = taken else { continue };
                if !reader.key(&taken, key) {
                    end = End::Impossible;
                    break;
                }
                is_large = others + reader.batch.bytes.len() - first_bytes > most_bytes;
                if is_large {
                    break;
                }
                if read.is_multiple_of(CLOCK_KEYS) && clock::now_us() >= end_us {
                    end = End::Partial;
                    break;
                }
            }
            if !reader.finish() {
                end = End::Impossible;
            }
            batch.groups.resize(batch.items.len(), number);
            if is_large && end == End::Complete && *read < due.members.len() {
                pipeline.backlog.borrow_mut().split_rest(due, *read);
                *read = due.members.len();
            }
            if is_large || end != End::Complete {
                break;
            }
        }
        let is_whole = *read == due.members.len();
        lens.resize(groups.batches.len(), 0);
        if end == End::Partial && is_whole { End::Complete } else { end }
    }
}
