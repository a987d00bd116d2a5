//! Reading a key for its batch, and what is done when there is nothing to read.

use super::ctx::{Ctx, Text, must_not_replicate};
use super::module::Module;
use super::value::{Found, Wanted, value};
use crate::core::batch::Batch;
use crate::core::change::Touch;
use crate::core::dirty::Taken;
use crate::core::engine::{Acknowledged, Engine, Missing, item};
use crate::core::value::{Content, NO_EXPIRY, Span};

/// How long a key waits that could not be settled.
const UNSETTLED_US: u64 = 10_000;

/// And how long one that could not be read.
const UNREADABLE_US: u64 = 200_000;
const UNREADABLE: &str = "the server refuses to read a key for writing it to MongoDB, as a \
     cluster that is down does; it is tried again";

/// Reads the taken key, whose bytes are at `key` in the batch, and adds it to the batch, or
/// settles it when nothing is to be written. False when the key cannot be settled now and waits.
pub fn key(
    module: &Module,
    ctx: Ctx<'_>,
    batch: &mut Batch,
    taken: &Taken,
    key: Span,
    clean: &mut Acknowledged,
) -> bool {
    let start = batch.bytes.len();
    let name = Text::new(&batch.bytes[key.range()]);
    let wanted = Wanted::of(&batch.registration);
    let (found, mut expire_ms) = match taken.touch {
        Touch::Captured => (Found::Gone, NO_EXPIRY),
        _ => value(module, ctx, &name, wanted, &mut batch.bytes),
    };
    let content = match found {
        Found::Value(content) => content,
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
