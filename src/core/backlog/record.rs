//! Encoding of the module's state for the RDB: records in blocks, so that neither saving nor loading
//! needs a second copy of the whole state in memory.

use super::change_log::ChangeKind;
use super::dead_letters::DeadLetter;
use super::lease::Shard;
use super::revisions::{Revised, Stamp};
use super::table::{Missed, RetainedValue};
use crate::core::cluster::agreed::{Mark, Revision};
use crate::core::delivery::batch::SessionId;
use crate::core::ids::{Db, GroupId, RegistrationId};
use crate::core::mapping::value::{Content, Strings, push_bytes};
use crate::core::registration::Registration;
use crate::core::registration::args;
use crate::core::registration::args::load::LoadOptions;
use crate::core::registration::shared_collections::Stamps;

/// Version of the encoding; incremented when older versions of the module cannot read it.
pub const VERSION: u64 = 2;

/// A block is written when it has at least this many bytes.
const BLOCK_BYTES: usize = 64 * 1024;

/// A saved record.
#[derive(Clone, Debug, PartialEq)]
pub enum Record<'a> {
    /// All registrations are paused.
    Paused,
    /// The sessions in which batches are sent.
    Sessions(Vec<SessionId>),
    /// The shard.
    Lease(Shard),
    /// A registration.
    Registration {
        /// The id by which other records refer to it.
        registration_id: RegistrationId,
        /// False if it was unregistered and is draining.
        live: bool,
        /// True if it was unregistered with DISCARD, so that returned keys are dropped.
        discards: bool,
        /// True if existing keys are still to be marked as dirty.
        sync_pending: bool,
        /// True if it is paused.
        paused: bool,
        /// Changes that were missed while the dirty table was full.
        missed: Missed,
        /// Its options.
        registration: Registration,
    },
    /// The revision of a prefix in a cluster, or of the pause of all.
    Revision(Revised, Stamp),
    /// A load that has not ended.
    Load {
        /// The id of its registration.
        registration_id: RegistrationId,
        /// Number of documents that were read.
        documents: u64,
        /// The last document that was stored, as in
        /// `LoadRequest::after`.
        after: Vec<u8>,
        /// Its options.
        options: LoadOptions,
    },
    /// How often the keys of a registration are compared with their documents.
    Verify {
        /// The id of the registration.
        registration_id: RegistrationId,
        /// Seconds between the beginnings of two rounds.
        every_s: u64,
    },
    /// With which registrations this one shares its collection.
    Sharing {
        /// The id of the registration.
        registration_id: RegistrationId,
        /// When it joined the collection, and when it was registered with SHARED.
        stamps: Stamps,
    },
    /// A dirty key, and the number of its group, which all keys of the group have.
    Key(SavedKey<'a>, Option<GroupId>),
    /// A dead letter.
    Dead {
        /// Logical database.
        db: Db,
        /// The key.
        key: &'a [u8],
        /// The dead letter, with its registration.
        letter: DeadLetter,
    },
}

/// A dirty key as it is saved.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedKey<'a> {
    /// The id of its registration.
    pub registration_id: RegistrationId,
    /// Logical database.
    pub db: Db,
    /// The last kind of change.
    pub kind: ChangeKind,
    /// Since when it is dirty, microseconds.
    pub since_us: u64,
    /// The key.
    pub key: &'a [u8],
    /// Its retained value, if there is one.
    pub retained: Option<RetainedValue>,
}

/// Packs records into blocks.
#[derive(Debug)]
pub struct Packer<W: FnMut(&[u8])> {
    block: Vec<u8>,
    write: W,
}

impl<W: FnMut(&[u8])> Packer<W> {
    /// Passes every full block to `write`.
    pub fn new(write: W) -> Self {
        Packer { block: Vec::with_capacity(2 * BLOCK_BYTES), write }
    }

    /// Adds a record.
    pub fn push(&mut self, record: &Record<'_>) {
        let mut bytes = Vec::new();
        encode(record, &mut bytes);
        push_bytes(&mut self.block, &bytes);
        if self.block.len() >= BLOCK_BYTES {
            self.end();
        }
    }

    /// Writes the last block.
    pub fn end(&mut self) {
        if !self.block.is_empty() {
            (self.write)(&self.block);
            self.block.clear();
        }
    }
}

/// Reads every record of a block.
///
/// # Errors
/// One sentence if the block is corrupt or was written by a newer version.
pub fn unpack<'a>(block: &'a [u8], mut each: impl FnMut(Record<'a>)) -> Result<(), String> {
    for bytes in Strings::new(block) {
        each(decode(bytes).ok_or("a record is damaged or of a newer version of writebehind")?);
    }
    Ok(())
}

