//! The credits: how many batches the server thread may send, and how many the worker has.

/// Credits for batches of registrations without a batch in flight. The server thread spends the
/// last credit on no other, so no registration has to wait for the batches of another one.
const SPARE: u32 = 1;

/// Outstanding batches: granted to the server thread as credits, queued here, or in flight.
///
/// A batch carries its credit, so only its end changes the count, not its arrival. Slow batches
/// have credits of their own.
#[derive(Debug, Default)]
pub struct Credits {
    usual: u32,
    slow: u32,
}

impl Credits {
    /// Credits to grant now, for usual and for slow batches, so that as many of each are queued as
    /// may be in flight: twice `allowed` in all, and a spare one. None while more than that are
    /// outstanding, after `allowed` was lowered.
    pub fn grant(&mut self, allowed: u32) -> (u32, u32) {
        let target = allowed.saturating_mul(2) + SPARE;
        let usual = target.saturating_sub(self.usual);
        let slow = (target + SPARE).saturating_sub(self.slow);
        self.usual += usual;
        self.slow += slow;
        (usual, slow)
    }

    /// A batch has ended, and its credit with it.
    pub fn ended(&mut self, slow: bool) {
        let outstanding = self.of(slow);
        *outstanding = outstanding.saturating_sub(1);
    }

    /// A batch now counts as slow, or no longer.
    pub fn moved(&mut self, from_slow: bool, to_slow: bool) {
        self.ended(from_slow);
        *self.of(to_slow) += 1;
    }

    fn of(&mut self, slow: bool) -> &mut u32 {
        if slow { &mut self.slow } else { &mut self.usual }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_the_batches_in_flight_and_one_to_spare_are_granted_once() {
        let mut credits = Credits::default();
        assert_eq!(credits.grant(2), (5, 6));
        assert_eq!(credits.grant(2), (0, 0));
    }

    #[test]
    fn an_ended_batch_gives_its_credit_back() {
        let mut credits = Credits::default();
        credits.grant(2);
        credits.ended(false);
        assert_eq!(credits.grant(2), (1, 0));
        credits.ended(true);
        assert_eq!(credits.grant(2), (0, 1));
    }

    #[test]
    fn a_batch_that_becomes_slow_frees_a_credit_for_a_usual_one() {
        let mut credits = Credits::default();
        credits.grant(2);
        credits.moved(false, true);
        assert_eq!(credits.grant(2), (1, 0));
        credits.ended(true);
        assert_eq!(credits.grant(2), (0, 0), "there was one slow batch too many");
    }

    #[test]
    fn a_raised_setting_grants_the_difference() {
        let mut credits = Credits::default();
        credits.grant(1);
        assert_eq!(credits.grant(3), (4, 4));
    }

    #[test]
    fn a_lowered_setting_grants_nothing_until_enough_have_ended() {
        let mut credits = Credits::default();
        credits.grant(3);
        for _ in 0..4 {
            credits.ended(false);
            assert_eq!(credits.grant(1), (0, 0));
        }
        credits.ended(false);
        assert_eq!(credits.grant(1), (1, 0));
    }
}
