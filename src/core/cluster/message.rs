//! The messages between the nodes, as bytes.

use super::agreed::Statement;
use crate::core::ids::Db;
use crate::core::mapping::value::{Content, Strings, push_bytes};

/// In front of each message: all modules of a server may share the number under which messages arrive.
const MAGIC: [u8; 4] = *b"WBc\x01";

/// Statements in one message take at most about this many bytes: the server copies a message for each node
/// to which it is sent.
pub const STATEMENTS_BYTES: usize = 32 * 1024;

/// What a flush has done on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Keys acknowledged since it began.
    pub persisted: u64,
    /// Dead letters in its scope.
    pub failed: u64,
    /// Keys still to be acknowledged.
    pub pending: u64,
    /// Why keys are pending; empty when none is.
    pub error: String,
}

/// The last value of a key that is gone, which was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastValue {
    /// What the bytes are.
    pub content: Content,
    /// When it expires, milliseconds since 1970, or [`NO_EXPIRY`](crate::core::mapping::value::NO_EXPIRY).
    pub expire_ms: i64,
    /// The value.
    pub bytes: Vec<u8>,
}

/// A key that is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// The key.
    pub key: Vec<u8>,
    /// How it was removed, as the number of the kind of change.
    pub kind: u8,
    /// Its last value, if that is to be written.
    pub value: Option<LastValue>,
}

impl Handed {
    fn encode(&self, out: &mut Vec<u8>) {
        push_bytes(out, &self.key);
        out.extend([self.kind, u8::from(self.value.is_some())]);
        if let Some(LastValue { content, expire_ms, bytes }) = &self.value {
            out.push(*content as u8);
            out.extend_from_slice(&expire_ms.to_le_bytes());
            push_bytes(out, bytes);
        }
    }

