//! The arguments of the words that the master puts into the replication stream and the AOF.

use std::str::FromStr;

use crate::core::backlog::change_log::Touch;
use crate::core::backlog::dead_letters::DeadLetter;
use crate::core::delivery::batch::LaneId;

/// Which word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// `WB._ACK key ...`
    Ack,
    /// `WB._DEAD key prefix code attempts unix-ms clean|dirty reason`
    Dead,
    /// `WB._GONE expired|evicted key`
    Gone,
    /// `WB._LANES ids`
    Lanes,
    /// `WB._SCAN prefix`
    Scan,
    /// `WB._MARK prefix key ...`
    Mark,
    /// `WB._SYNCED prefix`
    Synced,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// MongoDB has these keys in their latest state.
    Clean(&'a [&'a [u8]]),
    /// MongoDB refuses a change of the key.
    Dead {
        /// The key.
        key: &'a [u8],
        /// Prefix of its registration.
        prefix: &'a [u8],
        /// Why.
        letter: DeadLetter,
        /// True when the key has changed again, and so is dirty still.
        again: bool,
    },
    /// The DEL that follows is none of a client.
    Gone {
        /// How the key goes.
        touch: Touch,
        /// The key.
        key: &'a [u8],
    },
    /// The sessions in which the master writes.
    Lanes(Vec<LaneId>),
    /// From here on, the keys that exist under the prefix are marked.
    Scan(&'a [u8]),
    /// These keys of the prefix are dirty without having changed.
    Mark {
        /// The prefix.
        prefix: &'a [u8],
        /// The keys.
        keys: &'a [&'a [u8]],
    },
    /// All keys that existed under the prefix are marked.
    Synced(&'a [u8]),
}

/// Reads the arguments of `word`; nothing when their number is wrong. A number that is none counts
/// as 0: what an earlier or later version wrote must not end the replication.
pub fn read<'a>(word: Word, arguments: &'a [&'a [u8]]) -> Option<Told<'a>> {
    Some(match (word, arguments) {
        (Word::Ack, keys) => Told::Clean(keys),
        (Word::Dead, [key, prefix, code, attempts, unix_ms, state, reason]) => {
            let letter = DeadLetter {
                slot: 0,
                code: number(code),
                reason: String::from_utf8_lossy(reason).into_owned(),
                attempts: number(attempts),
                unix_ms: number(unix_ms),
                touch: Touch::Changed,
                captured: None,
            };
            Told::Dead { key, prefix, letter, again: *state == b"dirty" }
        }
        (Word::Gone, [kind, key]) => {
            let touch = if *kind == b"evicted" { Touch::Evicted } else { Touch::Expired };
            Told::Gone { touch, key }
        }
        (Word::Lanes, [ids]) => Told::Lanes(ids.as_chunks().0.to_vec()),
        (Word::Scan, [prefix, ..]) => Told::Scan(prefix),
        (Word::Mark, [prefix, keys @ ..]) => Told::Mark { prefix, keys },
        (Word::Synced, [prefix, ..]) => Told::Synced(prefix),
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
    use crate::core::backlog::Engine;
    use crate::core::registration::{Namespace, Registration};

    const WORDS: [Word; 7] =
        [Word::Ack, Word::Dead, Word::Gone, Word::Lanes, Word::Scan, Word::Mark, Word::Synced];

    #[test]
    fn a_refusal_is_read_as_it_is_written() {
        let words: [&[u8]; 7] = [b"k:1", b"k:", b"121", b"3", b"99", b"dirty", b"schema"];
        let Some(Told::Dead { key, prefix, letter, again }) = read(Word::Dead, &words) else {
            panic!("seven arguments are a refusal");
        };
        assert_eq!((key, prefix, again), (&b"k:1"[..], &b"k:"[..], true));
        assert_eq!((letter.code, letter.attempts, letter.unix_ms), (121, 3, 99));
        assert_eq!(read(Word::Dead, &words[..6]), None);
        let words: [&[u8]; 7] = [b"k:1", b"k:", b"x", b"-1", b"\xff", b"", b"\xff"];
        let told = read(Word::Dead, &words);
        assert!(matches!(told, Some(Told::Dead { letter, .. }) if letter.attempts == 0));
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
        fn whatever_the_stream_says_the_engine_stands(
            stream in prop::collection::vec(
                (prop::sample::select(&WORDS[..]), 0u16..3, prop::collection::vec(likely(), 0..9)),
                0..40,
            ),
        ) {
            let mut engine = Engine::default();
            let namespace = Namespace { database: "d".to_owned(), collection: "c".to_owned() };
            for db in 0..2 {
                engine.register(Registration::new(db, b"k:", namespace.clone()));
            }
            for (now_us, (word, db, arguments)) in (1..).zip(&stream) {
                engine.touch(*db, b"k:1", Touch::Changed);
                engine.fold(now_us);
                let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
                if let Some(told) = read(*word, &arguments) {
                    engine.obey(*db, told, (now_us, now_us));
                }
            }
            prop_assert_eq!(engine.state(100).registrations, 2);
        }
    }
}
