//! Dead letters: their contents, retries, and that a replica has the same ones.

use super::*;
use crate::core::backlog::dead_letters::DeadLetter;
use crate::core::backlog::record::Record;
use crate::core::backlog::table::{RetainedValue, Taken};
use crate::core::ids::{Db, RegistrationId};
use crate::core::now::Now;

fn refused(indexes: &[usize]) -> Verdict {
    let refused = indexes
        .iter()
        .map(|index| Refusal { index: *index, code: 121, reason: "refused".to_owned() })
        .collect();
    Verdict::Written(Written { refused, sent_bytes: 9, ..Written::default() })
}

/// Ends a batch and propagates the outcome to the replica.
fn end(
    backlog: &mut Backlog,
    replica: &mut Backlog,
    batch: Batch,
    verdict: Verdict,
) -> Acknowledged {
    let mut clean = Acknowledged::default();
    backlog.report(Report::Done { batch, verdict }, Now { us: 50, unix_ms: 7 }, &mut clean);
    backlog.report(Report::Credit(1), Now { us: 50, unix_ms: 7 }, &mut clean);
    propagate(replica, &clean);
    clean
}

fn propagate(replica: &mut Backlog, clean: &Acknowledged) {
    for (db, key) in clean.keys.iter() {
        replica.forget(db, key);
    }
    for refused in &clean.dead {
        replica.apply_dead_letter(refused.clone());
    }
    for (db, key) in &clean.resolved {
        replica.drop_letters(LetterScope::Key(*db, key));
    }
}

/// A master and a replica with the same dirty keys.
fn pair(keys: &[(&str, ChangeKind)]) -> (Backlog, Backlog) {
    let (mut master, mut replica) = (backlog(&["a:", "b:"]), backlog(&["a:", "b:"]));
    for backlog in [&mut master, &mut replica] {
        for (key, kind) in keys {
            backlog.record((Db(0), key.as_bytes()), *kind, || false, || 0);
        }
        backlog.fold(1);
    }
    (master, replica)
}

fn letters(backlog: &Backlog) -> Vec<(String, DeadLetter)> {
    let letters = backlog.letters(None);
    letters.map(|(_, key, l)| (String::from_utf8_lossy(key).into_owned(), l.clone())).collect()
}

fn value(text: &str) -> RetainedValue {
    RetainedValue { content: Content::String, expire_ms: 9, bytes: text.as_bytes().into() }
}

/// The kind of change of the next key to be sent, and its retained value.
fn first(backlog: &mut Backlog) -> (ChangeKind, Option<RetainedValue>) {
    let mut batch = backlog.begin_batch(u64::MAX).expect("a batch");
    let (taken, _) = backlog.take_key(&mut batch, u64::MAX).expect("a key");
    let retained = backlog.retained(&taken, 1).cloned();
    backlog.requeue(&taken);
    (taken.kind, retained)
}

#[test]
fn a_refused_key_is_clean_on_master_and_replica_without_an_acknowledgement() {
    let (mut master, mut replica) =
        pair(&[("a:1", ChangeKind::Changed), ("a:2", ChangeKind::Changed)]);
    let flight = batch(&mut master, u64::MAX).unwrap();
    let clean = end(&mut master, &mut replica, flight, refused(&[1]));
    assert_eq!(clean.keys.iter().collect::<Vec<_>>(), [(Db(0), &b"a:1"[..])]);
    assert_eq!(master.digest(60), replica.digest(60));
    assert_eq!((master.dirty_len(), letters(&master)), (0, letters(&replica)));
}

#[test]
fn a_refused_key_that_changed_again_stays_dirty_on_the_replica_too() {
    let (mut master, mut replica) = pair(&[("a:1", ChangeKind::Changed)]);
    let flight = batch(&mut master, u64::MAX).unwrap();
    for backlog in [&mut master, &mut replica] {
        change(backlog, "a:1", 2);
    }
    let clean = end(&mut master, &mut replica, flight, refused(&[0]));
    assert!(clean.keys.is_empty() && clean.dead[0].again);
    assert_eq!((master.dirty_len(), replica.dirty_len()), (1, 1));
    assert_eq!(letters(&master), letters(&replica));
}

