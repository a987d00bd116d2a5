//! State that is loaded, valid or corrupt.

use proptest::prelude::*;

use super::*;
use crate::core::backlog::change_log::ChangeKind;
use crate::core::backlog::record::{Packer, Record, SavedKey, unpack};
use crate::core::ids::{Db, RegistrationId};

/// A block of registrations, dirty keys, sessions and a pause.
fn block(keys: &[(u16, u8, u64)]) -> Vec<u8> {
    let mut block = Vec::new();
    let mut packer = Packer::new(|bytes: &[u8]| block.extend_from_slice(bytes));
    for id in 0..2 {
        packer.push(&Record::Registration {
            registration_id: RegistrationId(id),
            live: true,
            discards: false,
            sync_pending: false,
            paused: false,
            missed: Default::default(),
            registration: registration(&format!("{id}:")),
        });
    }
    for (id, kind, since_us) in keys {
        let kind = ChangeKind::from_u8(*kind).unwrap_or(ChangeKind::Changed);
        let key = format!("{}:{since_us}", id % 2);
        let key = key.as_bytes();
        let saved = SavedKey {
            registration_id: RegistrationId(*id),
            db: Db(0),
            kind,
            since_us: *since_us,
            key,
            retained: None,
        };
        packer.push(&Record::Key(saved, None));
    }
    packer.push(&Record::Sessions(vec![[7; 16]; 3]));
    packer.push(&Record::Paused);
    packer.end();
    drop(packer);
    block
}

fn load(block: &[u8]) -> Backlog {
    let mut backlog = Backlog::default();
    backlog.clear();
    unpack(block, |record| backlog.load(record, 9)).ok();
    backlog
}

proptest! {
    #[test]
    fn corrupt_state_is_refused_or_loaded_with_memory_bounded_by_its_length(
        keys in prop::collection::vec((0u16..3, 0u8..4, 0u64..50), 0..40),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in 0usize..20,
    ) {
        let mut bytes = block(&keys);
        for (at, byte) in &damage {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        bytes.truncate(bytes.len() - cut);
        let mut backlog = load(&bytes);
        let memory = backlog.state(9).memory_bytes;
        prop_assert!(memory < (1 << 20) + 200 * bytes.len(), "{} of {}", memory, bytes.len());
        let mut saved = Vec::new();
        let mut packer = Packer::new(|bytes: &[u8]| saved.extend_from_slice(bytes));
        backlog.save(9, |record| packer.push(&record));
        packer.end();
        drop(packer);
        prop_assert_eq!(load(&saved).digest(9), backlog.digest(9));
    }

    #[test]
    fn any_bytes_are_refused_or_loaded(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        load(&bytes).state(9);
    }
}
