//! What the nodes of a cluster agree on: each statement about a prefix has a revision, and the highest one
//! counts on all nodes.

use super::NodeId;
use crate::core::ids::Db;
use crate::core::mapping::value::{Strings, push_bytes};
use crate::core::registration::Registration;
use crate::core::registration::args;

/// Orders the statements about one prefix. 0 of no node for a line of a registrations file, or a registration
/// that was made without a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// Milliseconds since 1970, or one more than the highest number that the node knew.
    pub number: u64,
    /// The node on which the command ran.
    pub node: NodeId,
}

impl Default for Revision {
    fn default() -> Self {
        Revision { number: 0, node: [0; 40] }
    }
}

/// What was done last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The prefix was registered.
    Registered,
    /// The prefix was registered with SYNC.
    Synced,
    /// The prefix was unregistered.
    Unregistered,
    /// The prefix was unregistered with DISCARD.
    Discarded,
}

impl Mark {
    /// Each with the word for it in the replication stream.
    pub const ALL: [(Mark, &'static [u8]); 4] = [
        (Mark::Registered, b"registered"),
        (Mark::Synced, b"synced"),
        (Mark::Unregistered, b"unregistered"),
        (Mark::Discarded, b"discarded"),
    ];

    /// The word.
    pub fn word(self) -> &'static [u8] {
        Mark::ALL[self as usize].1
    }

    /// The mark with this word.
    pub fn of_word(word: &[u8]) -> Option<Mark> {
        Mark::ALL.iter().find(|(_, name)| *name == word).map(|(mark, _)| *mark)
    }

    /// The mark with this number.
    pub fn of_u8(number: u8) -> Option<Mark> {
        Mark::ALL.get(usize::from(number)).map(|(mark, _)| *mark)
    }

    /// True if the prefix is registered.
    pub fn is_live(self) -> bool {
        matches!(self, Mark::Registered | Mark::Synced)
    }
}

/// The state of a prefix.
#[derive(Clone, Debug, PartialEq)]
pub enum PrefixState {
    /// It is registered.
    Registered {
        /// The options.
        registration: Box<Registration>,
        /// True if existing keys are to be marked as dirty.
        sync: bool,
        /// True if it is paused.
        paused: bool,
    },
    /// It is not registered any more.
    Unregistered {
        /// True if what was dirty is dropped.
        discards: bool,
    },
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// Whether all registrations together are paused.
    Pause {
        /// When it was said.
        revision: Revision,
        /// True if they are.
        paused: bool,
    },
    /// The state of a prefix.
    Prefix {
        /// Logical database.
        db: Db,
        /// The prefix.
        prefix: Vec<u8>,
        /// When it was said.
        revision: Revision,
        /// The state.
        state: PrefixState,
    },
}

const PAUSE: u8 = 1;
const REGISTERED: u8 = 2;
const UNREGISTERED: u8 = 3;

impl Statement {
    /// Appends the statement.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let head = |out: &mut Vec<u8>, tag: u8, revision: &Revision| {
            out.push(tag);
            out.extend_from_slice(&revision.number.to_le_bytes());
            out.extend_from_slice(&revision.node);
        };
        match self {
            Statement::Pause { revision, paused } => {
                head(out, PAUSE, revision);
                out.push(u8::from(*paused));
            }
            Statement::Prefix { db, prefix, revision, state } => match state {
                PrefixState::Registered { registration, sync, paused } => {
                    head(out, REGISTERED, revision);
                    out.extend([u8::from(*sync), u8::from(*paused)]);
                    out.extend_from_slice(&db.0.to_le_bytes());
                    let words = args::words(registration);
                    // A truncated statement must not be read as one with fewer options.
                    out.extend_from_slice(&(words.len() as u32).to_le_bytes());
                    words.iter().for_each(|word| push_bytes(out, word));
                }
                PrefixState::Unregistered { discards } => {
                    head(out, UNREGISTERED, revision);
                    out.push(u8::from(*discards));
                    out.extend_from_slice(&db.0.to_le_bytes());
                    push_bytes(out, prefix);
                }
            },
        }
    }

    /// Reads one statement; `None` if it is damaged.
    pub fn decode(bytes: &[u8]) -> Option<Statement> {
        let mut bytes = Strings::new(bytes);
        let [tag] = bytes.array()?;
        let number = bytes.array().map(u64::from_le_bytes)?;
        let revision = Revision { number, node: bytes.array()? };
        let flag = |[byte]: [u8; 1]| byte != 0;
        match tag {
            PAUSE => Some(Statement::Pause { revision, paused: flag(bytes.array()?) }),
            REGISTERED => {
                let (sync, paused) = (flag(bytes.array()?), flag(bytes.array()?));
                let db = Db(bytes.array().map(u16::from_le_bytes)?);
                let count = bytes.array().map(u32::from_le_bytes)? as usize;
                let words: Vec<&[u8]> = bytes.collect();
                if words.len() != count {
                    return None;
                }
                let registration = Box::new(args::registered(db, &words).ok()?.0);
                let prefix = registration.prefix.clone();
                let state = PrefixState::Registered { registration, sync, paused };
                Some(Statement::Prefix { db, prefix, revision, state })
            }
            UNREGISTERED => {
                let state = PrefixState::Unregistered { discards: flag(bytes.array()?) };
                let db = Db(bytes.array().map(u16::from_le_bytes)?);
                let prefix = bytes.next()?.to_vec();
                Some(Statement::Prefix { db, prefix, revision, state })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::registration::{Namespace, WriteMode};

    #[test]
    fn the_higher_number_wins_and_then_the_higher_node() {
        let of = |number, node| Revision { number, node: [node; 40] };
        assert!(of(2, 0) > of(1, 9));
        assert!(of(2, 1) > of(2, 0));
        assert!(of(1, 0) > Revision::default());
    }

    #[test]
    fn each_mark_has_its_word_and_its_number() {
        for (at, (mark, word)) in Mark::ALL.into_iter().enumerate() {
            assert_eq!((mark as usize, mark.word()), (at, word));
            assert_eq!((Mark::of_word(word), Mark::of_u8(at as u8)), (Some(mark), Some(mark)));
        }
        assert_eq!((Mark::of_word(b"x"), Mark::of_u8(4)), (None, None));
    }

    /// A statement of each kind.
    pub fn all() -> Vec<Statement> {
        let revision = Revision { number: 7, node: [b'a'; 40] };
        let namespace = Namespace { database: "d".to_owned(), collection: "c".to_owned() };
        let mut registration = Registration::new(Db(3), b"p\0:", namespace);
        registration.write = WriteMode::Merge;
        let registration = Box::new(registration);
        let prefix =
            |state| Statement::Prefix { db: Db(3), prefix: b"p\0:".to_vec(), revision, state };
        vec![
            Statement::Pause { revision, paused: true },
            prefix(PrefixState::Registered { registration, sync: true, paused: false }),
            prefix(PrefixState::Unregistered { discards: true }),
        ]
    }

    #[test]
    fn a_statement_is_read_as_it_was_written() {
        for statement in all() {
            let mut bytes = Vec::new();
            statement.encode(&mut bytes);
            assert_eq!(Statement::decode(&bytes), Some(statement.clone()));
            for end in 0..bytes.len() {
                let cut = Statement::decode(&bytes[..end]);
                assert_ne!(cut, Some(statement.clone()), "{end} of {} bytes", bytes.len());
            }
        }
    }
}
