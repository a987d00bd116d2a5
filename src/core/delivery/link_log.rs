//! The link to MongoDB as an operator sees it: its state, since when, and what is logged about it.

use super::batch::Link;
use crate::core::now::Now;

/// Each kind of line is logged at most once in this time, microseconds.
const LOG_EVERY_US: u64 = 60_000_000;

/// A line to be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkLine {
    /// MongoDB is unreachable.
    Down {
        /// Why, in one sentence.
        error: String,
    },
    /// MongoDB is reachable.
    Reached {
        /// How long it was unreachable, milliseconds; `None` for the first connection.
        after_ms: Option<u64>,
    },
}

/// The link's state and its history.
#[derive(Debug, Default)]
pub struct LinkWatch {
    state: Option<Link>,
    since_unix_ms: u64,
    /// When the last outage began.
    down_us: u64,
    /// Duration of all outages that have ended, microseconds.
    past_down_us: u64,
    /// Duration of the last outage that has ended, milliseconds.
    outage_ms: Option<u64>,
    /// The state that was logged last, `up` or `down`; empty if none was.
    logged: &'static str,
    logged_up_us: Option<u64>,
    logged_down_us: Option<u64>,
}

impl LinkWatch {
    /// Records a state that the worker reports.
    pub fn change(&mut self, link: Link, now: Now) {
        let before = self.name();
        self.state = Some(link);
        let after = self.name();
        if before == after {
            return;
        }
        self.since_unix_ms = if after == "idle" { 0 } else { now.unix_ms };
        if before == "down" {
            let outage_us = now.us.saturating_sub(self.down_us);
            self.past_down_us += outage_us;
            self.outage_ms = Some(outage_us / 1000);
        }
        if after == "down" {
            self.down_us = now.us;
        }
    }

    /// `idle`, `up` or `down`.
    pub fn name(&self) -> &'static str {
        match &self.state {
            None | Some(Link::Idle) => "idle",
            Some(Link::Up) => "up",
            Some(Link::Down { .. }) => "down",
        }
    }

    /// Why it is down; empty if it is not.
    pub fn error(&self) -> &str {
        match &self.state {
            Some(Link::Down { error }) => error,
            _ => "",
        }
    }

    /// Since when it is in this state, milliseconds since 1970; 0 while idle.
    pub fn since_unix_ms(&self) -> u64 {
        self.since_unix_ms
    }

    /// For how long the link was down since the module was loaded, milliseconds.
    pub fn down_ms(&self, now_us: u64) -> u64 {
        let current_us = match self.name() {
            "down" => now_us.saturating_sub(self.down_us),
            _ => 0,
        };
        (self.past_down_us + current_us) / 1000
    }

    /// True if the current state was not logged yet. `idle` is never logged.
    pub fn is_unlogged(&self) -> bool {
        self.name() != self.logged && self.name() != "idle"
    }

    /// The line to log now. A link that flaps is logged once a minute, and its final state is always
    /// logged.
    pub fn line(&mut self, now_us: u64) -> Option<LinkLine> {
        if !self.is_unlogged() {
            return None;
        }
        let is_down = self.name() == "down";
        let last_us = if is_down { &mut self.logged_down_us } else { &mut self.logged_up_us };
        if last_us.is_some_and(|last_us| now_us.saturating_sub(last_us) < LOG_EVERY_US) {
            return None;
        }
        *last_us = Some(now_us);
        self.logged = self.name();
        Some(match is_down {
            true => LinkLine::Down { error: self.error().to_owned() },
            false => LinkLine::Reached { after_ms: self.outage_ms },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn down(error: &str) -> Link {
        Link::Down { error: error.to_owned() }
    }

    #[test]
    fn it_reports_its_state_and_since_when() {
        let mut watch = LinkWatch::default();
        assert_eq!((watch.name(), watch.since_unix_ms()), ("idle", 0));
        watch.change(down("no server"), Now { us: 1, unix_ms: 70 });
        watch.change(down("refused"), Now { us: 2, unix_ms: 80 });
        assert_eq!((watch.name(), watch.error(), watch.since_unix_ms()), ("down", "refused", 70));
        watch.change(Link::Up, Now { us: 3, unix_ms: 90 });
        assert_eq!((watch.name(), watch.error(), watch.since_unix_ms()), ("up", "", 90));
        watch.change(Link::Idle, Now { us: 4, unix_ms: 100 });
        assert_eq!((watch.name(), watch.since_unix_ms()), ("idle", 0));
    }

    #[test]
    fn the_time_of_all_outages_is_added_up() {
        let mut watch = LinkWatch::default();
        let at = |ms: u64| Now { us: ms * 1000, unix_ms: 0 };
        watch.change(Link::Up, at(10));
        assert_eq!(watch.down_ms(20_000), 0);
        watch.change(down("no server"), at(20));
        watch.change(down("refused"), at(25));
        assert_eq!(watch.down_ms(30_000), 10);
        watch.change(Link::Up, at(40));
        assert_eq!(watch.down_ms(90_000), 20);
        watch.change(down("no server"), at(100));
        watch.change(Link::Idle, at(103));
        assert_eq!(watch.down_ms(900_000), 23);
    }

    #[test]
    fn the_reason_and_the_duration_of_an_outage_are_logged() {
        let mut watch = LinkWatch::default();
        assert_eq!(watch.line(0), None);
        watch.change(Link::Up, Now { us: SECOND, unix_ms: 1 });
        assert_eq!(watch.line(SECOND), Some(LinkLine::Reached { after_ms: None }));
        assert_eq!(watch.line(SECOND), None);
        watch.change(down("no server"), Now { us: 2 * SECOND, unix_ms: 2 });
        assert_eq!(watch.line(2 * SECOND), Some(LinkLine::Down { error: "no server".to_owned() }));
        watch.change(Link::Up, Now { us: 100 * SECOND, unix_ms: 3 });
        assert_eq!(watch.line(100 * SECOND), Some(LinkLine::Reached { after_ms: Some(98_000) }));
    }

    #[test]
    fn a_flapping_link_is_logged_once_a_minute_and_its_final_state_always() {
        let mut watch = LinkWatch::default();
        let mut lines = Vec::new();
        for second in 0..=120 {
            let link = if second % 2 == 0 { down("flaps") } else { Link::Up };
            watch.change(link, Now { us: second * SECOND, unix_ms: second });
            lines.extend(watch.line(second * SECOND).map(|line| (second, line)));
        }
        let of = |seconds: &[u64]| lines.iter().filter(|(s, _)| seconds.contains(s)).count();
        assert_eq!((lines.len(), of(&[0, 1, 60, 61, 120])), (5, 5), "{lines:?}");
        watch.change(Link::Up, Now { us: 120 * SECOND, unix_ms: 1 });
        assert_eq!(watch.line(120 * SECOND), None, "it was logged last at 61 s");
        assert!(watch.is_unlogged());
        assert_eq!(watch.line(121 * SECOND), Some(LinkLine::Reached { after_ms: Some(0) }));
    }
}
