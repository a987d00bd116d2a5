//! The reply to COMMAND, in RESP2, as a table.

use std::rc::Rc;

use super::key_flags::{
    ACCESS, DELETE, INCOMPLETE, INSERT, NOT_KEY, OW, RM, RO, RW, UPDATE, VARIABLE,
};
use super::{Access, Command, CommandTable, Form, KeyRange, Keys, LONGEST, Named};
use crate::core::resp::{Part, parts};

/// Commands whose keys are not looked up in MongoDB: they move keys to other servers, or watch them.
const LEFT_OUT: [&[u8]; 2] = [b"migrate", b"restore-asking"];
/// Commands that change how a client is served.
const CLIENT: [&[u8]; 4] = [b"client", b"subscribe", b"psubscribe", b"ssubscribe"];
/// Commands of this module.
const OWN: &[u8] = b"wb.";

/// The table of the commands that a server reports; `None` if the reply is damaged.
pub fn parse(reply: &[u8]) -> Option<CommandTable> {
    let parts = parts(reply)?;
    let mut reader = Reader { parts: &parts };
    let commands = reader.array()?;
    let mut entries = Vec::new();
    for _ in 0..commands {
        let Reported { name, command, subcommands } = reported(&mut reader)?;
        let named = match (command, subcommands) {
            _ if name == b"select" => Named::Select,
            _ if CLIENT.contains(&name.as_slice()) => Named::Client,
            (_, subcommands) if !subcommands.is_empty() => Named::Container(subcommands),
            (Some(command), _) => Named::Command(command),
            (None, _) => continue,
        };
        if name.len() <= LONGEST && !name.starts_with(OWN) && !LEFT_OUT.contains(&name.as_slice()) {
            entries.push((name.into(), named));
        }
    }
    Some(CommandTable::new(entries))
}

/// The parts that are not read yet.
struct Reader<'p, 'a> {
    parts: &'p [Part<'a>],
}

impl<'a> Reader<'_, 'a> {
    fn next(&mut self) -> Option<&Part<'a>> {
        let (next, rest) = self.parts.split_first()?;
        self.parts = rest;
        Some(next)
    }

    /// The number of elements of an array, which follow.
    fn array(&mut self) -> Option<usize> {
        match self.next()? {
            Part::Array(len) => Some(*len),
            Part::Null => Some(0),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        match self.next()? {
            Part::Simple(text) | Part::Bytes(text) => Some(text),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<i64> {
        match self.next()? {
            Part::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// Skips a part with all that it contains.
    fn skip(&mut self) -> Option<()> {
        let mut left = 1;
        while left > 0 {
            left -= 1;
            match self.next()? {
                Part::Array(len) => left += len,
                Part::Map(pairs) => left += 2 * pairs,
                _ => {}
            }
        }
        Some(())
    }

    fn texts(&mut self) -> Option<Vec<&'a [u8]>> {
        let len = self.array()?;
        (0..len).map(|_| self.text()).collect()
    }
}

struct Reported {
    name: Vec<u8>,
    /// Nothing if it has no keys, or does nothing with them.
    command: Option<Command>,
    subcommands: Vec<(Box<[u8]>, Command)>,
}

/// Reads the next command with its subcommands.
fn reported(reader: &mut Reader<'_, '_>) -> Option<Reported> {
    let fields = reader.array()?;
    let name = reader.text()?.to_ascii_lowercase();
    let arity = i32::try_from(reader.number()?).ok()?;
    let flags = reader.texts()?;
    // First, last, step, categories, tips.
    (0..5).try_for_each(|_| reader.skip())?;
    let count = reader.array()?;
    let mut specs = Vec::new();
    for _ in 0..count {
        specs.push(spec(reader)?);
    }
    let count = reader.array()?;
    let mut subcommands = Vec::new();
    for _ in 0..count {
        let Reported { name, command, .. } = reported(reader)?;
        let own = name.split(|byte| *byte == b'|').next_back().unwrap_or_default();
        subcommands.extend(command.map(|command| (own.into(), command)));
    }
    (10..fields).try_for_each(|_| reader.skip())?;
    let command = command(&name, arity, &flags, &specs);
    Some(Reported { name, command, subcommands })
}

/// Where a key specification says that keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Range {
        first: u16,
        last: i16,
        step: u16,
    },
    /// After their number.
    Counted,
    Other,
}

#[derive(Clone, Copy, Debug)]
struct Spec {
    flags: u32,
    place: Place,
}

fn spec(reader: &mut Reader<'_, '_>) -> Option<Spec> {
    let (mut flags, mut begin, mut place) = (0, None, Place::Other);
    let pairs = reader.array()? / 2;
    for _ in 0..pairs {
        match reader.text()? {
            b"flags" => flags = reader.texts()?.into_iter().map(flag).fold(0, |all, one| all | one),
            b"begin_search" => {
                let (kind, numbers) = search(reader)?;
                begin = numbers.first().filter(|_| kind == b"index").copied();
            }
            b"find_keys" => {
                let (kind, numbers) = search(reader)?;
                place = match (kind, begin, numbers.as_slice()) {
                    (b"range", Some(first), [last, step, limit]) if *limit <= 1 => Place::Range {
                        first: u16::try_from(first).ok()?,
                        last: i16::try_from(*last).ok()?,
                        step: u16::try_from(*step).ok()?.max(1),
                    },
                    (b"keynum", ..) => Place::Counted,
                    _ => Place::Other,
                };
            }
            _ => reader.skip()?,
        }
    }
    Some(Spec { flags, place })
}

/// A part of a specification: its type, and the numbers in it, in their order.
fn search<'a>(reader: &mut Reader<'_, 'a>) -> Option<(&'a [u8], Vec<i64>)> {
    let (mut kind, mut numbers) = (&b""[..], Vec::new());
    let pairs = reader.array()? / 2;
    for _ in 0..pairs {
        match reader.text()? {
            b"type" => kind = reader.text()?,
            b"spec" => {
                let pairs = reader.array()? / 2;
                for _ in 0..pairs {
                    reader.skip()?;
                    match reader.next()? {
                        Part::Integer(number) => numbers.push(*number),
                        Part::Simple(_) | Part::Bytes(_) | Part::Null => {}
                        _ => return None,
                    }
                }
            }
            _ => reader.skip()?,
        }
    }
    Some((kind, numbers))
}