#[test]
fn a_write_of_a_key_that_changed_again_removes_the_dead_letter_on_both() {
    let (mut master, mut replica) = pair(&[("a:1", ChangeKind::Changed)]);
    let flight = batch(&mut master, u64::MAX).unwrap();
    end(&mut master, &mut replica, flight, refused(&[0]));
    for backlog in [&mut master, &mut replica] {
        assert_eq!(backlog.retry(LetterScope::All, 60), 1);
    }
    let flight = batch(&mut master, u64::MAX).unwrap();
    for backlog in [&mut master, &mut replica] {
        change(backlog, "a:1", 70);
    }
    let clean = end(&mut master, &mut replica, flight, written());
    assert!(clean.keys.is_empty() && clean.resolved.len() == 1);
    assert!(letters(&master).is_empty() && letters(&replica).is_empty());
    assert_eq!(master.digest(80), replica.digest(80));
    assert_eq!(replica.dirty_len(), 1);
}

#[test]
fn a_retry_is_due_immediately_and_counts_its_attempts() {
    let (mut master, mut replica) =
        pair(&[("a:1", ChangeKind::Changed), ("b:1", ChangeKind::Changed)]);
    for _ in 0..2 {
        let flight = batch(&mut master, u64::MAX).unwrap();
        end(&mut master, &mut replica, flight, refused(&[0]));
    }
    assert_eq!(master.dead.len(), 2);
    for (attempts, scope) in
        [(2, LetterScope::Registration(RegistrationId(0))), (3, LetterScope::Key(Db(0), b"a:1"))]
    {
        for backlog in [&mut master, &mut replica] {
            assert_eq!(backlog.retry(scope, 100), 1);
        }
        assert_eq!((master.dead.len(), master.digest(100)), (2, replica.digest(100)));
        let flight = batch(&mut master, 100).expect("it is due immediately");
        assert_eq!(keys(&flight), ["a:1"]);
        end(&mut master, &mut replica, flight, refused(&[0]));
        assert_eq!(letters(&master)[0].1.attempts, attempts);
        assert_eq!(letters(&master), letters(&replica));
    }
    assert_eq!(master.retry(LetterScope::Key(Db(0), b"a:2"), 200), 0);
}

#[test]
fn a_refused_deletion_is_retried_as_a_deletion() {
    let (mut master, mut replica) = pair(&[("a:1", ChangeKind::Deleted)]);
    let flight = batch(&mut master, u64::MAX).unwrap();
    end(&mut master, &mut replica, flight, refused(&[0]));
    for backlog in [&mut master, &mut replica] {
        backlog.retry(LetterScope::All, 60);
        assert_eq!(first(backlog), (ChangeKind::Deleted, None));
    }
}

#[test]
fn a_refused_possible_deletion_is_a_change_once_the_key_expires_unretained() {
    let (mut master, mut replica) = pair(&[("a:1", ChangeKind::MaybeDeleted)]);
    let flight = batch(&mut master, u64::MAX).unwrap();
    end(&mut master, &mut replica, flight, refused(&[0]));
    for backlog in [&mut master, &mut replica] {
        assert!(backlog.must_retain(Db(0), b"a:1", ChangeKind::Expired, 60));
        backlog.removed((Db(0), b"a:1"), ChangeKind::Expired, || false, 60);
        backlog.retry(LetterScope::All, 70);
        assert_eq!(first(backlog), (ChangeKind::Changed, None));
    }
}

