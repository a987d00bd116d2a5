//! What becomes of a group that alone was not written: whether it is tried again, held, split, or
//! becomes dead letters.

use super::fate::Fate;
use super::{GroupState, Groups, TOO_LARGE, Trouble, blamed_item, may_try_again};
use crate::core::delivery::batch::Refusal;
use crate::core::delivery::group_batch::SentGroup;
use crate::core::delivery::group_counts::Split;
use crate::core::registration::printable::printable;
use crate::mongo::codes::DUPLICATE_KEY;
use crate::mongo::write::outcome::{Action, Outcome};

/// Maximum number of keys that a dead letter names.
const NAMES: usize = 5;

const TOO_SLOW: &str = "MongoDB takes too long for the keys of a MULTI";

impl Groups<'_> {
    /// The groups were committed.
    pub(super) fn committed(&mut self, groups: &[u32]) {
        let items = self.open_items(groups);
        let mut written = vec![false; self.groups.len()];
        for (part, items) in self.parts.iter_mut().zip(items) {
            for index in items {
                part.fates[index as usize] = Fate::Written;
                written[part.batch.groups[index as usize] as usize] = true;
            }
        }
        let whole =
            self.groups.iter().zip(written).filter(|(group, written)| *written && !group.is_split);
        self.counts.whole += whole.count() as u64;
    }

    /// The namespace of a part refuses writes. Groups that must stay whole wait; the others are written
    /// without it.
    pub fn refuse_namespace(&mut self, number: usize, why: &str) {
        why.clone_into(&mut self.parts[number].refused_because);
        for group in 0..self.groups.len() as u32 {
            let items = self.open_items(&[group]);
            if items[number].is_empty() {
                continue;
            }
            for index in &items[number] {
                self.parts[number].fates[*index as usize] = Fate::Returned;
            }
            if self.groups[group as usize].sent.whole {
                self.hold(group, why);
            } else if self.has_open(group) {
                self.split(group, Split::BacksOff);
            }
        }
    }

    /// Handles a group that was sent alone and not committed. True if it is to be sent again.
    pub(super) fn resolve(&mut self, group: u32, trouble: Trouble) -> bool {
        let (part, items, outcome) = match trouble {
            Trouble::Unwritable(part, refused) => {
                for Refusal { index, code, reason } in refused {
                    self.refuse(group, (part, index), code, &reason);
                }
                return self.has_open(group);
            }
            Trouble::Command(part, items, outcome) => (part, items, outcome),
        };
        let blamed = blamed_item(&items, &outcome).map(|index| (part, index));
        match outcome {
            Outcome::Answered(errors) => {
                let Some(error) = errors.into_iter().next() else { return false };
                if error.code == TOO_LARGE {
                    return self.write_apart(group, Split::TooLarge);
                }
                self.resolve_error(group, blamed, error.code, error.action)
            }
            Outcome::TooSlow => self.wait(group, TOO_SLOW),
            Outcome::Rejected { code, reason } => self.refuse_blamed(group, blamed, code, &reason),
            // Handled before.
            Outcome::Unconfirmed(_) | Outcome::Failed(_) => {
                self.hold(group, TOO_SLOW);
                false
            }
        }
    }

    fn resolve_error(
        &mut self,
        group: u32,
        blamed: Option<(usize, usize)>,
        code: i32,
        action: Action,
    ) -> bool {
        let state = &mut self.groups[group as usize];
        let GroupState { sent, .. } = *state;
        match action {
            Action::Refuse(reason) => self.refuse_blamed(group, blamed, code, &reason),
            Action::RetryThenWait(reason) => may_try_again(state) || self.wait(group, &reason),
            Action::RetryThenRefuse(reason) => {
                may_try_again(state) || self.refuse_blamed(group, blamed, code, &reason)
            }
            // Another key may give up the value, or the others may tell whether the document or the
            // collection is to blame.
            Action::Contested(duplicate) if sent.whole => {
                self.wait_or_refuse(group, blamed, DUPLICATE_KEY, &duplicate.reason)
            }
            Action::RetryThenClassify(reason) if sent.whole => {
                may_try_again(state) || self.wait_or_refuse(group, blamed, code, &reason)
            }
            Action::Contested(_) => self.write_blamed_apart(group, blamed),
            Action::RetryThenClassify(_) => {
                may_try_again(state) || self.write_blamed_apart(group, blamed)
            }
        }
    }

    /// Another operation in MongoDB keeps the group from being written. Returns false: it is not sent
    /// again now.
    fn wait(&mut self, group: u32, reason: &str) -> bool {
        if self.sent(group).whole || self.is_patient(group) {
            self.hold(group, reason);
            return false;
        }
        self.write_apart(group, Split::Blocked)
    }

    fn wait_or_refuse(
        &mut self,
        group: u32,
        blamed: Option<(usize, usize)>,
        code: i32,
        reason: &str,
    ) -> bool {
        if self.is_patient(group) {
            self.hold(group, reason);
            return false;
        }
        self.refuse_blamed(group, blamed, code, reason)
    }

    /// False once what keeps the group from being written has lasted for longer than the time limit of a
    /// write.
    fn is_patient(&self, group: u32) -> bool {
        u128::from(self.sent(group).failing_ms) < self.patience.as_millis()
    }

    fn hold(&mut self, group: u32, reason: &str) {
        reason.clone_into(&mut self.held_because);
        self.end(group, || Fate::Held);
    }

    fn write_apart(&mut self, group: u32, why: Split) -> bool {
        self.split(group, why);
        self.end(group, || Fate::Apart);
        false
    }

    fn write_blamed_apart(&mut self, group: u32, blamed: Option<(usize, usize)>) -> bool {
        let Some((part, index)) = blamed else { return self.write_apart(group, Split::Refused) };
        self.split(group, Split::Refused);
        self.parts[part].fates[index] = Fate::Apart;
        self.has_open(group)
    }

    fn refuse_blamed(
        &mut self,
        group: u32,
        blamed: Option<(usize, usize)>,
        code: i32,
        reason: &str,
    ) -> bool {
        match blamed {
            Some(blamed) => {
                self.refuse(group, blamed, code, reason);
                self.has_open(group)
            }
            None if self.sent(group).whole => {
                let reason = format!("a key of the same MULTI is refused: {reason}");
                self.end(group, || Fate::Refused(code, reason.clone()));
                false
            }
            None => self.write_apart(group, Split::Refused),
        }
    }

    /// An item of the group is refused; if the group must stay whole, all are.
    fn refuse(&mut self, group: u32, (part, index): (usize, usize), code: i32, reason: &str) {
        let batch = self.parts[part].batch;
        let key = batch.items.get(index).map(|item| printable(batch.key(item))).unwrap_or_default();
        let others = self.other_keys(group, (part, index));
        let whole = self.sent(group).whole;
        let own = match (others.is_empty(), whole) {
            (true, _) => reason.to_owned(),
            (_, true) => {
                format!("{reason}; the same MULTI changed {others}, which are not written either")
            }
            (_, false) => {
                format!("{reason}; the same MULTI changed {others}, which are written without it")
            }
        };
        self.parts[part].fates[index] = Fate::Refused(code, own);
        if whole {
            let why = format!("the key {key} of the same MULTI is refused: {reason}");
            self.end(group, || Fate::Refused(code, why.clone()));
        } else {
            self.split(group, Split::Refused);
        }
    }

    /// The names of the other keys of a group, as text for people.
    fn other_keys(&self, group: u32, but: (usize, usize)) -> String {
        let mut names = Vec::new();
        let mut more = 0;
        for (number, part) in self.parts.iter().enumerate() {
            let items = part.batch.items.iter().zip(&part.batch.groups).enumerate();
            for (index, (item, _)) in items.filter(|(_, (_, of))| **of == group) {
                match (number, index) == but {
                    true => {}
                    false if names.len() < NAMES => names.push(printable(part.batch.key(item))),
                    false => more += 1,
                }
            }
        }
        let names = names.join(", ");
        if more > 0 { format!("{names} and {more} more") } else { names }
    }

    fn split(&mut self, group: u32, why: Split) {
        let state = &mut self.groups[group as usize];
        if !std::mem::replace(&mut state.is_split, true) {
            self.counts.count_split(why, 1);
        }
    }

    /// Ends every open item of the group.
    fn end(&mut self, group: u32, fate: impl Fn() -> Fate) {
        let items = self.open_items(&[group]);
        for (part, items) in self.parts.iter_mut().zip(items) {
            items.iter().for_each(|index| part.fates[*index as usize] = fate());
        }
    }

    fn has_open(&self, group: u32) -> bool {
        self.open_items(&[group]).iter().any(|items| !items.is_empty())
    }

    fn sent(&self, group: u32) -> SentGroup {
        self.groups[group as usize].sent
    }
}
