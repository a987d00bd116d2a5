use super::*;
use crate::core::delivery::batch::Link;

const MINUTE: u64 = 60_000_000;

/// A change of `key` is refused at that time.
fn refuse(engine: &mut Engine, key: &str, now_us: u64) {
    touch(engine, key, now_us);
    let flight = batch(engine, u64::MAX).unwrap();
    let refusal = Refusal { index: 0, code: 121, reason: format!("{key} is bad") };
    let verdict =
        Verdict::Written(Written { refused: vec![refusal], sent_bytes: 9, ..Written::default() });
    done(engine, flight, verdict, now_us);
}

/// A change of `key` comes back, or is written.
fn send(engine: &mut Engine, key: &str, verdict: Verdict, now_us: u64) {
    touch(engine, key, now_us);
    let flight = batch(engine, u64::MAX).unwrap();
    done(engine, flight, verdict, now_us);
}

fn written() -> Verdict {
    Verdict::Written(Written { refused: vec![], sent_bytes: 9, ..Written::default() })
}

type Line = (u64, String, Option<Result<(), String>>);

fn line(engine: &mut Engine, now_us: u64) -> Option<Line> {
    engine.trouble_line(now_us).map(|line| (line.letters, line.reason, line.rest))
}

#[test]
fn dead_letters_of_a_prefix_are_logged_once_a_minute_and_all_are_counted() {
    let mut engine = engine(&["a:", "b:"]);
    assert_eq!(line(&mut engine, 5), None);
    refuse(&mut engine, "a:1", 10);
    assert_eq!(line(&mut engine, 10), Some((1, "a:1 is bad".to_owned(), None)));
    refuse(&mut engine, "a:2", 20);
    refuse(&mut engine, "a:3", 30);
    refuse(&mut engine, "b:1", 40);
    assert_eq!(line(&mut engine, 40), Some((1, "b:1 is bad".to_owned(), None)));
    assert_eq!((line(&mut engine, 10 + MINUTE - 1), engine.has_trouble_line(50)), (None, false));
    assert_eq!(line(&mut engine, 10 + MINUTE), Some((2, "a:3 is bad".to_owned(), None)));
    assert_eq!(line(&mut engine, 10 * MINUTE), None);
}

#[test]
fn a_rest_is_logged_when_it_begins_and_ends_and_not_in_between() {
    let mut engine = engine(&["a:"]);
    for now_us in [10, 20, 30] {
        send(&mut engine, "a:1", returned(1), now_us);
    }
    assert_eq!(engine.resting().count(), 1);
    let began = Some(Err("no server".to_owned()));
    assert_eq!(line(&mut engine, 30), Some((0, String::new(), began)));
    send(&mut engine, "a:1", returned(1), 2 * MINUTE);
    assert_eq!(line(&mut engine, 2 * MINUTE), None);
    send(&mut engine, "a:1", written(), 3 * MINUTE);
    assert_eq!(line(&mut engine, 3 * MINUTE), Some((0, String::new(), Some(Ok(())))));
    assert_eq!((engine.resting().count(), engine.last_error()), (0, ""));
    send(&mut engine, "a:1", returned(1), 3 * MINUTE + 1);
    send(&mut engine, "a:1", written(), 3 * MINUTE + 2);
    assert_eq!(line(&mut engine, 5 * MINUTE), None, "it began and ended within the minute");
}

#[test]
fn an_error_is_shown_while_it_holds_something_up() {
    let mut engine = engine(&["a:", "b:"]);
    refuse(&mut engine, "b:1", 10);
    send(&mut engine, "a:1", returned(1), 20);
    assert_eq!((engine.last_error(), engine.error_of(1)), ("no server", "b:1 is bad"));
    let link = |engine: &mut Engine, link| {
        engine.report(Report::Link(link), 30, 30, &mut Acknowledged::default());
    };
    link(&mut engine, Link::Down { error: "away".to_owned() });
    assert_eq!((engine.last_error(), engine.error_of(0)), ("away", "away"));
    assert_eq!(engine.error_of(1), "b:1 is bad", "nothing of it waits for the link");
    link(&mut engine, Link::Up);
    assert_eq!(engine.last_error(), "away", "an answered ping alone proves nothing");
    engine.pause(Some(0));
    let all_refused = vec![Refusal { index: 0, code: 0, reason: "unfit".to_owned() }];
    let unsent = Written { refused: all_refused, ..Written::default() };
    send(&mut engine, "b:2", Verdict::Written(unsent), 40);
    assert_eq!(engine.error_of(0), "away", "nor does a batch of which nothing was sent");
    send(&mut engine, "b:1", written(), 50);
    engine.resume(Some(0));
    assert_eq!((engine.last_error(), engine.error_of(0)), ("unfit", "no server"));
    assert_eq!(engine.why_pending(FlushScope::Keys(0, &[b"a:1"])), "no server");
    engine.register(registration("a:"));
    assert_eq!(engine.error_of(0), "", "new options get a new chance");
    assert_eq!(engine.why_pending(FlushScope::All), "MongoDB has not acknowledged them yet");
    engine.pause(Some(0));
    assert!(engine.why_pending(FlushScope::Slot(0)).contains("WB.RESUME"));
}
