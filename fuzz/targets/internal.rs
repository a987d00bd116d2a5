//! The words that the master puts into the replication stream and the AOF.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use writebehind::internals::{Backlog, Db, Namespace, Now, Registration, ChangeKind, Word, read};

const NOW_US: u64 = 1_700_000_000_000_000;

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    /// A word of the stream.
    Word(Name, u8, Vec<&'a [u8]>),
    /// The same with arguments that are likely to mean something.
    Likely(Name, u8, Vec<Likely>),
    /// A change of a key.
    ChangeKind(u8, u8),
    Unregister(u8, bool),
    Clear,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Name {
    Ack,
    Dead,
    Gone,
    Sessions,
    Left,
    Lease,
    Revision,
    Loaded,
    Loading,
    Scan,
    Mark,
    Synced,
}

#[derive(Arbitrary, Debug)]
enum Likely {
    Key(u8),
    Prefix,
    Number(i64),
    State(bool),
}

impl Likely {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Likely::Key(key) => key_name(*key),
            Likely::Prefix => b"k:".to_vec(),
            Likely::Number(number) => number.to_string().into_bytes(),
            Likely::State(clean) => if *clean { b"clean" } else { b"dirty" }.to_vec(),
        }
    }
}

fn key_name(key: u8) -> Vec<u8> {
    format!("k:{}", key % 8).into_bytes()
}

fn word(name: Name) -> Word {
    match name {
        Name::Ack => Word::Ack,
        Name::Dead => Word::Dead,
        Name::Gone => Word::Gone,
        Name::Sessions => Word::Sessions,
        Name::Lease => Word::Lease,
        Name::Left => Word::Left,
        Name::Revision => Word::Revision,
        Name::Loaded => Word::Loaded,
        Name::Loading => Word::Loading,
        Name::Scan => Word::Scan,
        Name::Mark => Word::Mark,
        Name::Synced => Word::Synced,
    }
}

fuzz_target!(|steps: Vec<Step<'_>>| {
    let mut backlog = Backlog::default();
    let namespace = Namespace { database: "d".to_owned(), collection: "c".to_owned() };
    for db in 0..2 {
        backlog.register(Registration::new(Db(db), b"k:", namespace.clone()));
    }
    for (now_us, step) in (NOW_US..).zip(&steps) {
        backlog.up_to_date(now_us);
        match step {
            Step::Word(name, db, words) => {
                if let Some(told) = read(word(*name), words) {
                    backlog.apply(Db(u16::from(db % 3)), told, Now { us: now_us, unix_ms: now_us / 1000 });
                }
            }
            Step::Likely(name, db, words) => {
                let words: Vec<Vec<u8>> = words.iter().map(Likely::bytes).collect();
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                if let Some(told) = read(word(*name), &words) {
                    backlog.apply(Db(u16::from(db % 3)), told, Now { us: now_us, unix_ms: now_us / 1000 });
                }
            }
            Step::ChangeKind(db, key) => {
                let (db, key) = (Db(u16::from(db % 3)), key_name(*key));
                backlog.record((db, &key), ChangeKind::Changed, || db.0 == 1, || 0);
            }
            Step::Unregister(db, discard) => {
                backlog.unregister(Db(u16::from(db % 2)), b"k:", *discard, now_us);
            }
            Step::Clear => backlog.clear(),
        }
    }
    backlog.state(NOW_US);
    backlog.digest(NOW_US);
});
