use super::*;
use crate::core::delivery::batch::Link;
use crate::core::ids::{Db, RegistrationId};
use crate::core::now::Now;

const MINUTE: u64 = 60_000_000;

/// A change of `key` is refused at `now_us`.
fn refuse(backlog: &mut Backlog, key: &str, now_us: u64) {
    change(backlog, key, now_us);
    let flight = batch(backlog, u64::MAX).unwrap();
    let refusal = Refusal { index: 0, code: 121, reason: format!("{key} is bad") };
    let verdict =
        Verdict::Written(Written { refused: vec![refusal], sent_bytes: 9, ..Written::default() });
    done(backlog, flight, verdict, now_us);
}

/// A change of `key` is sent, with this outcome.
fn send(backlog: &mut Backlog, key: &str, verdict: Verdict, now_us: u64) {
    change(backlog, key, now_us);
    let flight = batch(backlog, u64::MAX).unwrap();
    done(backlog, flight, verdict, now_us);
}

fn written() -> Verdict {
    Verdict::Written(Written { refused: vec![], sent_bytes: 9, ..Written::default() })
}

type Line = (u64, String, Option<Result<(), String>>);

fn line(backlog: &mut Backlog, now_us: u64) -> Option<Line> {
    backlog.trouble_line(now_us).map(|line| (line.letters, line.reason, line.backoff))
}

#[test]
fn dead_letters_of_a_prefix_are_logged_once_a_minute_and_all_are_counted() {
    let mut backlog = backlog(&["a:", "b:"]);
    assert_eq!(line(&mut backlog, 5), None);
    refuse(&mut backlog, "a:1", 10);
    assert_eq!(line(&mut backlog, 10), Some((1, "a:1 is bad".to_owned(), None)));
    refuse(&mut backlog, "a:2", 20);
    refuse(&mut backlog, "a:3", 30);
    refuse(&mut backlog, "b:1", 40);
    assert_eq!(line(&mut backlog, 40), Some((1, "b:1 is bad".to_owned(), None)));
    assert_eq!((line(&mut backlog, 10 + MINUTE - 1), backlog.has_trouble_line(50)), (None, false));
    assert_eq!(line(&mut backlog, 10 + MINUTE), Some((2, "a:3 is bad".to_owned(), None)));
    assert_eq!(line(&mut backlog, 10 * MINUTE), None);
}

#[test]
fn the_begin_and_the_end_of_a_back_off_are_logged() {
    let mut backlog = backlog(&["a:"]);
    for now_us in [10, 20, 30] {
        send(&mut backlog, "a:1", returned(1), now_us);
    }
    assert_eq!(backlog.backing_off().count(), 1);
    let began = Some(Err("no server".to_owned()));
    assert_eq!(line(&mut backlog, 30), Some((0, String::new(), began)));
    send(&mut backlog, "a:1", returned(1), 2 * MINUTE);
    assert_eq!(line(&mut backlog, 2 * MINUTE), None);
    send(&mut backlog, "a:1", written(), 3 * MINUTE);
    assert_eq!(line(&mut backlog, 3 * MINUTE), Some((0, String::new(), Some(Ok(())))));
    assert_eq!((backlog.backing_off().count(), backlog.last_error()), (0, ""));
    send(&mut backlog, "a:1", returned(1), 3 * MINUTE + 1);
    send(&mut backlog, "a:1", written(), 3 * MINUTE + 2);
    assert_eq!(line(&mut backlog, 5 * MINUTE), None, "it began and ended within the minute");
}

#[test]
fn an_error_is_reported_as_long_as_it_delays_a_key() {
    let mut backlog = backlog(&["a:", "b:"]);
    refuse(&mut backlog, "b:1", 10);
    send(&mut backlog, "a:1", returned(1), 20);
    assert_eq!(
        (backlog.last_error(), backlog.error_of(RegistrationId(1))),
        ("no server", "b:1 is bad")
    );
    let link = |backlog: &mut Backlog, link| {
        backlog.report(
            Report::Link(link),
            Now { us: 30, unix_ms: 30 },
            &mut Acknowledged::default(),
        );
    };
    link(&mut backlog, Link::Down { error: "away".to_owned() });
    assert_eq!((backlog.last_error(), backlog.error_of(RegistrationId(0))), ("away", "away"));
    assert_eq!(
        backlog.error_of(RegistrationId(1)),
        "b:1 is bad",
        "none of its keys waits for the link"
    );
    link(&mut backlog, Link::Up);
    assert_eq!(backlog.last_error(), "away", "an answered ping alone proves nothing");
    backlog.pause(Some(RegistrationId(0)));
    let all_refused = vec![Refusal { index: 0, code: 0, reason: "unfit".to_owned() }];
    let unsent = Written { refused: all_refused, ..Written::default() };
    send(&mut backlog, "b:2", Verdict::Written(unsent), 40);
    assert_eq!(
        backlog.error_of(RegistrationId(0)),
        "away",
        "nor does a batch of which nothing was sent"
    );
    send(&mut backlog, "b:1", written(), 50);
    backlog.resume(Some(RegistrationId(0)));
    assert_eq!((backlog.last_error(), backlog.error_of(RegistrationId(0))), ("unfit", "no server"));
    assert_eq!(backlog.why_pending(FlushScope::Keys(Db(0), &[b"a:1"])), "no server");
    backlog.register(registration("a:"));
    assert_eq!(backlog.error_of(RegistrationId(0)), "", "new options end the back-off");
    assert_eq!(backlog.why_pending(FlushScope::All), "MongoDB has not acknowledged them yet");
    backlog.pause(Some(RegistrationId(0)));
    assert!(backlog.why_pending(FlushScope::Registration(RegistrationId(0))).contains("WB.RESUME"));
}