    fn decode(bytes: &mut Strings<'_>) -> Option<Handed> {
        let key = bytes.next()?.to_vec();
        let [kind, has_value] = bytes.array()?;
        if has_value == 0 {
            return Some(Handed { key, kind, value: None });
        }
        let [content] = bytes.array()?;
        let (content, expire_ms) = (Content::from_u8(content)?, i64::from_le_bytes(bytes.array()?));
        let bytes = bytes.next()?.to_vec();
        Some(Handed { key, kind, value: Some(LastValue { content, expire_ms, bytes }) })
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The digest of the sender's statements.
    Digest(u64),
    /// Asks for all statements.
    Pull,
    /// Some statements, or all.
    Statements(Vec<Statement>),
    /// Asks for the reply to a command.
    Ask {
        /// Number of the request, from which the sender knows the answer.
        id: u64,
        /// Logical database.
        db: Db,
        /// The command.
        words: Vec<Vec<u8>>,
    },
    /// The reply, in RESP2.
    Answer {
        /// Number of the request.
        id: u64,
        /// The reply.
        reply: Vec<u8>,
    },
    /// Asks for a flush of a prefix, or of everything. Repeated until it has ended.
    Flush {
        /// Number of the request.
        id: u64,
        /// Logical database and prefix.
        prefix: Option<(Db, Vec<u8>)>,
    },
    /// The flush is under way.
    Flushing {
        /// Number of the request.
        id: u64,
    },
    /// The flush has ended.
    Flushed {
        /// Number of the request.
        id: u64,
        /// Its result.
        result: Flushed,
    },
    /// The answer is of no use any more.
    Cancel {
        /// Number of the request.
        id: u64,
    },
    /// Keys whose slot the receiver may have now: the sender has left their documents in a doubtful state.
    /// Repeated until it is confirmed.
    HandOver {
        /// Logical database.
        db: Db,
        /// The keys.
        keys: Vec<Handed>,
    },
    /// The sender has the slots of these keys, and writes what is to be written.
    TookOver {
        /// Logical database.
        db: Db,
        /// The keys.
        keys: Vec<Vec<u8>>,
    },
}

const DIGEST: u8 = 1;
const PULL: u8 = 2;
const STATEMENTS: u8 = 3;
const ASK: u8 = 4;
const ANSWER: u8 = 5;
const FLUSH: u8 = 6;
const FLUSHING: u8 = 7;
const FLUSHED: u8 = 8;
const CANCEL: u8 = 9;
const HAND_OVER: u8 = 10;
const TOOK_OVER: u8 = 11;

impl Message {
    /// The bytes of the message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let numbered = |out: &mut Vec<u8>, tag: u8, number: u64| {
            out.push(tag);
            out.extend_from_slice(&number.to_le_bytes());
        };
        match self {
            Message::Digest(digest) => numbered(&mut out, DIGEST, *digest),
            Message::Pull => out.push(PULL),
            Message::Statements(statements) => {
                out.push(STATEMENTS);
                for statement in statements {
                    let mut bytes = Vec::new();
                    statement.encode(&mut bytes);
                    push_bytes(&mut out, &bytes);
                }
            }
            Message::Ask { id, db, words } => {
                numbered(&mut out, ASK, *id);
                out.extend_from_slice(&db.0.to_le_bytes());
                words.iter().for_each(|word| push_bytes(&mut out, word));
            }
            Message::Answer { id, reply } => {
                numbered(&mut out, ANSWER, *id);
                out.extend_from_slice(reply);
            }
            Message::Flush { id, prefix } => {
                numbered(&mut out, FLUSH, *id);
                if let Some((db, prefix)) = prefix {
                    out.extend_from_slice(&db.0.to_le_bytes());
                    push_bytes(&mut out, prefix);
                }
            }
            Message::Flushing { id } => numbered(&mut out, FLUSHING, *id),
            Message::Flushed { id, result } => {
                numbered(&mut out, FLUSHED, *id);
                for count in [result.persisted, result.failed, result.pending] {
                    out.extend_from_slice(&count.to_le_bytes());
                }
                out.extend_from_slice(result.error.as_bytes());
            }
            Message::Cancel { id } => numbered(&mut out, CANCEL, *id),
            Message::HandOver { db, keys } => {
                out.push(HAND_OVER);
                out.extend_from_slice(&db.0.to_le_bytes());
                keys.iter().for_each(|handed| handed.encode(&mut out));
            }
            Message::TookOver { db, keys } => {
                out.push(TOOK_OVER);
                out.extend_from_slice(&db.0.to_le_bytes());
                keys.iter().for_each(|key| push_bytes(&mut out, key));
            }
        }
        out
    }

    /// Reads a message; `None` if it is damaged, another module's, or another version's. Damaged statements
    /// are left out.
    pub fn decode(bytes: &[u8]) -> Option<Message> {
        let mut bytes = Strings::new(bytes.strip_prefix(&MAGIC)?);
        let [tag] = bytes.array()?;
        match tag {
            PULL => return Some(Message::Pull),
            STATEMENTS => {
                return Some(Message::Statements(bytes.filter_map(Statement::decode).collect()));
            }
            HAND_OVER => {
                let db = Db(bytes.array().map(u16::from_le_bytes)?);
                let mut keys = Vec::new();
                while !bytes.is_empty() {
                    keys.push(Handed::decode(&mut bytes)?);
                }
                return Some(Message::HandOver { db, keys });
            }
            TOOK_OVER => {
                let db = Db(bytes.array().map(u16::from_le_bytes)?);
                return Some(Message::TookOver { db, keys: bytes.map(<[u8]>::to_vec).collect() });
            }
            _ => {}
        }
        let number = |bytes: &mut Strings<'_>| bytes.array().map(u64::from_le_bytes);
        let id = number(&mut bytes)?;
        Some(match tag {
            DIGEST => Message::Digest(id),
            ASK => {
                let db = Db(bytes.array().map(u16::from_le_bytes)?);
                Message::Ask { id, db, words: bytes.map(<[u8]>::to_vec).collect() }
            }
            ANSWER => Message::Answer { id, reply: bytes.rest().to_vec() },
            FLUSH if bytes.is_empty() => Message::Flush { id, prefix: None },
            FLUSH => {
                let db = Db(bytes.array().map(u16::from_le_bytes)?);
                Message::Flush { id, prefix: Some((db, bytes.next()?.to_vec())) }
            }
            FLUSHING => Message::Flushing { id },
            FLUSHED => {
                let [persisted, failed, pending] =
                    [number(&mut bytes)?, number(&mut bytes)?, number(&mut bytes)?];
                let error = String::from_utf8_lossy(bytes.rest()).into_owned();
                Message::Flushed { id, result: Flushed { persisted, failed, pending, error } }
            }
            CANCEL => Message::Cancel { id },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::cluster::agreed::{Revision, Statement};

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let statement = Statement::Pause { revision: Revision::default(), paused: true };
        let result = Flushed { persisted: 1, failed: 2, pending: 3, error: "why".to_owned() };
        let (db, words) = (Db(3), vec![b"WB.STATUS".to_vec(), b"k\0:".to_vec()]);
        let value = LastValue { content: Content::String, expire_ms: -1, bytes: b"v".to_vec() };
        let handed = |value| Handed { key: b"k:1".to_vec(), kind: 1, value };
        for message in [
            Message::Digest(u64::MAX),
            Message::Pull,
            Message::Statements(vec![statement]),
            Message::Ask { id: 7, db, words: words.clone() },
            Message::Answer { id: 7, reply: b":1\r\n".to_vec() },
            Message::Flush { id: 7, prefix: None },
            Message::Flush { id: 7, prefix: Some((db, b"".to_vec())) },
            Message::Flushing { id: 7 },
            Message::Flushed { id: 7, result },
            Message::Cancel { id: 7 },
            Message::HandOver { db, keys: vec![handed(None), handed(Some(value))] },
            Message::TookOver { db, keys: words },
        ] {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
        assert_eq!(Message::decode(b"another module's"), None);
        assert_eq!(Message::decode(b""), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            tag in 0u8..13,
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let all = [&MAGIC[..], &[tag], &bytes].concat();
            if let Some(message) = Message::decode(&all) {
                prop_assert_eq!(Message::decode(&message.encode()), Some(message));
            }
        }
    }
}
