//! What is known of the link to MongoDB, and when to try it again.

use crate::core::batch::Link;
use crate::core::retry::Backoff;
use crate::sink::Broken;

/// The link's state. Each change is told once.
#[derive(Debug)]
pub struct LinkState {
    state: Link,
    failures: u32,
}

impl LinkState {
    /// Nothing was sent yet.
    pub fn idle() -> Self {
        LinkState { state: Link::Idle, failures: 0 }
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
        self.failures = 0;
        self.change(Link::Up)
    }

    /// The link failed. Returns the change, if it is one, and the pause before it is tried
    /// again, in milliseconds.
    pub fn failed(&mut self, why: &Broken, backoff: Backoff, random: u64) -> (Option<Link>, u64) {
        self.failures = self.failures.saturating_add(1);
        let pause_ms = match why.lasting {
            true => backoff.slow_delay_ms(random),
            false => backoff.delay_ms(self.failures, random),
        };
        (self.change(Link::Down { error: why.error.clone() }), pause_ms)
    }

    /// The settings name another place: failures of the old one do not count.
    pub fn moved(&mut self) {
        self.failures = 0;
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
        assert_eq!(link.failed(&Broken::passing("away"), BACKOFF, 0).0, down("away"));
        assert_eq!(link.failed(&Broken::passing("away"), BACKOFF, 0).0, None);
        assert_eq!(link.failed(&Broken::passing("no primary"), BACKOFF, 0).0, down("no primary"));
        assert_eq!(link.answered(), Some(Link::Up));
    }

    #[test]
    fn an_idle_link_takes_batches_and_a_broken_one_does_not() {
        let mut link = LinkState::idle();
        assert!(link.takes_batches());
        link.failed(&Broken::passing("away"), BACKOFF, 0);
        assert!(!link.takes_batches());
        assert_eq!(link.error(), Some("away"));
    }

    #[test]
    fn pauses_grow_over_answered_pings_until_a_batch_is_acknowledged() {
        let mut link = LinkState::idle();
        assert_eq!(link.failed(&Broken::passing("a"), BACKOFF, LONGEST).1, 100);
        link.answered();
        assert!(link.failed(&Broken::passing("a"), BACKOFF, 199).1 > 100);
        link.acknowledged();
        assert_eq!(link.failed(&Broken::passing("a"), BACKOFF, LONGEST).1, 100);
    }

    #[test]
    fn what_somebody_must_see_to_is_tried_seldom() {
        let mut link = LinkState::idle();
        assert!(link.failed(&Broken::lasting("password"), BACKOFF, 0).1 >= 500);
    }
}
