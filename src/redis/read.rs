//! Reading a key for its batch, and what is done when there is nothing to read.

use super::ctx::{Ctx, Text, must_not_replicate};
use super::module::Module;
use super::partial;
use super::value::{self, Found, Reading, Wanted, value};
use crate::core::batch::Batch;
use crate::core::change::Touch;
use crate::core::dirty::Taken;
use crate::core::engine::{Acknowledged, Engine, Missing, item};
use crate::core::value::{Content, NO_EXPIRY, Span};

/// How long a large value waits while another one is read.
const LATER_US: u64 = 10_000;

/// How long a key waits that could not be settled.
const UNSETTLED_US: u64 = 10_000;

/// And how long one that could not be read.
const UNREADABLE_US: u64 = 200_000;
const UNREADABLE: &str = "the server refuses to read a key for writing it to MongoDB, as a \
     cluster that is down does; it is tried again";

/// Reads the taken key, whose bytes are at `key` in the batch, and adds it to the batch, or
/// settles it when nothing is to be written. False when the key cannot be settled now and waits.
/// A large value is read until `end_us` only, and the rest of it in the turns that follow.
pub fn key(
    module: &Module,
    ctx: Ctx<'_>,
    batch: &mut Batch,
    taken: &Taken,
    key: Span,
    end_us: u64,
    clean: &mut Acknowledged,
) -> bool {
    let start = batch.bytes.len();
    let name = Text::new(&batch.bytes[key.range()]);
    let Reading { found, mut expire_ms, took_us } = match taken.touch {
        Touch::Captured => Reading { found: Found::Gone, expire_ms: NO_EXPIRY, took_us: 0 },
        _ => {
            let wanted = match wanted(module, batch, key, end_us) {
                Ok(wanted) => wanted,
                Err(rest_us) => return put_aside(module, batch, taken, key, rest_us),
            };
            value(module, ctx, &name, wanted, &mut batch.bytes)
        }
    };
    if took_us > 0 && !matches!(found, Found::Unfinished(_)) {
        let now_us = super::clock::now_us();
        let mut engine = module.engine.borrow_mut();
        engine.was_read(batch.registration.db, &batch.bytes[key.range()], took_us, now_us);
    }
    let content = match found {
        Found::Value(content) => content,
        Found::TooLarge => value::too_large(&mut batch.bytes),
        Found::Later => {
            let until_us = super::clock::now_us() + LATER_US;
            return put_aside(module, batch, taken, key, until_us);
        }
        Found::Unfinished(walk) => {
            partial::keep(module, batch, taken, key, walk, took_us);
            return true;
        }
        Found::Unwritable(reason) => {
            batch.bytes.extend_from_slice(reason.as_bytes());
            Content::Unwritable
        }
        Found::Unreadable => {
            let mut engine = module.engine.borrow_mut();
            engine.postpone(batch, taken, super::clock::now_us() + UNREADABLE_US);
            engine.note_error(Some(batch.slot), UNREADABLE);
            batch.bytes.truncate(key.start);
            return false;
        }
        Found::Gone | Found::Foreign => {
            let gone = matches!(found, Found::Gone);
            let mut engine = module.engine.borrow_mut();
            // The read itself may have let the key expire.
            let now_us = super::clock::now_us();
            engine.fold(now_us);
            if let Some(captured) = engine.captured(taken).filter(|_| gone) {
                batch.bytes.extend_from_slice(&captured.bytes);
                expire_ms = captured.expire_ms;
                captured.content
            } else {
                let touch = if gone { taken.touch } else { Touch::Deleted };
                let missing = Engine::on_missing(&batch.registration, touch);
                // During a pause keys do not expire and only look as if they had; and a key that
                // needs no write could not be acknowledged.
                let unsettled = missing == Missing::Keep && must_not_replicate();
                if unsettled {
                    engine.postpone(batch, taken, now_us + UNSETTLED_US);
                    batch.bytes.truncate(key.start);
                    return false;
                }
                if engine.changed_since(taken) {
                    engine.put_back(taken);
                    batch.bytes.truncate(key.start);
                    return false;
                }
                match missing {
                    Missing::Delete => Content::Tombstone,
                    Missing::Keep => {
                        engine.skip(batch.slot, &Taken { touch, ..*taken }, clean);
                        batch.bytes.truncate(key.start);
                        return true;
                    }
                }
            }
        }
    };
    let value = Span { start, end: batch.bytes.len() };
    batch.items.push(item(taken, key, content, value, expire_ms));
    true
}

/// What is wanted of the key, or until when it must rest.
fn wanted(module: &Module, batch: &Batch, key: Span, end_us: u64) -> Result<Wanted, u64> {
    let engine = module.engine.borrow();
    let (db, name) = (batch.registration.db, &batch.bytes[key.range()]);
    let not_before_us = engine.not_before_us(db, name);
    if not_before_us > 0 && not_before_us > super::clock::now_us() {
        return Err(not_before_us);
    }
    let end_us = if engine.is_restless(db, name) {
        Some(u64::MAX)
    } else if partial::is_under_way(module) {
        // There is room for one.
        None
    } else {
        Some(end_us)
    };
    Ok(Wanted { end_us, ..Wanted::of(&batch.registration) })
}

fn put_aside(module: &Module, batch: &mut Batch, taken: &Taken, key: Span, until_us: u64) -> bool {
    module.engine.borrow_mut().put_aside(batch, taken, until_us);
    batch.bytes.truncate(key.start);
    true
}