const REGISTRATION: u8 = 1;
const KEY: u8 = 2;
const DEAD: u8 = 3;
const PAUSED: u8 = 4;
const LANES: u8 = 5;
const SHARING: u8 = 6;
/// From version 2 on.
const GROUPED_KEY: u8 = 7;
/// From version 2 on.
const LEASE: u8 = 8;
/// From version 2 on.
const REVISION: u8 = 9;
/// From version 2 on.
const LOAD: u8 = 10;
/// From version 2 on.
const VERIFY: u8 = 11;

fn encode(record: &Record<'_>, out: &mut Vec<u8>) {
    match record {
        Record::Paused => out.push(PAUSED),
        Record::Sessions(sessions) => {
            out.push(LANES);
            out.extend(sessions.as_flattened());
        }
        Record::Lease(shard) => {
            out.push(LEASE);
            out.extend_from_slice(&shard.id);
            out.extend_from_slice(&shard.epoch.to_le_bytes());
            out.extend_from_slice(&shard.holder);
            out.extend_from_slice(shard.namespace.to_string().as_bytes());
        }
        Record::Revision(of, Stamp { revision, mark }) => {
            out.push(REVISION);
            out.push(*mark as u8);
            out.extend_from_slice(&revision.number.to_le_bytes());
            out.extend_from_slice(&revision.node);
            if let Some((db, prefix)) = of {
                out.extend_from_slice(&db.0.to_le_bytes());
                push_bytes(out, prefix);
            }
        }
        Record::Registration {
            registration_id: id,
            live,
            discards,
            sync_pending,
            paused,
            missed,
            registration,
        } => {
            out.push(REGISTRATION);
            out.extend_from_slice(&id.0.to_le_bytes());
            out.extend([*live, *discards, *sync_pending, *paused].map(u8::from));
            for us in [missed.since_us, missed.scanned_us] {
                // 0, for none, is a time in 1970.
                out.extend_from_slice(&us.unwrap_or(0).to_le_bytes());
            }
            out.extend_from_slice(&registration.db.0.to_le_bytes());
            for word in args::words(registration) {
                push_bytes(out, &word);
            }
        }
        Record::Load { registration_id: id, documents, after, options } => {
            out.push(LOAD);
            out.extend_from_slice(&id.0.to_le_bytes());
            out.extend_from_slice(&documents.to_le_bytes());
            push_bytes(out, after);
            args::load::words(options).iter().for_each(|word| push_bytes(out, word));
        }
        Record::Verify { registration_id: id, every_s } => {
            out.push(VERIFY);
            out.extend_from_slice(&id.0.to_le_bytes());
            out.extend_from_slice(&every_s.to_le_bytes());
        }
        Record::Sharing { registration_id: id, stamps } => {
            out.push(SHARING);
            out.extend_from_slice(&id.0.to_le_bytes());
            out.extend_from_slice(&stamps.joined.to_le_bytes());
            out.extend_from_slice(&stamps.shared.to_le_bytes());
        }
        Record::Key(saved, group) => {
            out.push(if group.is_some() { GROUPED_KEY } else { KEY });
            if let Some(group) = group {
                out.extend_from_slice(&group.0.to_le_bytes());
            }
            out.extend_from_slice(&saved.registration_id.0.to_le_bytes());
            out.extend_from_slice(&saved.db.0.to_le_bytes());
            out.push(saved.kind as u8);
            out.extend_from_slice(&saved.since_us.to_le_bytes());
            push_bytes(out, saved.key);
            push_retained(saved.retained.as_ref(), out);
        }
        Record::Dead { db, key, letter } => {
            out.push(DEAD);
            out.extend_from_slice(&letter.registration_id.0.to_le_bytes());
            out.extend_from_slice(&db.0.to_le_bytes());
            out.extend_from_slice(&letter.code.to_le_bytes());
            out.extend_from_slice(&letter.attempts.to_le_bytes());
            out.extend_from_slice(&letter.unix_ms.to_le_bytes());
            push_bytes(out, key);
            push_bytes(out, letter.reason.as_bytes());
            out.push(letter.kind as u8);
            push_retained(letter.retained.as_ref(), out);
        }
    }
}

/// Encodes a retained value, if there is one: it is the last part of its record.
fn push_retained(retained: Option<&RetainedValue>, out: &mut Vec<u8>) {
    if let Some(retained) = retained {
        out.push(retained.content as u8);
        out.extend_from_slice(&retained.expire_ms.to_le_bytes());
        out.extend_from_slice(&retained.bytes);
    }
}

