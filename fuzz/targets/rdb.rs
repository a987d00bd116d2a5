//! The state in an RDB: blocks of records, loaded into a fresh backlog.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use writebehind::internals::{Backlog, RetainedValue, Content, Db, DeadLetter, GroupId, Missed, Packer, Record, RegistrationId, SavedKey, Shard, ChangeKind, args, unpack};

const NOW_US: u64 = 1_700_000_000_000_000;
/// What a backlog takes for itself, and what a byte of state may cost at the most: a registration
/// of the shortest words, with its queue.
const LEAST_BYTES: usize = 1 << 20;
const BYTES_A_BYTE: usize = 200;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    pieces: Vec<Piece<'a>>,
    /// Bytes of the block that are overwritten.
    damage: Vec<(u16, u8)>,
    /// Bytes that are cut off.
    cut: u8,
}

#[derive(Arbitrary, Debug)]
enum Piece<'a> {
    Registration { id: u8, prefix: u8, flags: [bool; 4], missed: [Option<u64>; 2], option: u8 },
    Key { id: u8, db: u8, kind: u8, since_us: u64, key: u8, value: Option<&'a [u8]> },
    Dead { id: u8, db: u8, kind: u8, code: i32, times: [u64; 2], key: u8, value: Option<&'a [u8]> },
    Sessions(Vec<[u8; 16]>),
    Lease([u8; 16], u64, [u8; 16]),
    Paused,
    Raw(&'a [u8]),
}

const OPTIONS: [&str; 8] = [
    "", "KEY id AS INT64", "TYPE HASH", "WRITE MERGE", "INTERVAL 0", "BATCH 1", "TTLFIELD ttl",
    "SCHEMA year INT64 * AUTO",
];

/// A block of the pieces, and of damage.
fn block(input: &Input<'_>) -> Vec<u8> {
    let mut block = Vec::new();
    for piece in &input.pieces {
        if let Piece::Raw(bytes) = piece {
            block.extend_from_slice(bytes);
            continue;
        }
        let mut packer = Packer::new(|bytes: &[u8]| block.extend_from_slice(bytes));
        push(&mut packer, piece);
        packer.end();
    }
    for (at, byte) in &input.damage {
        if let Some(place) = block.get_mut(usize::from(*at)) {
            *place = *byte;
        }
    }
    block.truncate(block.len().saturating_sub(usize::from(input.cut % 16)));
    block
}

fn push(packer: &mut Packer<impl FnMut(&[u8])>, piece: &Piece<'_>) {
    let name = |key: u8| format!("k{}:{}", key % 3, key % 7).into_bytes();
    let retained = |value: Option<&[u8]>| {
        let value = value?;
        let content = Content::from_u8(value.first().copied()?)?;
        Some(RetainedValue { content, expire_ms: -1, bytes: value.into() })
    };
    match piece {
        Piece::Registration { id, prefix, flags, missed, option } => {
            let prefix = format!("k{}:", prefix % 3);
            let option = OPTIONS[usize::from(option % 8)];
            let words = [&prefix, "d.c"].into_iter().chain(option.split_whitespace());
            let words: Vec<&[u8]> = words.map(str::as_bytes).collect();
            let Ok((registration, _)) = args::registered(Db(0), &words) else { return };
            let [live, discards, sync_pending, paused] = *flags;
            let missed = Missed { since_us: missed[0], scanned_us: missed[1] };
            let id = RegistrationId(u16::from(*id));
            packer.push(&Record::Registration {
                registration_id: id, live, discards, sync_pending, paused, missed, registration,
            });
        }
        Piece::Key { id, db, kind, since_us, key, value } => {
            let Some(kind) = ChangeKind::from_u8(kind % 10) else { return };
            let retained = retained(*value);
            let (id, db, since_us) = (RegistrationId(u16::from(*id)), Db(u16::from(*db)), *since_us);
            let group = (db.0 == 1).then_some(GroupId(u32::from(id.0)));
            let saved = SavedKey { registration_id: id, db, kind, since_us, key: &name(*key), retained };
            packer.push(&Record::Key(saved, group));
        }
        Piece::Dead { id, db, kind, code, times, key, value } => {
            let Some(kind) = ChangeKind::from_u8(kind % 10) else { return };
            let [unix_ms, attempts] = *times;
            let letter = DeadLetter {
                registration_id: RegistrationId(u16::from(*id)),
                code: *code,
                reason: "refused".to_owned(),
                attempts: attempts as u32,
                unix_ms,
                kind,
                retained: retained(*value),
            };
            packer.push(&Record::Dead { db: Db(u16::from(*db)), key: &name(*key), letter });
        }
        Piece::Sessions(sessions) => packer.push(&Record::Sessions(sessions.clone())),
        Piece::Lease(id, epoch, holder) => {
            let Ok(namespace) = args::parse_namespace(b"d.leases") else { return };
            let (id, epoch, holder) = (*id, *epoch, *holder);
            packer.push(&Record::Lease(Shard { id, epoch, holder, namespace }));
        }
        Piece::Paused => packer.push(&Record::Paused),
        Piece::Raw(_) => {}
    }
}

fn load(blocks: &[Vec<u8>]) -> Backlog {
    let mut backlog = Backlog::default();
    backlog.clear();
    for block in blocks {
        if unpack(block, |record| backlog.load(record, NOW_US)).is_err() {
            break;
        }
    }
    backlog
}

fn save(backlog: &mut Backlog) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    let mut packer = Packer::new(|block: &[u8]| blocks.push(block.to_vec()));
    backlog.save(NOW_US, |record| packer.push(&record));
    packer.end();
    drop(packer);
    blocks
}

fuzz_target!(|input: Input<'_>| {
    let block = block(&input);
    let input = block.len();
    let mut backlog = load(&[block]);
    let state = backlog.state(NOW_US);
    let memory = state.memory_bytes;
    assert!(memory < LEAST_BYTES + BYTES_A_BYTE * input, "{memory} bytes of {input}");
    for id in backlog.registry.live_ids().collect::<Vec<_>>() {
        assert!(backlog.prefix_state(id, NOW_US).is_some());
        backlog.error_of(id);
    }
    // What was taken is saved, and loaded again as the same.
    let saved = save(&mut backlog);
    let mut again = load(&saved);
    assert_eq!(backlog.digest(NOW_US), again.digest(NOW_US));
    assert_eq!(backlog.dead.len(), again.dead.len());
    assert_eq!(save(&mut again), saved);
});
