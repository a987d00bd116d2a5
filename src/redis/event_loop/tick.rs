//! The two moments in a turn of the server's event loop at which the module works.
//!
//! Before the loop sleeps: changes are folded, finished batches are taken in, their keys
//! acknowledged and replicated, flushes answered. The server then writes the AOF and the
//! replies.
//!
//! After it slept: values of due keys are read and sent. At this moment everything that can be
//! read is in the AOF already (and on disk with `appendfsync always`), so MongoDB never gets a
//! value that Redis would not have after a crash of its own.

use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{dead_letter_retries, key_scan, slice};
use crate::core::backlog::{Acknowledged, Engine, Keys, TroubleLine};
use crate::core::delivery::batch::{Report, Verdict};
use crate::core::delivery::link_log::Line;
use crate::redis::api::context::{Ctx, NOT_NOW, PAUSED_US, Text, must_not_replicate};
use crate::redis::api::guard::guard;
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::api::{clock, log, wake};
use crate::redis::commands::{check, flush};
use crate::redis::read::{fill, large_value};
use crate::redis::retain::redis70::ttl;
use crate::redis::state;
use crate::redis::state::Module;
use crate::worker::Worker;

/// Keys in one replicated command.
const ACK_KEYS: usize = 512;
/// Keys that become clean between two looks at the clock.
const SETTLE_KEYS: usize = 128;
/// So many reports are put aside during a pause; then no more batches are sent.
const HELD: usize = 64;
/// Prefixes whose trouble is logged in one turn of the loop, at the most.
const LINES: usize = 8;
/// That `dirty-max-bytes` is reached is logged once in this time at most.
const LOG_EVERY_US: u64 = 60_000_000;
/// The loop is about to sleep.
pub fn before_sleep(ctx: Ctx<'_>) {
    let module = state::module();
    let began_us = clock::now_us();
    module.turn.ends(began_us);
    let synced = key_scan::step(module, ctx);
    let mut folded = fold(module, began_us);
    let early = ttl::step(module, ctx);
    // A look may have let keys expire.
    folded |= early && fold(module, began_us);
    let reported = take_reports(module, ctx) | settle_doubts(module, ctx);
    let worked = synced | early | reported | dead_letter_retries::retry(module, ctx);
    if folded || worked {
        plan(module);
    }
    if folded || worked || !module.blocked.borrow().is_empty() {
        flush::answer(module);
    }
    if worked {
        note_slice(module, began_us);
    }
    module.follow_need();
    log_link(&mut module.engine.borrow_mut());
    log_trouble(module, began_us);
    log_missed(module);
    // With more to do at once, the loop must not sleep.
    let flags = ctx.flags();
    let due_us = if flags & NOT_NOW == 0 {
        let at_once = has_reports(module) || key_scan::is_pending(module, ctx);
        let next_us = module.next_due_us.get().min(doubts_due_us(module));
        let next_us =
            next_us.min(module.blocked.borrow().next_us()).min(dead_letter_retries::due_us(module));
        if at_once { 0 } else { next_us.min(ttl::next_us(module)) }
    } else if flags & NOT_NOW == raw::REDISMODULE_CTX_FLAGS_SLAVE {
        ttl::next_us(module)
    } else {
        u64::MAX
    };
    if due_us < module.timer_us.get() {
        set_timer(module, ctx, due_us);
    }
}

/// Reports that can be taken in. An acknowledgement that cannot be replicated now must wait, and
/// its keys stay in flight; but the next batches may go, up to a limit.
fn has_reports(module: &Module) -> bool {
    let held = module.held.borrow().len();
    let worker = module.worker.borrow();
    let more = worker.as_ref().is_some_and(Worker::has_reports);
    if must_not_replicate() { more && held < HELD } else { more || held > 0 }
}

/// The loop has slept, and no command has run since.
pub fn after_sleep(ctx: Ctx<'_>) {
    let module = state::module();
    let now_us = clock::now_us();
    if module.next_due_us.get() > now_us || ctx.flags() & NOT_NOW != 0 {
        return module.turn.begins(now_us);
    }
    let clean = fill::send_due(module, ctx, now_us, slice::slice_us(module, now_us));
    replicate(ctx, &clean);
    plan(module);
    note_slice(module, now_us);
    module.turn.begins(clock::now_us());
}

/// Keeps the longest time that the server's thread was busy with us at a stretch.
fn note_slice(module: &Module, began_us: u64) {
    let took_us = clock::now_us() - began_us;
    let mut engine = module.engine.borrow_mut();
    engine.slice_max_us = engine.slice_max_us.max(took_us);
}

