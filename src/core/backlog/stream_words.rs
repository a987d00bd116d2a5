//! The internal commands that the master propagates to replicas and the AOF, and their arguments.

use std::ffi::CStr;
use std::str::FromStr;

use crate::core::backlog::change_log::ChangeKind;
use crate::core::backlog::dead_letter_ops::Refused;
use crate::core::backlog::dead_letters::DeadLetter;
use crate::core::backlog::lease::Shard;
use crate::core::backlog::revisions::Stamp;
use crate::core::cluster::NodeId;
use crate::core::cluster::agreed::{Mark, Revision};
use crate::core::delivery::batch::SessionId;
use crate::core::ids::RegistrationId;
use crate::core::mapping::value::Content;
use crate::core::registration::args;

/// An internal command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// `WB._ACK key ...`
    Ack,
    /// `WB._DEAD key prefix code attempts unix-ms clean|dirty reason`
    Dead,
    /// `WB._GONE expired|evicted key`
    Gone,
    /// `WB._LEFT key`
    Left,
    /// `WB._LANES ids`
    Sessions,
    /// `WB._LEASE shard-id epoch holder-id database.collection`
    Lease,
    /// `WB._REVISION number node mark [prefix]`
    Revision,
    /// `WB._LOADED (content expire-ms key value) ...`
    Loaded,
    /// `WB._LOADING prefix documents after`
    Loading,
    /// `WB._SCAN prefix`
    Scan,
    /// `WB._MARK prefix key ...`
    Mark,
    /// `WB._SYNCED prefix`
    Synced,
}

impl Word {
    /// The name of the command.
    pub const fn name(self) -> &'static CStr {
        match self {
            Word::Ack => c"WB._ACK",
            Word::Dead => c"WB._DEAD",
            Word::Gone => c"WB._GONE",
            Word::Left => c"WB._LEFT",
            Word::Sessions => c"WB._LANES",
            Word::Lease => c"WB._LEASE",
            Word::Revision => c"WB._REVISION",
            Word::Loaded => c"WB._LOADED",
            Word::Loading => c"WB._LOADING",
            Word::Scan => c"WB._SCAN",
            Word::Mark => c"WB._MARK",
            Word::Synced => c"WB._SYNCED",
        }
    }
}

/// The arguments of `WB._DEAD`.
pub fn dead(refused: &Refused) -> [Vec<u8>; 7] {
    let Refused { key, prefix, letter, again, .. } = refused;
    [
        key.clone(),
        prefix.clone(),
        letter.code.to_string().into_bytes(),
        letter.attempts.to_string().into_bytes(),
        letter.unix_ms.to_string().into_bytes(),
        if *again { b"dirty".to_vec() } else { b"clean".to_vec() },
        letter.reason.clone().into_bytes(),
    ]
}

/// The arguments of `WB._LEASE`.
pub fn lease(shard: &Shard) -> [Vec<u8>; 4] {
    let Shard { id, epoch, holder, namespace } = shard;
    let (epoch, namespace) = (epoch.to_string(), namespace.to_string());
    [id.to_vec(), epoch.into_bytes(), holder.to_vec(), namespace.into_bytes()]
}

/// The arguments of `WB._REVISION`; the pause of all has no prefix.
pub fn revision(stamp: &Stamp, prefix: Option<&[u8]>) -> Vec<Vec<u8>> {
    let Stamp { revision: Revision { number, node }, mark } = stamp;
    let mut words = vec![number.to_string().into_bytes(), node.to_vec(), mark.word().to_vec()];
    words.extend(prefix.map(<[u8]>::to_vec));
    words
}

/// The first argument of `WB._GONE`.
pub fn removal(kind: ChangeKind) -> &'static [u8] {
    if kind == ChangeKind::Evicted { b"evicted" } else { b"expired" }
}

