//! What is known of the link to MongoDB, and when to try it again.

use crate::core::delivery::backoff::Backoff;
use crate::core::delivery::batch::Link;
use crate::sink::LinkError;

/// The link's state. Each change is reported once.
#[derive(Debug)]
pub struct LinkState {
    state: Link,
    failures: u32,
    /// Whether the last failure does not pass by itself.
    permanent: bool,
    /// How often a link that seemed to work failed since a batch was acknowledged.
    relapses: u32,
}

/// After so many relapses a link that seems to work again is not trusted any more than the pauses
/// between attempts allow.
const RELAPSES: u32 = 3;

impl LinkState {
    /// There is nothing to write for yet.
    pub fn idle() -> Self {
        LinkState { state: Link::Idle, failures: 0, permanent: false, relapses: 0 }
    }

    /// There is nothing to write for any more. Returns the change, if it is one.
    pub fn become_idle(&mut self) -> Option<Link> {
        self.moved();
        self.change(Link::Idle)
    }

    /// True until there is something to write for and the first attempt has ended.
    pub fn is_idle(&self) -> bool {
        self.state == Link::Idle
    }

    /// A batch failed on a link that was up, or a ping although a server takes writes.
    pub fn relapsed(&mut self) {
        self.relapses = self.relapses.saturating_add(1);
    }

    /// Whether a server that takes writes again is a reason to try the link at once.
    pub fn may_hasten(&self) -> bool {
        !self.takes_batches() && !self.permanent && self.relapses < RELAPSES
    }

    /// Why the link is down, if it is.
    pub fn error(&self) -> Option<&str> {
        match &self.state {
            Link::Down { error } => Some(error),
            Link::Idle | Link::Up => None,
        }
    }

    /// Whether batches may be sent.
    pub fn takes_batches(&self) -> bool {
        self.error().is_none()
    }

    /// A server answered. Returns the change, if it is one.
    pub fn answered(&mut self) -> Option<Link> {
        self.change(Link::Up)
    }

    /// A batch was acknowledged: whatever failed before is over, pauses start short again. An
    /// answered ping does not say as much: some links answer pings and fail every write.
    pub fn acknowledged(&mut self) -> Option<Link> {
        (self.failures, self.relapses) = (0, 0);
        self.change(Link::Up)
    }

    /// The link failed. Returns the change, if it is one, and the pause before it is tried
    /// again, in milliseconds.
    pub fn failed(
        &mut self,
        why: &LinkError,
        backoff: Backoff,
        random: u64,
    ) -> (Option<Link>, u64) {
        self.failures = self.failures.saturating_add(1);
        self.permanent = why.permanent;
        let pause_ms = match why.permanent {
            true => backoff.slow_delay_ms(random),
            false => backoff.delay_ms(self.failures, random),
        };
        (self.change(Link::Down { error: why.error.clone() }), pause_ms)
    }

    /// A link that is down is down for this reason by now. Returns the change, if it is one.
    pub fn explained(&mut self, why: &LinkError) -> Option<Link> {
        if self.takes_batches() || self.permanent {
            return None;
        }
        self.change(Link::Down { error: why.error.clone() })
    }

    /// The settings name another place: failures of the old one do not count.
    pub fn moved(&mut self) {
        (self.failures, self.relapses, self.permanent) = (0, 0, false);
    }

    fn change(&mut self, state: Link) -> Option<Link> {
        (self.state != state).then(|| {
            self.state.clone_from(&state);
            state
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { min_ms: 100, max_ms: 1000 };
    const LONGEST: u64 = 99;

    #[test]
    fn only_changes_are_told() {
        let mut link = LinkState::idle();
        assert_eq!(link.answered(), Some(Link::Up));
        assert_eq!(link.acknowledged(), None);
        let down = |error: &str| Some(Link::Down { error: error.to_owned() });
        assert_eq!(link.failed(&LinkError::transient("away"), BACKOFF, 0).0, down("away"));
        assert_eq!(link.failed(&LinkError::transient("away"), BACKOFF, 0).0, None);
        assert_eq!(
            link.failed(&LinkError::transient("no primary"), BACKOFF, 0).0,
            down("no primary")
        );
        assert_eq!(link.answered(), Some(Link::Up));
    }

    #[test]
    fn an_idle_link_takes_batches_and_a_broken_one_does_not() {
        let mut link = LinkState::idle();
        assert!(link.takes_batches());
        link.failed(&LinkError::transient("away"), BACKOFF, 0);
        assert!(!link.takes_batches());
        assert_eq!(link.error(), Some("away"));
    }

    #[test]
    fn pauses_grow_over_answered_pings_until_a_batch_is_acknowledged() {
        let mut link = LinkState::idle();
        assert_eq!(link.failed(&LinkError::transient("a"), BACKOFF, LONGEST).1, 100);
        link.answered();
        assert!(link.failed(&LinkError::transient("a"), BACKOFF, 199).1 > 100);
        link.acknowledged();
        assert_eq!(link.failed(&LinkError::transient("a"), BACKOFF, LONGEST).1, 100);
    }

    #[test]
    fn what_somebody_must_see_to_is_tried_seldom() {
        let mut link = LinkState::idle();
        assert!(link.failed(&LinkError::permanent("password"), BACKOFF, 0).1 >= 500);
        assert!(!link.may_hasten());
    }

    #[test]
    fn a_server_that_is_back_is_tried_at_once_until_it_has_failed_too_often() {
        let mut link = LinkState::idle();
        link.answered();
        for _ in 0..3 {
            assert!(!link.may_hasten(), "it is up");
            link.failed(&LinkError::transient("cut"), BACKOFF, 0);
            assert!(link.may_hasten());
            link.relapsed();
            link.answered();
        }
        link.failed(&LinkError::transient("cut"), BACKOFF, 0);
        assert!(!link.may_hasten());
        link.acknowledged();
        link.failed(&LinkError::transient("cut"), BACKOFF, 0);
        assert!(link.may_hasten());
    }

    #[test]
    fn a_better_reason_takes_the_place_of_one_that_passes_by_itself() {
        let mut link = LinkState::idle();
        link.answered();
        assert_eq!(link.explained(&LinkError::transient("refused")), None, "it is up");
        link.failed(&LinkError::transient("cut"), BACKOFF, 0);
        let refused = Some(Link::Down { error: "refused".to_owned() });
        assert_eq!(link.explained(&LinkError::transient("refused")), refused);
        assert_eq!(link.explained(&LinkError::transient("refused")), None);
        link.failed(&LinkError::permanent("password"), BACKOFF, 0);
        assert_eq!(link.explained(&LinkError::transient("refused")), None);
    }

    #[test]
    fn a_link_that_is_not_needed_any_more_is_idle() {
        let mut link = LinkState::idle();
        link.failed(&LinkError::permanent("password"), BACKOFF, 0);
        assert_eq!(link.become_idle(), Some(Link::Idle));
        assert_eq!(link.become_idle(), None);
        assert!(link.takes_batches() && link.is_idle());
    }
}
