//! Who may send how much: the credits that the server holds, and the batches that the worker has.

/// Batches that are out: promised to the server as credits, waiting here, or on the wire.
///
/// A batch takes its credit along, so its arrival changes nothing; only its end does.
#[derive(Debug, Default)]
pub struct Credits {
    out: u32,
}

impl Credits {
    /// Credits to grant now so that as many batches wait as may be on the wire: twice `allowed` in
    /// all. None while more than that are out, after fewer are allowed.
    pub fn grant(&mut self, allowed: u32) -> u32 {
        let grant = allowed.saturating_mul(2).saturating_sub(self.out);
        self.out += grant;
        grant
    }

    /// A batch has ended, and with it the credit it came for.
    pub fn ended(&mut self) {
        self.out = self.out.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_the_batches_in_flight_are_granted_once() {
        let mut credits = Credits::default();
        assert_eq!(credits.grant(2), 4);
        assert_eq!(credits.grant(2), 0);
    }

    #[test]
    fn an_ended_batch_gives_its_credit_back() {
        let mut credits = Credits::default();
        credits.grant(2);
        credits.ended();
        assert_eq!(credits.grant(2), 1);
    }

    #[test]
    fn a_raised_setting_grants_the_difference() {
        let mut credits = Credits::default();
        credits.grant(1);
        assert_eq!(credits.grant(3), 4);
    }

    #[test]
    fn a_lowered_setting_grants_nothing_until_enough_have_ended() {
        let mut credits = Credits::default();
        credits.grant(3);
        for _ in 0..4 {
            credits.ended();
            assert_eq!(credits.grant(1), 0);
        }
        credits.ended();
        assert_eq!(credits.grant(1), 1);
    }
}