/// A parsed internal command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamCommand<'a> {
    /// MongoDB has these keys in their latest state.
    Clean(&'a [&'a [u8]]),
    /// A change of the key became a dead letter.
    Dead {
        /// The key.
        key: &'a [u8],
        /// Prefix of its registration.
        prefix: &'a [u8],
        /// The dead letter.
        letter: DeadLetter,
        /// True if the key has changed again, and so is still dirty.
        again: bool,
    },
    /// The following DEL is an expiration or eviction.
    Gone {
        /// Expired or evicted.
        kind: ChangeKind,
        /// The key.
        key: &'a [u8],
    },
    /// The following DEL is a move to another node of the cluster.
    Left(&'a [u8]),
    /// The sessions of the master.
    Sessions(Vec<SessionId>),
    /// The shard, and the epoch of the master's lease.
    Lease(Shard),
    /// The revision of a prefix, or of the pause of all.
    Revision(Option<&'a [u8]>, Stamp),
    /// Values that were loaded from MongoDB.
    Loaded(Vec<LoadedValue<'a>>),
    /// A load has stored the documents up to `after`, or all of them if that is empty.
    Loading {
        /// The prefix.
        prefix: &'a [u8],
        /// Number of documents that were read.
        documents: u64,
        /// As in `LoadRequest::after`.
        after: &'a [u8],
    },
    /// A scan begins, which marks the existing keys of the prefix.
    Scan(&'a [u8]),
    /// These keys of the prefix become dirty without a change.
    Mark {
        /// The prefix.
        prefix: &'a [u8],
        /// The keys.
        keys: &'a [&'a [u8]],
    },
    /// The scan has ended: all existing keys of the prefix are marked.
    Synced(&'a [u8]),
}

/// A value that was loaded from MongoDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadedValue<'a> {
    /// The key.
    pub key: &'a [u8],
    /// What kind of value it is.
    pub content: Content,
    /// When it expires, milliseconds since 1970, or
    /// [`NO_EXPIRY`](crate::core::mapping::value::NO_EXPIRY).
    pub expire_ms: i64,
    /// The value, encoded as described at [`Content`].
    pub value: &'a [u8],
}

/// The arguments of `WB._LOADED` for one value.
pub fn loaded(content: Content, expire_ms: i64) -> [Vec<u8>; 2] {
    [(content as u8).to_string().into_bytes(), expire_ms.to_string().into_bytes()]
}

/// Values of kinds that this version does not know are left out.
fn loaded_values<'a>(words: &[&'a [u8]]) -> Vec<LoadedValue<'a>> {
    let value = |of: &[&'a [u8]]| {
        let [content, expire_ms, key, value] = of else { return None };
        let content = Content::from_u8(number(content))?;
        Some(LoadedValue { key, content, expire_ms: number(expire_ms), value })
    };
    words.chunks(4).filter_map(value).collect()
}

