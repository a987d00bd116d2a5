//! Stores values that came from MongoDB. Their events are no changes: see [`Pipeline::storing`].

use super::api::context::{Ctx, Text};
use super::api::run_command::{Ran, run, run_with_bytes};
use super::pipeline::Pipeline;
use crate::core::mapping::value::{Content, NO_EXPIRY, Strings};

/// Why a value was not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// The server does not take it; one sentence.
    Refused(String),
    /// Another node of the cluster has its slot.
    Elsewhere,
    /// The cluster is down.
    NotNow,
}

/// Stores a value as the key `name` of the selected database, which must not exist unless `exists`.
///
/// # Errors
/// If the server does not take it; the key does not exist then, unless the server runs no command for it.
pub fn store(
    pipeline: &Pipeline,
    ctx: Ctx<'_>,
    (name, exists): (&Text, bool),
    (content, value): (Content, &[u8]),
    expire_ms: i64,
) -> Result<(), NotStored> {
    let _storing = pipeline.storing.begin();
    if exists {
        ran(run(ctx, c"DEL", name, &[]), c"DEL")?;
    }
    let result = write(ctx, name, content, value).and_then(|()| expire(ctx, name, expire_ms));
    if result.is_err() {
        run(ctx, c"DEL", name, &[]);
    }
    result
}

fn expire(ctx: Ctx<'_>, name: &Text, expire_ms: i64) -> Result<(), NotStored> {
    if expire_ms == NO_EXPIRY {
        return Ok(());
    }
    let at = Text::new(expire_ms.to_string().as_bytes());
    ran(run(ctx, c"PEXPIREAT", name, &[at]), c"PEXPIREAT")
}

fn write(ctx: Ctx<'_>, name: &Text, content: Content, value: &[u8]) -> Result<(), NotStored> {
    let strings = || Strings::new(value).map(Text::new).collect::<Vec<Text>>();
    let (command, words) = match content {
        Content::String => return ran(run_with_bytes(ctx, c"SET", name, value), c"SET"),
        Content::Hash => (c"HSET", strings()),
        Content::Json => (c"JSON.SET", vec![Text::new(b"$"), Text::new(value)]),
        Content::List => (c"RPUSH", strings()),
        Content::Set => (c"SADD", strings()),
        Content::Zset => (c"ZADD", members(value)),
        Content::Stream => return entries(ctx, name, value),
        Content::Tombstone | Content::Unwritable => return Ok(()),
    };
    ran(run(ctx, command, name, &words), command)
}

fn ran(ran: Ran, command: &std::ffi::CStr) -> Result<(), NotStored> {
    let command = command.to_string_lossy();
    match ran {
        Ran::Done => Ok(()),
        // Its message may have a part of the value.
        Ran::Refused => {
            Err(NotStored::Refused(format!("the server's {command} does not take the value")))
        }
        Ran::Absent => Err(NotStored::Refused(format!("the server has no {command}"))),
        Ran::Elsewhere => Err(NotStored::Elsewhere),
        Ran::NotNow => Err(NotStored::NotNow),
    }
}

/// Scores and members, as ZADD takes them.
fn members(value: &[u8]) -> Vec<Text> {
    let (mut strings, mut words) = (Strings::new(value), Vec::new());
    while let Some(member) = strings.next() {
        let Some(score) = strings.array().map(f64::from_le_bytes) else { break };
        words.extend([Text::new(format!("{score:?}").as_bytes()), Text::new(member)]);
    }
    words
}

/// Adds the entries of a stream one by one.
fn entries(ctx: Ctx<'_>, name: &Text, value: &[u8]) -> Result<(), NotStored> {
    let mut strings = Strings::new(value);
    while !strings.is_empty() {
        let id =
            strings.array().map(u64::from_le_bytes).zip(strings.array().map(u64::from_le_bytes));
        let (Some((ms, sequence)), Some(count)) = (id, strings.array().map(u32::from_le_bytes))
        else {
            break;
        };
        let mut words = vec![Text::new(format!("{ms}-{sequence}").as_bytes())];
        words.extend(strings.by_ref().take(count as usize * 2).map(Text::new));
        ran(run(ctx, c"XADD", name, &words), c"XADD")?;
    }
    Ok(())
}