/// Works out anew when the next batch can begin.
pub fn plan(module: &Module) {
    large_value::drop_old(module);
    let mut engine = module.engine.borrow_mut();
    let reads_on = large_value::is_under_way(module) || fill::can_go_on(module, &engine);
    let due_us = if reads_on { Some(0) } else { engine.next_due_us() };
    module.next_due_us.set(due_us.unwrap_or(u64::MAX));
}

fn fold(module: &Module, now_us: u64) -> bool {
    let mut engine = module.engine.borrow_mut();
    if engine.has_log() {
        engine.fold(now_us);
    }
    engine.take_changed()
}

/// When keys must be made dirty again; during a pause, when to look again.
fn doubts_due_us(module: &Module) -> u64 {
    let due_us = module.engine.borrow().doubts_due_us().unwrap_or(u64::MAX);
    if due_us != u64::MAX && must_not_replicate() {
        return due_us.max(clock::now_us() + PAUSED_US);
    }
    due_us
}

/// Makes keys dirty again that must be written once more.
fn settle_doubts(module: &Module, ctx: Ctx<'_>) -> bool {
    let now_us = clock::now_us();
    if !module.engine.borrow().has_due_doubts(now_us) || must_not_replicate() {
        return false;
    }
    let marked = module.engine.borrow_mut().settle_doubts(now_us);
    for keys in marked.chunk_by(|a, b| a.0 == b.0) {
        let registration = {
            let engine = module.engine.borrow();
            keys.first().and_then(|(slot, _)| engine.slot(*slot)).map(|s| s.registration.clone())
        };
        let Some(registration) = registration else { continue };
        ctx.select(registration.db);
        let prefix = Text::new(&registration.prefix);
        for keys in keys.chunks(ACK_KEYS) {
            let words: Vec<Text> = keys.iter().map(|(_, key)| Text::new(key)).collect();
            ctx.replicate_with(c"WB._MARK", Some(&prefix), &words);
        }
    }
    true
}

/// Takes in what the worker reports, for one slice at most, and tells replicas and the AOF.
fn take_reports(module: &Module, ctx: Ctx<'_>) -> bool {
    if !has_reports(module) {
        return false;
    }
    let slice_us = slice::slice_us(module, clock::now_us());
    let hold = must_not_replicate();
    settle_reports(module, slice_us, hold, |clean| replicate(ctx, clean));
    let lanes = if hold { None } else { module.engine.borrow_mut().take_untold_lanes() };
    if let Some(lanes) = lanes {
        ctx.replicate(c"WB._LANES", &[Text::new(lanes.as_flattened())]);
    }
    true
}

/// Takes in reports for `slice_us` at most; with `hold`, acknowledgements are put aside. `tell` gets
/// what became of keys, a part at a time.
pub fn settle_reports(module: &Module, slice_us: u64, hold: bool, tell: impl Fn(&Acknowledged)) {
    if let Some(worker) = &*module.worker.borrow() {
        worker.begin_drain();
    }
    let mut clean = Acknowledged::default();
    let began_us = clock::now_us();
    let mut now_us = began_us;
    while now_us < began_us + slice_us && settle_report(module, hold, now_us, &mut clean) {
        if clean.len() >= ACK_KEYS {
            tell(&clean);
            clean.clear();
        }
        now_us = clock::now_us();
    }
    tell(&clean);
    log_link(&mut module.engine.borrow_mut());
}

/// Takes in the next report, or a part of it. False when there is none that can be.
fn settle_report(module: &Module, hold: bool, now_us: u64, clean: &mut Acknowledged) -> bool {
    let worker = module.worker.borrow();
    let Some(worker) = &*worker else { return false };
    let mut engine = module.engine.borrow_mut();
    let mut held = module.held.borrow_mut();
    let first = if hold { None } else { held.pop_front() };
    let Some(report) = first.or_else(|| worker.report()) else { return false };
    if let Report::Checked { id, found } = report {
        check::answer(module, id, *found);
    } else if hold && matches!(report, Report::Done { verdict: Verdict::Written(_), .. }) {
        held.push_back(report);
    } else if let Some(rest) =
        engine.report_part(report, SETTLE_KEYS, (now_us, clock::unix_ms()), clean)
    {
        held.push_front(rest);
    }
    !hold || held.len() < HELD
}

/// Logs when `dirty-max-bytes` is reached, but not every time.
fn log_missed(module: &Module) {
    static LAST_US: AtomicU64 = AtomicU64::new(0);
    let rescans = module.engine.borrow().rescans_len();
    if rescans <= module.rescans.replace(rescans) {
        return;
    }
    let now_us = clock::now_us();
    if now_us.saturating_sub(LAST_US.load(Ordering::Relaxed)) >= LOG_EVERY_US {
        LAST_US.store(now_us, Ordering::Relaxed);
        log::warning(
            "dirty-max-bytes is reached: from now on changes are found by a scan of their prefix \
             when MongoDB is back",
        );
    }
}