/// The unread bytes of a record.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let mut strings = Strings::new(self.0);
        let string = strings.next()?;
        self.0 = self.0.get(4 + string.len()..)?;
        Some(string)
    }

    /// The inverse of [`push_retained`].
    fn retained(mut self) -> Option<RetainedValue> {
        let content = Content::from_u8(self.byte()?)?;
        let expire_ms = self.array().map(i64::from_le_bytes)?;
        Some(RetainedValue { content, expire_ms, bytes: self.0.into() })
    }
}

fn decode(record: &[u8]) -> Option<Record<'_>> {
    let mut bytes = Bytes(record);
    match bytes.byte()? {
        REGISTRATION => {
            let id = RegistrationId(bytes.u16()?);
            let [live, discards, sync_pending, paused] = bytes.array()?.map(|byte: u8| byte != 0);
            let mut us = || {
                let us = bytes.array().map(u64::from_le_bytes)?;
                Some((us != 0).then_some(us))
            };
            let missed = Missed { since_us: us()?, scanned_us: us()? };
            let db = Db(bytes.u16()?);
            let words: Vec<&[u8]> = Strings::new(bytes.0).collect();
            let (registration, _) = args::registered(db, &words).ok()?;
            Some(Record::Registration {
                registration_id: id,
                live,
                discards,
                sync_pending,
                paused,
                missed,
                registration,
            })
        }
        REVISION => {
            let mark = Mark::of_u8(bytes.byte()?)?;
            let number = bytes.array().map(u64::from_le_bytes)?;
            let revision = Revision { number, node: bytes.array()? };
            let of = match bytes.0.is_empty() {
                true => None,
                false => Some((Db(bytes.u16()?), bytes.string()?.to_vec())),
            };
            Some(Record::Revision(of, Stamp { revision, mark }))
        }
        LOAD => {
            let id = RegistrationId(bytes.u16()?);
            let documents = bytes.array().map(u64::from_le_bytes)?;
            let after = bytes.string()?.to_vec();
            let words: Vec<&[u8]> = Strings::new(bytes.0).collect();
            let options = args::load::parse(&words).ok()?;
            Some(Record::Load { registration_id: id, documents, after, options })
        }
        VERIFY => {
            let id = RegistrationId(bytes.u16()?);
            let every_s = bytes.array().map(u64::from_le_bytes)?;
            Some(Record::Verify { registration_id: id, every_s })
        }
        SHARING => {
            let id = RegistrationId(bytes.u16()?);
            let mut stamp = || bytes.array().map(u64::from_le_bytes);
            let stamps = Stamps { joined: stamp()?, shared: stamp()? };
            Some(Record::Sharing { registration_id: id, stamps })
        }
        tag @ (KEY | GROUPED_KEY) => {
            let group = match tag {
                GROUPED_KEY => Some(GroupId(bytes.array().map(u32::from_le_bytes)?)),
                _ => None,
            };
            let (id, db) = (RegistrationId(bytes.u16()?), Db(bytes.u16()?));
            let kind = ChangeKind::from_u8(bytes.byte()?)?;
            let since_us = bytes.array().map(u64::from_le_bytes)?;
            let key = bytes.string()?;
            let retained = match kind {
                ChangeKind::Retained => Some(bytes.retained()?),
                _ => None,
            };
            let saved = SavedKey { registration_id: id, db, kind, since_us, key, retained };
            Some(Record::Key(saved, group))
        }
        DEAD => {
            let (id, db) = (RegistrationId(bytes.u16()?), Db(bytes.u16()?));
            let code = bytes.array().map(i32::from_le_bytes)?;
            let attempts = bytes.array().map(u32::from_le_bytes)?;
            let unix_ms = bytes.array().map(u64::from_le_bytes)?;
            let key = bytes.string()?;
            let reason = String::from_utf8_lossy(bytes.string()?).into_owned();
            let kind = ChangeKind::from_u8(bytes.byte()?)?;
            // No value while a retry is in progress.
            let retained = if bytes.0.is_empty() { None } else { Some(bytes.retained()?) };
            let letter =
                DeadLetter { registration_id: id, code, reason, attempts, unix_ms, kind, retained };
            Some(Record::Dead { db, key, letter })
        }
        PAUSED => Some(Record::Paused),
        LEASE => Some(Record::Lease(Shard {
            id: bytes.array()?,
            epoch: bytes.array().map(u64::from_le_bytes)?,
            holder: bytes.array()?,
            namespace: args::parse_namespace(bytes.0).ok()?,
        })),
        LANES => Some(Record::Sessions(bytes.0.as_chunks().0.to_vec())),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
