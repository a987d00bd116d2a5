//! Who may send how much: the credits that the server holds, and the batches that the worker has.

/// Credits for batches of registrations that have nothing on their way. The server thread spends
/// the last credit on no other, so none has to wait for the end of what another one has sent.
const SPARE: u32 = 1;

/// Batches that are out: promised to the server as credits, waiting here, or on the wire.
///
/// A batch takes its credit along, so its arrival changes nothing; only its end does. Slow batches
/// have credits of their own.
#[derive(Debug, Default)]
pub struct Credits {
    usual: u32,
    slow: u32,
}

impl Credits {
    /// Credits to grant now, for usual and for slow batches, so that as many of each wait as may be
    /// on the wire: twice `allowed` in all, and one to spare. None while more than that are out,
    /// after fewer are allowed.
    pub fn grant(&mut self, allowed: u32) -> (u32, u32) {
        let most = allowed.saturating_mul(2) + SPARE;
        let usual = most.saturating_sub(self.usual);
        let slow = (most + SPARE).saturating_sub(self.slow);
        self.usual += usual;
        self.slow += slow;
        (usual, slow)
    }

    /// A batch has ended, and with it the credit it came for.
    pub fn ended(&mut self, slow: bool) {
        let out = self.of(slow);
        *out = out.saturating_sub(1);
    }

    /// A batch counts as slow now, or no more.
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
    fn a_batch_that_turns_out_to_be_slow_makes_room_for_a_usual_one() {
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