/// Logs how the link stands, when the log does not know.
fn log_link(engine: &mut Engine) {
    if !engine.link.is_untold() {
        return;
    }
    match engine.link.line(clock::now_us()) {
        Some(Line::Down { error }) => {
            log::warning(&format!("MongoDB is not reached, writes are kept: {error}"));
        }
        Some(Line::Reached { after_ms: None }) => log::notice("MongoDB is reached"),
        Some(Line::Reached { after_ms: Some(ms) }) => {
            let (seconds, ms) = (ms / 1000, ms % 1000);
            log::notice(&format!("MongoDB is reached again, after {seconds}.{ms:03} seconds"));
        }
        None => {}
    }
}

/// Logs dead letters and namespaces that refuse.
fn log_trouble(module: &Module, now_us: u64) {
    for _ in 0..LINES {
        let mut engine = module.engine.borrow_mut();
        let Some(line) = engine.trouble_line(now_us) else { return };
        drop(engine);
        let TroubleLine { registration, letters, reason, rest } = line;
        let prefix = String::from_utf8_lossy(&registration.prefix);
        let of = format!("prefix '{prefix}' of database {}", registration.db);
        match rest {
            Some(Err(why)) => log::warning(&format!("{of} is not written and rests: {why}")),
            Some(Ok(())) => log::notice(&format!("{of} is written again")),
            None => {}
        }
        if letters > 0 {
            log::warning(&format!(
                "{letters} changes of {of} are dead letters now, see WB.DEADLETTER LIST; the last \
                 one: {reason}"
            ));
        }
    }
}

/// Tells replicas and the AOF which keys are clean, and what was refused.
pub fn replicate(ctx: Ctx<'_>, clean: &Acknowledged) {
    replicate_keys(ctx, c"WB._ACK", &clean.keys);
    for refused in &clean.dead {
        ctx.select(refused.db);
        let letter = &refused.letter;
        let number = |number: u64| Text::new(number.to_string().as_bytes());
        ctx.replicate(
            c"WB._DEAD",
            &[
                Text::new(&refused.key),
                Text::new(&refused.prefix),
                Text::new(letter.code.to_string().as_bytes()),
                number(u64::from(letter.attempts)),
                number(letter.unix_ms),
                Text::new(if refused.again { b"dirty" } else { b"clean" }),
                Text::new(letter.reason.as_bytes()),
            ],
        );
    }
    for (db, key) in &clean.revived {
        ctx.select(*db);
        let words = [Text::new(b"DROP"), Text::new(b"KEY"), Text::new(key)];
        ctx.replicate(c"WB.DEADLETTER", &words);
    }
}

fn replicate_keys(ctx: Ctx<'_>, command: &CStr, keys: &Keys) {
    let mut words: Vec<Text> = Vec::with_capacity(keys.len().min(ACK_KEYS));
    let mut selected = None;
    for (db, key) in keys.iter() {
        if selected != Some(db) || words.len() == ACK_KEYS {
            replicate_words(ctx, command, &mut words);
            ctx.select(db);
            selected = Some(db);
        }
        words.push(Text::new(key));
    }
    replicate_words(ctx, command, &mut words);
}

fn replicate_words(ctx: Ctx<'_>, command: &CStr, words: &mut Vec<Text>) {
    if !words.is_empty() {
        ctx.replicate(command, words);
        words.clear();
    }
}

/// Makes the loop turn at `due_us`, so that [`after_sleep`] comes in time.
fn set_timer(module: &Module, ctx: Ctx<'_>, due_us: u64) {
    extern "C" fn fired(_: *mut raw::RedisModuleCtx, _: *mut c_void) {
        guard((), || crate::redis::state::module().timer_us.set(u64::MAX));
    }
    let wait_us = due_us.saturating_sub(clock::now_us());
    // A day at most, so that the sum inside the server cannot overflow.
    let wait_ms = wait_us.div_ceil(1000).min(86_400_000);
    // SAFETY: the context is that of a running callback; the timer's callback is ours and takes
    // no argument. A timer that has fired already is not found, and that is all.
    let timer = unsafe {
        if module.timer_us.get() != u64::MAX {
            api!(RedisModule_StopTimer)(ctx.raw(), module.timer.get(), std::ptr::null_mut());
        }
        api!(RedisModule_CreateTimer)(
            ctx.raw(),
            wait_ms as raw::mstime_t,
            Some(fired),
            std::ptr::null_mut(),
        )
    };
    module.timer.set(timer);
    module.timer_us.set(due_us);
    // Redis 7.0 has decided already how long it sleeps, without this timer: 1 / hz at the worst. The
    // next turn counts it in.
    if module.early.borrow().is_some() {
        wake::server();
    }
}
