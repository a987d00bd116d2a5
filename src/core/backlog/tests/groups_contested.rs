//! Groups whose keys are contested: whatever the order of changes and refusals, all keys are written in the
//! end.

use proptest::prelude::*;

use super::*;
use crate::core::backlog::Due;
use crate::core::backlog::dead_letters::DUPLICATE_KEY;
use crate::core::delivery::batch::{Held, Link};
use crate::core::delivery::group_batch::GroupBatch;
use crate::core::mapping::value::Content;

/// A step of a run.
#[derive(Clone, Debug)]
enum Step {
    /// One transaction changes these keys.
    Change(Vec<u8>),
    /// What is due is sent.
    Send,
    /// A batch ends, whose contested items are the bits of a number.
    End(u8, u64),
    /// A group batch ends likewise.
    EndGroups(u8, u64),
    /// A group batch ends, whose groups of these numbers wait.
    Hold(u8, u64),
    /// A client flushes a key, or all.
    Flush(Option<u8>),
    /// The dead letters are retried.
    Retry,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(0u8..6, 1..4).prop_map(Step::Change),
        3 => Just(Step::Send),
        3 => (any::<u8>(), any::<u64>()).prop_map(|(at, mask)| Step::End(at, mask)),
        2 => (any::<u8>(), any::<u64>()).prop_map(|(at, mask)| Step::EndGroups(at, mask)),
        1 => (any::<u8>(), any::<u64>()).prop_map(|(at, mask)| Step::Hold(at, mask)),
        1 => prop::option::of(0u8..6).prop_map(Step::Flush),
        1 => Just(Step::Retry),
    ]
}

#[derive(Default)]
struct Run {
    backlog: Backlog,
    batches: Vec<Batch>,
    groups: Vec<GroupBatch>,
    now_us: u64,
}

impl Run {
    fn new(batch_max_keys: Option<u32>) -> Self {
        let mut run = Run::default();
        run.backlog.register(Registration {
            interval_ms: Some(0),
            batch_max_keys,
            ..registration("k:")
        });
        for credit in [Report::Credit(9), Report::GroupCredit(2), Report::Link(Link::Up)] {
            run.report(credit);
        }
        run
    }

    fn now(&mut self) -> u64 {
        self.now_us += 1;
        self.now_us
    }

    fn report(&mut self, report: Report) {
        let now = Now { us: self.now(), unix_ms: 0 };
        self.backlog.report(report, now, &mut Acknowledged::default());
    }

    fn send(&mut self) {
        let now_us = self.now();
        let backlog = &mut self.backlog;
        backlog.take_changed(now_us);
        while let Some(mut batch) = backlog.begin_batch(now_us) {
            while let Some(due) = backlog.take(&mut batch, now_us) {
                if let Due::Key(taken, key) = due {
                    let value = Span { start: key.end, end: key.end };
                    batch.items.push(item(&taken, key, Content::String, value, -1));
                }
            }
            if !batch.items.is_empty() {
                backlog.sending(&batch);
                backlog.in_flight.sent(Flight::of(&batch));
                self.batches.push(batch);
            }
        }
        let mut groups = GroupBatch::default();
        while backlog.may_send_groups()
            && let Some(due) = backlog.next_group(&groups, now_us)
        {
            groups.groups.push(due.sent);
            let number = groups.groups.len() as u32 - 1;
            for (id, entry) in &due.members {
                let batch = backlog.batch_for(&mut groups, *id).expect("a batch");
                let Some((taken, key)) = backlog.take_member(batch, *entry) else { continue };
                let value = Span { start: key.end, end: key.end };
                batch.items.push(item(&taken, key, Content::String, value, -1));
                batch.groups.push(number);
            }
        }
        if !groups.is_empty() {
            groups.batches.iter().for_each(|batch| backlog.sending(batch));
            backlog.in_flight.sent_groups(groups.batches.iter().map(Flight::of));
            self.groups.push(groups);
        }
    }

    fn end(&mut self, batch: Batch, mask: u64) {
        let is_contested = |index: &usize| mask >> (index % 64) & 1 == 1;
        let contested: Vec<Refusal> = (0..batch.items.len())
            .filter(is_contested)
            .map(|index| Refusal { index, code: DUPLICATE_KEY, reason: "taken".to_owned() })
            .collect();
        let verdict = Verdict::Written(Written { contested, sent_bytes: 1, ..Written::default() });
        let grouped = !batch.groups.is_empty();
        self.report(Report::Done { batch, verdict });
        if !grouped {
            self.report(Report::Credit(1));
        }
    }

    fn end_groups(&mut self, groups: GroupBatch, mask: u64) {
        for batch in groups.batches {
            self.end(batch, mask);
        }
        self.report(Report::GroupCredit(1));
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Change(keys) => {
                for (at, key) in keys.iter().enumerate() {
                    let key = format!("k:{key}");
                    let now_us = self.now();
                    let db_key = (Db(0), key.as_bytes());
                    self.backlog.record(db_key, ChangeKind::Changed, || at > 0, || now_us);
                }
                let now_us = self.now();
                self.backlog.fold(now_us);
            }
            Step::Send => self.send(),
            Step::End(at, mask) if !self.batches.is_empty() => {
                let batch = self.batches.remove(usize::from(*at) % self.batches.len());
                self.end(batch, *mask);
            }
            Step::EndGroups(at, mask) if !self.groups.is_empty() => {
                let groups = self.groups.remove(usize::from(*at) % self.groups.len());
                self.end_groups(groups, *mask);
            }
            Step::Hold(at, mask) if !self.groups.is_empty() => {
                let groups = self.groups.remove(usize::from(*at) % self.groups.len());
                for batch in groups.batches {
                    let waits = |index: &usize| mask >> (batch.groups[*index] % 64) & 1 == 1;
                    let items: Vec<usize> = (0..batch.items.len()).filter(waits).collect();
                    let held = Some(Box::new(Held { items, because: "conflict".to_owned() }));
                    let written = Written { held, sent_bytes: 1, ..Written::default() };
                    self.report(Report::Done { batch, verdict: Verdict::Written(written) });
                }
                self.report(Report::GroupCredit(1));
            }
            Step::Flush(key) => {
                let now_us = self.now();
                let key = key.map(|key| format!("k:{key}").into_bytes());
                match &key {
                    Some(key) => self.backlog.flush(FlushScope::Keys(Db(0), &[key]), now_us),
                    None => self.backlog.flush(FlushScope::All, now_us),
                };
            }
            Step::Retry => {
                self.now_us += 2_000_000;
                let now_us = self.now_us;
                self.backlog.retry_contested(now_us);
            }
            Step::End(..) | Step::EndGroups(..) | Step::Hold(..) => {}
        }
    }

    /// MongoDB takes all from now on.
    fn drain(&mut self) {
        for _ in 0..60 {
            self.apply(&Step::Retry);
            self.send();
            for batch in std::mem::take(&mut self.batches) {
                self.end(batch, 0);
            }
            for groups in std::mem::take(&mut self.groups) {
                self.end_groups(groups, 0);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20000))]
    #[test]
    fn all_keys_are_written_in_the_end(
        steps in prop::collection::vec(step(), 0..60),
        batch_max_keys in prop::option::of(1u32..4),
    ) {
        let mut run = Run::new(batch_max_keys);
        steps.iter().for_each(|step| run.apply(step));
        run.drain();
        prop_assert_eq!(run.backlog.dirty_len(), 0);
    }
}