#[test]
fn a_retained_value_moves_to_the_dead_letter_and_back() {
    let (mut master, mut replica) = pair(&[("a:1", ChangeKind::Changed)]);
    for backlog in [&mut master, &mut replica] {
        assert!(backlog.retain_value(Db(0), b"a:1", value("last"), || 0));
    }
    for _ in 0..2 {
        let flight = batch(&mut master, u64::MAX).unwrap();
        let clean = end(&mut master, &mut replica, flight, refused(&[0]));
        assert_eq!(clean.dead[0].letter.retained, None, "the replica has it");
        for backlog in [&mut master, &mut replica] {
            assert_eq!(letters(backlog)[0].1.retained, Some(value("last")));
            assert_eq!(backlog.retry(LetterScope::All, 60), 1);
            assert_eq!(letters(backlog)[0].1.retained, None, "it is in the dirty table");
            assert_eq!(first(backlog), (ChangeKind::Retained, Some(value("last"))));
        }
    }
}

#[test]
fn the_value_of_a_dead_letter_is_retained_when_its_key_is_removed() {
    let (mut master, mut replica) = pair(&[("a:1", ChangeKind::Changed)]);
    let flight = batch(&mut master, u64::MAX).unwrap();
    end(&mut master, &mut replica, flight, refused(&[0]));
    assert!(master.must_retain(Db(0), b"a:1", ChangeKind::Evicted, 60));
    assert_eq!(master.unretained(None, 60), [(Db(0), b"a:1".to_vec())]);
    assert!(master.active_of_key(Db(0), b"a:1", || 0).is_some());
    assert!(master.retain_value(Db(0), b"a:1", value("last"), || 0));
    assert!(!master.must_retain(Db(0), b"a:1", ChangeKind::Evicted, 60));
    assert!(master.unretained(None, 60).is_empty());
    master.retry(LetterScope::All, 60);
    assert_eq!(first(&mut master), (ChangeKind::Retained, Some(value("last"))));
}

#[test]
fn a_dead_letter_whose_value_is_lost_is_kept_with_that_reason() {
    let (mut master, mut replica) = pair(&[("a:1", ChangeKind::Changed)]);
    let flight = batch(&mut master, u64::MAX).unwrap();
    end(&mut master, &mut replica, flight, refused(&[0]));
    for backlog in [&mut master, &mut replica] {
        backlog.retry(LetterScope::All, 60);
    }
    let mut skip = |kind: Option<ChangeKind>| {
        let mut batch = master.begin_batch(u64::MAX).unwrap();
        let (taken, _) = master.take_key(&mut batch, u64::MAX).unwrap();
        let mut clean = Acknowledged::default();
        let taken = Taken { kind: kind.unwrap_or(taken.kind), ..taken };
        master.skip(RegistrationId(0), &taken, 0, &mut clean);
        propagate(&mut replica, &clean);
        for backlog in [&mut master, &mut replica] {
            assert_eq!(backlog.dirty_len(), 0);
            backlog.retry(LetterScope::All, 80);
        }
        (letters(&master), letters(&replica))
    };
    let (of_master, of_replica) = skip(None);
    assert!(of_master[0].1.reason.contains("removed from Redis"), "{of_master:?}");
    assert_eq!((of_master[0].1.attempts, &of_master), (2, &of_replica));
    // Deleted by a client, and the document is kept: there is nothing to retry.
    assert_eq!(skip(Some(ChangeKind::Deleted)), (vec![], vec![]));
}

#[test]
fn an_unregistered_prefix_keeps_its_dead_letters_until_they_are_dropped_or_written() {
    for drop in [true, false] {
        let (mut master, mut replica) = pair(&[("a:1", ChangeKind::Changed)]);
        let flight = batch(&mut master, u64::MAX).unwrap();
        end(&mut master, &mut replica, flight, refused(&[0]));
        for backlog in [&mut master, &mut replica] {
            assert_eq!(backlog.unregister(Db(0), b"a:", false, 60), Some(0));
            assert!(
                backlog.registry.at(RegistrationId(0)).is_some()
                    && backlog.dead.count(RegistrationId(0)) == 1
            );
        }
        if drop {
            for backlog in [&mut master, &mut replica] {
                assert_eq!(backlog.drop_letters(LetterScope::All), 1);
            }
        } else {
            for backlog in [&mut master, &mut replica] {
                assert_eq!(backlog.retry(LetterScope::Registration(RegistrationId(0)), 70), 1);
            }
            let flight = batch(&mut master, 70).unwrap();
            assert_eq!(flight.registration.prefix, b"a:");
            end(&mut master, &mut replica, flight, written());
        }
        for backlog in [&master, &replica] {
            assert!(backlog.registry.at(RegistrationId(0)).is_none() && backlog.dead.is_empty());
        }
    }
}