fn flag(name: &[u8]) -> u32 {
    match name {
        b"RO" => RO,
        b"RW" => RW,
        b"OW" => OW,
        b"RM" => RM,
        b"access" => ACCESS,
        b"update" => UPDATE,
        b"insert" => INSERT,
        b"delete" => DELETE,
        b"not_key" => NOT_KEY,
        b"incomplete" => INCOMPLETE,
        b"variable_flags" => VARIABLE,
        _ => 0,
    }
}

fn command(name: &[u8], arity: i32, flags: &[&[u8]], specs: &[Spec]) -> Option<Command> {
    let has = |flag: &[u8]| flags.contains(&flag);
    let is_movable = has(b"movablekeys");
    let specs: Vec<&Spec> = specs.iter().filter(|spec| spec.flags & NOT_KEY == 0).collect();
    if specs.is_empty() && !is_movable {
        return None;
    }
    let changes = |spec: &&Spec| spec.flags & (RW | OW | RM) != 0;
    let access = match () {
        // A module's command may say nothing of what it does with its keys.
        () if has(b"readonly") && (has(b"module") || !specs.iter().any(changes)) => Access::Read,
        () if has(b"write") && has(b"denyoom") => Access::WriteIfMemory,
        () if has(b"readonly") => Access::ReadAndReplicate,
        () if has(b"write") => Access::Write,
        // Scripts have neither flag.
        () if specs.iter().any(|spec| spec.place == Place::Counted) => Access::Unknown,
        () => return None,
    };
    // What it overwrites, it must not find, without REPLACE.
    let inserts = if name == b"restore" { INSERT } else { 0 };
    let form = match name {
        b"set" => Form::Set,
        b"restore" => Form::Restore,
        b"json.set" => Form::JsonSet,
        b"xread" => Form::XRead,
        _ if has(b"blocking") => Form::Blocking,
        _ => Form::Usual,
    };
    let ranges = specs.iter().map(|spec| match spec.place {
        Place::Range { first, last, step } => {
            Some(KeyRange { first, last, step, flags: spec.flags | inserts })
        }
        _ => None,
    });
    let ranges: Option<Rc<[KeyRange]>> = ranges.collect();
    let keys = match ranges {
        Some(ranges) if !is_movable => Keys::At(ranges),
        _ => Keys::Asked,
    };
    Some(Command { arity, access, keys, form })
}

#[cfg(test)]
mod tests;