/// Parses the arguments of `word`; `None` if their number is wrong. An invalid number is read as 0: a
/// command of another version of the module must not break replication.
pub fn read<'a>(word: Word, arguments: &'a [&'a [u8]]) -> Option<StreamCommand<'a>> {
    Some(match (word, arguments) {
        (Word::Ack, keys) => StreamCommand::Clean(keys),
        (Word::Dead, [key, prefix, code, attempts, unix_ms, state, reason]) => {
            let letter = DeadLetter {
                registration_id: RegistrationId(0),
                code: number(code),
                reason: String::from_utf8_lossy(reason).into_owned(),
                attempts: number(attempts),
                unix_ms: number(unix_ms),
                kind: ChangeKind::Changed,
                retained: None,
            };
            StreamCommand::Dead { key, prefix, letter, again: *state == b"dirty" }
        }
        (Word::Gone, [cause, key]) => {
            let kind = if *cause == b"evicted" { ChangeKind::Evicted } else { ChangeKind::Expired };
            StreamCommand::Gone { kind, key }
        }
        (Word::Left, [key]) => StreamCommand::Left(key),
        (Word::Lease, [id, epoch, holder, namespace]) => StreamCommand::Lease(Shard {
            id: <[u8; 16]>::try_from(*id).ok()?,
            epoch: number(epoch),
            holder: <[u8; 16]>::try_from(*holder).ok()?,
            namespace: args::parse_namespace(namespace).ok()?,
        }),
        (Word::Sessions, [ids]) => StreamCommand::Sessions(ids.as_chunks().0.to_vec()),
        (Word::Revision, [number_of, node, mark, prefix @ ..]) => {
            let revision =
                Revision { number: number(number_of), node: NodeId::try_from(*node).ok()? };
            let mark = Mark::of_word(mark)?;
            StreamCommand::Revision(prefix.first().copied(), Stamp { revision, mark })
        }
        (Word::Loaded, values) => StreamCommand::Loaded(loaded_values(values)),
        (Word::Loading, [prefix, documents, after]) => {
            StreamCommand::Loading { prefix, documents: number(documents), after }
        }
        (Word::Scan, [prefix, ..]) => StreamCommand::Scan(prefix),
        (Word::Mark, [prefix, keys @ ..]) => StreamCommand::Mark { prefix, keys },
        (Word::Synced, [prefix, ..]) => StreamCommand::Synced(prefix),
        _ => return None,
    })
}

fn number<T: FromStr + Default>(word: &[u8]) -> T {
    std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::backlog::Backlog;
    use crate::core::ids::Db;
    use crate::core::now::Now;
    use crate::core::registration::{Namespace, Registration};

    const WORDS: [Word; 12] = [
        Word::Loaded,
        Word::Loading,
        Word::Revision,
        Word::Left,
        Word::Ack,
        Word::Dead,
        Word::Gone,
        Word::Sessions,
        Word::Lease,
        Word::Scan,
        Word::Mark,
        Word::Synced,
    ];

    #[test]
    fn a_dead_letter_is_parsed_as_it_was_formatted() {
        let words: [&[u8]; 7] = [b"k:1", b"k:", b"121", b"3", b"99", b"dirty", b"schema"];
        let Some(StreamCommand::Dead { key, prefix, letter, again }) = read(Word::Dead, &words)
        else {
            panic!("seven arguments are a dead letter");
        };
        assert_eq!((key, prefix, again), (&b"k:1"[..], &b"k:"[..], true));
        assert_eq!((letter.code, letter.attempts, letter.unix_ms), (121, 3, 99));
        assert_eq!(read(Word::Dead, &words[..6]), None);
        let words: [&[u8]; 7] = [b"k:1", b"k:", b"x", b"-1", b"\xff", b"", b"\xff"];
        let command = read(Word::Dead, &words);
        assert!(
            matches!(command, Some(StreamCommand::Dead { letter, .. }) if letter.attempts == 0)
        );
    }

    #[test]
    fn every_command_is_parsed_as_it_was_formatted() {
        let letter = DeadLetter {
            registration_id: RegistrationId(0),
            code: 121,
            reason: "why".to_owned(),
            attempts: 3,
            unix_ms: 99,
            kind: ChangeKind::Changed,
            retained: None,
        };
        for again in [false, true] {
            let (key, prefix) = (b"k:\xff".to_vec(), b"k:".to_vec());
            let refused = Refused { db: Db(0), key, prefix, letter: letter.clone(), again };
            let words = dead(&refused);
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let (key, prefix, letter) = (words[0], words[1], letter.clone());
            assert_eq!(
                read(Word::Dead, &words),
                Some(StreamCommand::Dead { key, prefix, letter, again })
            );
        }
        for kind in [ChangeKind::Expired, ChangeKind::Evicted] {
            let words = [removal(kind), b"k:1"];
            assert_eq!(read(Word::Gone, &words), Some(StreamCommand::Gone { kind, key: b"k:1" }));
        }
        let sessions = vec![[7; 16], [8; 16]];
        assert_eq!(
            read(Word::Sessions, &[sessions.as_flattened()]),
            Some(StreamCommand::Sessions(sessions.clone()))
        );
        let namespace = Namespace { database: "d".to_owned(), collection: "c.leases".to_owned() };
        let shard = Shard { id: [0xff; 16], epoch: 9, holder: [1; 16], namespace };
        let words = lease(&shard);
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        assert_eq!(read(Word::Lease, &words), Some(StreamCommand::Lease(shard)));
        let revision = Revision { number: 9, node: [b'f'; 40] };
        let stamp = Stamp { revision, mark: Mark::Synced };
        for prefix in [None, Some(&b"k:"[..])] {
            let words = super::revision(&stamp, prefix);
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let expected = StreamCommand::Revision(prefix, stamp);
            assert_eq!(read(Word::Revision, &words), Some(expected));
        }
        assert_eq!(read(Word::Left, &[b"k:1"]), Some(StreamCommand::Left(b"k:1")));
        let [content, expire_ms] = loaded(Content::List, -1);
        let words: [&[u8]; 6] = [&content, &expire_ms, b"k:1", b"v", b"99", b"0"];
        let value = LoadedValue { key: b"k:1", content: Content::List, expire_ms: -1, value: b"v" };
        assert_eq!(read(Word::Loaded, &words), Some(StreamCommand::Loaded(vec![value])));
        let command = StreamCommand::Loading { prefix: b"k:", documents: 7, after: b"x" };
        assert_eq!(read(Word::Loading, &[b"k:", b"7", b"x"]), Some(command));
        let keys: [&[u8]; 2] = [b"k:1", b"k:2"];
        assert_eq!(read(Word::Ack, &keys), Some(StreamCommand::Clean(&keys)));
        assert_eq!(read(Word::Scan, &[b"k:"]), Some(StreamCommand::Scan(b"k:")));
        assert_eq!(read(Word::Synced, &[b"k:"]), Some(StreamCommand::Synced(b"k:")));
        let words: [&[u8]; 3] = [b"k:", b"k:1", b"k:2"];
        let command = StreamCommand::Mark { prefix: b"k:", keys: &keys };
        assert_eq!(read(Word::Mark, &words), Some(command));
    }

    fn likely() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            "k:[0-3]".prop_map(String::into_bytes),
            Just(b"k:".to_vec()),
            any::<i64>().prop_map(|number| number.to_string().into_bytes()),
            prop::sample::select(vec![&b"clean"[..], b"dirty", b"expired", b"evicted"])
                .prop_map(<[u8]>::to_vec),
            prop::collection::vec(any::<u8>(), 0..40),
        ]
    }

    proptest! {
        #[test]
        fn any_command_stream_is_applied_without_a_panic(
            stream in prop::collection::vec(
                (prop::sample::select(&WORDS[..]), 0u16..3, prop::collection::vec(likely(), 0..9)),
                0..40,
            ),
        ) {
            let mut backlog = Backlog::default();
            let namespace = Namespace { database: "d".to_owned(), collection: "c".to_owned() };
            for db in 0..2 {
                backlog.register(Registration::new(Db(db), b"k:", namespace.clone()));
            }
            for (now_us, (word, db, arguments)) in (1..).zip(&stream) {
                backlog.record((Db(*db), b"k:1"), ChangeKind::Changed, || false, || 0);
                backlog.fold(now_us);
                let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
                if let Some(command) = read(*word, &arguments) {
                    backlog.apply(Db(*db), command, Now { us: now_us, unix_ms: now_us });
                }
            }
            prop_assert_eq!(backlog.state(100).registrations, 2);
        }
    }
}