#[test]
fn discarding_drops_dead_letters_and_later_ones() {
    let (mut master, mut replica) =
        pair(&[("a:1", ChangeKind::Changed), ("a:2", ChangeKind::Changed)]);
    master.settings.batch_max_keys = 1;
    let flight = batch(&mut master, u64::MAX).unwrap();
    end(&mut master, &mut replica, flight, refused(&[0]));
    let flight = batch(&mut master, u64::MAX).unwrap();
    for backlog in [&mut master, &mut replica] {
        backlog.unregister(Db(0), b"a:", true, 60);
        assert!(backlog.dead.is_empty());
    }
    end(&mut master, &mut replica, flight, refused(&[0]));
    for backlog in [&master, &replica] {
        assert!(
            backlog.dead.is_empty()
                && backlog.registry.at(RegistrationId(0)).is_none()
                && backlog.dirty_len() == 0
        );
    }
}

#[test]
fn a_retry_uses_the_current_options_of_the_registration() {
    let (mut master, mut replica) = pair(&[("a:1", ChangeKind::Changed)]);
    let flight = batch(&mut master, u64::MAX).unwrap();
    end(&mut master, &mut replica, flight, refused(&[0]));
    let mut other = registration("a:");
    other.namespace.collection = "other".to_owned();
    master.register(other).unwrap();
    assert_eq!(master.retry(LetterScope::Registration(RegistrationId(0)), 60), 1);
    let flight = batch(&mut master, 60).unwrap();
    assert_eq!(flight.registration.namespace.collection, "other");
}

#[test]
fn dead_letters_are_saved_and_loaded_with_their_values() {
    let (mut master, mut replica) =
        pair(&[("a:1", ChangeKind::Changed), ("a:2", ChangeKind::Deleted)]);
    master.retain_value(Db(0), b"a:1", value("last"), || 0);
    let flight = batch(&mut master, u64::MAX).unwrap();
    end(&mut master, &mut replica, flight, refused(&[0, 1]));
    master.retry(LetterScope::Key(Db(0), b"a:2"), 60);
    let mut saved: Vec<Record<'static>> = Vec::new();
    let mut packer = crate::core::backlog::record::Packer::new(|block: &[u8]| {
        let block: &'static [u8] = block.to_vec().leak();
        crate::core::backlog::record::unpack(block, |record| saved.push(record)).unwrap();
    });
    master.save(70, |record| packer.push(&record));
    packer.end();
    drop(packer);
    let mut loaded = Backlog::default();
    saved.into_iter().for_each(|record| loaded.load(record, u64::MAX));
    assert_eq!(letters(&loaded), letters(&master));
    assert_eq!(loaded.digest(80), master.digest(80));
    assert_eq!(loaded.dead.memory_bytes(), master.dead.memory_bytes());
}

#[test]
fn a_flush_before_the_retry_does_not_wait_for_it_and_one_after_it_does() {
    let (mut master, mut replica) = pair(&[("a:1", ChangeKind::Changed)]);
    let flight = batch(&mut master, u64::MAX).unwrap();
    end(&mut master, &mut replica, flight, refused(&[0]));
    change(&mut master, "a:2", 60);
    let before = master.flush(FlushScope::All, 60);
    master.retry(LetterScope::All, 60);
    let after = master.flush(FlushScope::All, 60);
    assert!(!master.is_flushed(before) && !master.is_flushed(after));
    let flight = batch(&mut master, 60).unwrap();
    end(&mut master, &mut replica, flight, refused(&[0]));
    assert_eq!(master.end_flush(before), Some(FlushProgress { persisted: 1, pending: 0 }));
    assert_eq!(master.end_flush(after), Some(FlushProgress { persisted: 1, pending: 0 }));
}
