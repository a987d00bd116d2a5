//! A slice of reading: due keys are read into batches, which are sent when they are full or nothing
//! more is due. When the time is up before, a batch is held until the next turn of the loop, so that
//! short slices make no small batches.

use super::batch_reader::Reader;
use super::large_value;
use crate::core::backlog::{Acknowledged, Engine, Flight};
use crate::core::delivery::batch::Batch;
use crate::redis::api::clock;
use crate::redis::api::context::Ctx;
use crate::redis::event_loop::slice;
use crate::redis::state::Module;

/// The clock is looked at once for so many keys.
const CLOCK_KEYS: usize = 16;
/// And whenever so many bytes were read.
const CLOCK_BYTES: usize = 16 * 1024;

/// Reads due keys for `slice_us` and sends them. Returns those that needed no write.
pub fn send_due(module: &Module, ctx: Ctx<'_>, now_us: u64, slice_us: u64) -> Acknowledged {
    let mut clean = Acknowledged::default();
    // One value may take longer than the slice.
    let value_us = now_us + slice::longest_us(module).max(slice_us);
    let end_us = now_us + slice_us;
    // A large value has half of that time, and what the others leave.
    large_value::step(module, ctx, now_us + (value_us - now_us) / 2);
    let mut in_time = true;
    while in_time {
        let Some(mut batch) = next_batch(module, now_us) else { break };
        ctx.select(batch.registration.db);
        let mut reader = Reader::new(module, ctx, &mut batch, value_us, &mut clean);
        let added = reader.batch.items.len();
        in_time = fill(module, &mut reader, now_us, end_us);
        reader.finish();
        if !batch.items.is_empty() && !in_time {
            module.engine.borrow_mut().holds(&batch, added);
            module.held_batch.replace(Some(batch));
            break;
        }
        module.engine.borrow_mut().lets_go();
        if batch.items.is_empty() {
            module.engine.borrow_mut().recycle(batch);
        } else if !send(module, batch) {
            break;
        }
    }
    if in_time {
        large_value::step(module, ctx, value_us);
    }
    clean
}

/// The batch that was held, or else a new one.
fn next_batch(module: &Module, now_us: u64) -> Option<Batch> {
    let mut engine = module.engine.borrow_mut();
    let Some(held) = module.held_batch.take() else { return engine.begin_batch(now_us) };
    if !engine.is_of_now(&held) {
        engine.recycle(held);
        return engine.begin_batch(now_us);
    }
    if !engine.may_send_batch(&held) {
        engine.lets_go();
        engine.unsent(held);
        return None;
    }
    Some(held)
}

/// True if a batch waits to be filled, and the worker will take it.
pub fn can_go_on(module: &Module, engine: &Engine) -> bool {
    let held = module.held_batch.borrow();
    held.as_ref().is_some_and(|held| engine.may_send_batch(held))
}

/// Reads keys into a batch until it is full or nothing is due; false when time is up.
fn fill(module: &Module, reader: &mut Reader<'_>, now_us: u64, end_us: u64) -> bool {
    let mut looked_at = reader.batch.bytes.len();
    for count in 1usize.. {
        // The borrow ends with the statement: reading calls into the server.
        let taken = module.engine.borrow_mut().take(reader.batch, now_us);
        let Some((taken, key)) = taken else { break };
        if !reader.key(&taken, key) {
            break;
        }
        let bytes = reader.batch.bytes.len();
        if bytes >= looked_at + CLOCK_BYTES || count.is_multiple_of(CLOCK_KEYS) {
            looked_at = bytes;
            if clock::now_us() >= end_us {
                return false;
            }
        }
    }
    true
}

/// Hands a batch to the worker. False when that takes none, although there was a credit for it: it
/// has ended.
pub fn send(module: &Module, batch: Batch) -> bool {
    let worker = module.worker.borrow();
    let mut engine = module.engine.borrow_mut();
    let Some(worker) = &*worker else {
        engine.unsent(batch);
        return false;
    };
    let flight = Flight::of(&batch);
    engine.sending(&batch);
    match worker.send(batch) {
        Ok(()) => {
            engine.sent(flight);
            true
        }
        Err(batch) => {
            engine.unsent(batch);
            engine.lose_credits();
            false
        }
    }
}
