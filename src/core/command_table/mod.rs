//! The commands of the server that read or change keys, and where their keys are: what COMMAND reports.

mod parse;

use std::rc::Rc;

pub use parse::parse;

/// The maximum length of a command's name that is looked up.
const LONGEST: usize = 32;

/// How a key is used: the bits of the server's key flags (`REDISMODULE_CMD_KEY_…`).
pub mod key_flags {
    /// Read only.
    pub const RO: u32 = 1;
    /// Read and written.
    pub const RW: u32 = 2;
    /// Overwritten.
    pub const OW: u32 = 4;
    /// Removed.
    pub const RM: u32 = 8;
    /// The value, or a part of it, is returned or copied.
    pub const ACCESS: u32 = 16;
    /// The value is changed.
    pub const UPDATE: u32 = 32;
    /// Something is added, which may depend on what is there.
    pub const INSERT: u32 = 64;
    /// A part of the value is removed.
    pub const DELETE: u32 = 128;
    /// Not a key, but treated like one.
    pub const NOT_KEY: u32 = 256;
    /// The specification does not cover all keys.
    pub const INCOMPLETE: u32 = 512;
    /// What happens to the key depends on the arguments.
    pub const VARIABLE: u32 = 1024;
}

/// What a command may do with its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It only reads.
    Read,
    /// It reads, and may replicate another form of what it has read, as PFCOUNT does.
    ReadAndReplicate,
    /// It does not say if it writes: a script or a function. The server refuses the commands in it that write, when it
    /// refuses writes.
    Unknown,
    /// It may write, and needs no memory.
    Write,
    /// It may write, and is refused while the server has no memory left.
    WriteIfMemory,
}

impl Access {
    /// True if the command may change what a key holds.
    pub fn may_write(self) -> bool {
        !matches!(self, Access::Read | Access::ReadAndReplicate)
    }
}

/// Where the keys of a command are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// At fixed positions.
    At(Rc<[KeyRange]>),
    /// Only the server can tell.
    Asked,
}

/// Keys at positions that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The position of the first one among the words, the command's name being 0.
    pub first: u16,
    /// The last one: if negative, counted from the end of the words, of which the last is -1; else after the first.
    pub last: i16,
    /// The distance between two of them, at least 1.
    pub step: u16,
    /// [`key_flags`].
    pub flags: u32,
}

/// Commands of which the words decide if they depend on the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As their keys say.
    Usual,
    /// SET: not without a condition or GET.
    Set,
    /// RESTORE: not with REPLACE.
    Restore,
    /// JSON.SET: not of the root without a condition.
    JsonSet,
    /// A command that blocks its client itself: only what it adds to depends on the value.
    Blocking,
    /// XREAD, which blocks with BLOCK.
    XRead,
}

/// A command that has keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Number of words: exactly this many, or, if negative, at least as many.
    pub arity: i32,
    /// What it may do.
    pub access: Access,
    /// Where its keys are.
    pub keys: Keys,
    /// What else decides.
    pub form: Form,
}

impl Command {
    /// True if a call may have so many words.
    pub fn takes(&self, words: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { words >= arity } else { words == arity }
    }

    /// True if the result depends on what the keys hold, as far as the words tell. `word` returns a word of the
    /// call, the command's name being 0; there are `len`.
    pub fn depends<'a>(&self, len: usize, word: impl Fn(usize) -> &'a [u8]) -> bool {
        let is = |at: usize, name: &[u8]| word(at).eq_ignore_ascii_case(name);
        match self.form {
            Form::Usual | Form::Blocking => true,
            Form::Set => {
                // `EX 5` and the like, and nothing else.
                let is_time =
                    |at| [&b"ex"[..], b"px", b"exat", b"pxat"].iter().any(|name| is(at, name));
                !(len == 3 || len == 5 && is_time(3))
            }
            Form::Restore => !(4..len).any(|at| is(at, b"replace")),
            Form::JsonSet => !(len == 4 && matches!(word(2), b"$" | b".")),
            Form::XRead => {
                let options = (1..len).take_while(|at| !is(*at, b"streams"));
                !{ options }.any(|at| is(at, b"block"))
            }
        }
    }
}

/// The same for a command that blocks its client: only for keys that it adds to.
pub fn needs_value_although_it_blocks(flags: u32) -> bool {
    use key_flags::{INSERT, NOT_KEY};
    flags & INSERT != 0 && flags & NOT_KEY == 0
}

/// True if a command with these key flags depends on what the key holds. `others_are_read` is true if it reads
/// other keys, too: what it stores then may be nothing, which removes the key.
pub fn needs_value(flags: u32, others_are_read: bool) -> bool {
    use key_flags::{ACCESS, INSERT, NOT_KEY, OW};
    if flags & NOT_KEY != 0 {
        return false;
    }
    flags & OW == 0 || flags & (ACCESS | INSERT) != 0 || others_are_read
}

/// True if a command may change a key with these flags. Of some, the server does not know more than that it is a key.
pub fn may_change(flags: u32) -> bool {
    use key_flags::{NOT_KEY, OW, RM, RO, RW};
    flags & NOT_KEY == 0 && (flags & (RW | OW | RM) != 0 || flags & RO == 0)
}

/// True if a command does nothing with a key but remove it.
pub fn only_removes(flags: u32) -> bool {
    use key_flags::{ACCESS, RM};
    flags & RM != 0 && flags & ACCESS == 0
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A command.
    Command(Command),
    /// A command with subcommands, by their names in lower case.
    Container(Vec<(Box<[u8]>, Command)>),
    /// SELECT.
    Select,
    /// CLIENT, or a command that subscribes: it may change how clients are served.
    Client,
}

/// The commands by their names.
#[derive(Clone, Debug, Default)]
pub struct CommandTable {
    /// Open addressing; 0 for an empty place, or else the number of the entry plus 1.
    places: Vec<u16>,
    entries: Vec<(Box<[u8]>, Named)>,
}

impl CommandTable {
    /// A table of these commands, whose names are in lower case.
    pub fn new(commands: Vec<(Box<[u8]>, Named)>) -> Self {
        let mut places = vec![0; (commands.len() * 4).next_power_of_two().max(16)];
        for (number, (name, _)) in (1..=u16::MAX).zip(&commands) {
            let Some(lower) = lower(name) else { continue };
            let mut at = hash(&lower, name.len());
            let len = places.len();
            while let Some(place @ 1..) = places.get(at % len) {
                debug_assert_ne!(*place, number);
                at += 1;
            }
            places[at % len] = number;
        }
        CommandTable { places, entries: commands }
    }

    /// What `name` stands for, in letters of any case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&Named> {
        let lower = lower(name)?;
        let mut at = hash(&lower, name.len());
        loop {
            let place = *self.places.get(at & self.places.len().checked_sub(1)?)?;
            let (known, named) = self.entries.get(usize::from(place.checked_sub(1)?))?;
            if **known == lower[..name.len()] {
                return Some(named);
            }
            at += 1;
        }
    }

    /// The command that the first words of a call name.
    #[inline]
    pub fn command<'a>(&self, name: &[u8], second: impl FnOnce() -> &'a [u8]) -> Option<&Command> {
        match self.find(name)? {
            Named::Command(command) => Some(command),
            Named::Container(subcommands) => {
                let second = second();
                let found = subcommands.iter().find(|(name, _)| name.eq_ignore_ascii_case(second));
                found.map(|(_, command)| command)
            }
            Named::Select | Named::Client => None,
        }
    }
}

/// The name in lower case, followed by zeros; `None` if it is too long.
#[inline]
fn lower(name: &[u8]) -> Option<[u8; LONGEST]> {
    let mut lower = [0; LONGEST];
    let head = lower.get_mut(..name.len())?;
    for (to, from) in head.iter_mut().zip(name) {
        *to = from.to_ascii_lowercase();
    }
    Some(lower)
}

#[inline]
fn hash(lower: &[u8; LONGEST], len: usize) -> usize {
    let (words, _) = lower.as_chunks::<8>();
    let mixed = words.iter().fold(len as u64, |hash, word| {
        (hash ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    });
    (mixed >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(form: Form) -> Command {
        Command { arity: -2, access: Access::Read, keys: Keys::Asked, form }
    }

    fn depends(form: Form, line: &str) -> bool {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        command(form).depends(words.len(), |at| words[at])
    }

    #[test]
    fn every_name_is_found_in_letters_of_any_case() {
        let names: Vec<String> = (0..500).map(|n| format!("name.{n}")).collect();
        let entries = names.iter().enumerate().map(|(arity, name)| {
            let arity = i32::try_from(arity).unwrap();
            let named = Named::Command(Command { arity, ..command(Form::Usual) });
            (name.as_bytes().into(), named)
        });
        let table = CommandTable::new(entries.collect());
        for (arity, name) in names.iter().enumerate() {
            for name in [name.clone(), name.to_uppercase()] {
                let found = table.command(name.as_bytes(), || b"").unwrap();
                assert_eq!(found.arity as usize, arity);
            }
        }
        for name in ["", "name", "name.500", &"x".repeat(32), &"x".repeat(33)] {
            assert_eq!(table.find(name.as_bytes()), None, "{name}");
        }
        assert_eq!(CommandTable::default().find(b"get"), None);
    }

    #[test]
    fn a_subcommand_is_found_by_the_second_word() {
        let subcommands = vec![(b"encoding"[..].into(), command(Form::Usual))];
        let named = Named::Container(subcommands);
        let table = CommandTable::new(vec![(b"object"[..].into(), named)]);
        assert!(table.command(b"OBJECT", || b"ENCODING").is_some());
        assert!(table.command(b"OBJECT", || b"HELP").is_none());
    }

    #[test]
    fn the_words_decide_if_a_command_depends_on_the_value() {
        for (line, expected) in [
            ("SET k v", false),
            ("SET k v EX 5", false),
            ("set k v pxat 5", false),
            ("SET k v NX", true),
            ("SET k v GET", true),
            ("SET k v KEEPTTL", true),
            ("SET k v EX 5 NX", true),
            ("SET k v IFEQ x", true),
        ] {
            assert_eq!(depends(Form::Set, line), expected, "{line}");
        }
        for (line, expected) in [
            ("RESTORE k 0 v", true),
            ("RESTORE k 0 v REPLACE", false),
            ("RESTORE k 0 v ABSTTL replace", false),
            ("RESTORE k 0 REPLACE", true),
        ] {
            assert_eq!(depends(Form::Restore, line), expected, "{line}");
        }
        for (line, expected) in [
            ("JSON.SET k $ 1", false),
            ("JSON.SET k . 1", false),
            ("JSON.SET k $.a 1", true),
            ("JSON.SET k $ 1 NX", true),
        ] {
            assert_eq!(depends(Form::JsonSet, line), expected, "{line}");
        }
        for (line, expected) in [
            ("XREAD STREAMS k 0", true),
            ("XREAD COUNT 2 STREAMS block 0", true),
            ("XREAD BLOCK 0 STREAMS k $", false),
        ] {
            assert_eq!(depends(Form::XRead, line), expected, "{line}");
        }
        assert!(depends(Form::Usual, "GET k"));
    }

    #[test]
    fn what_is_overwritten_need_not_be_known() {
        use key_flags::*;
        assert!(!needs_value(OW | UPDATE, false), "SETEX, MSET");
        assert!(needs_value(OW | UPDATE, true), "SINTERSTORE may remove the key");
        assert!(needs_value(OW | INSERT, false), "SETNX");
        assert!(needs_value(RW | UPDATE, false), "HSET");
        assert!(needs_value(RO | ACCESS, false) && needs_value(RM | DELETE, false));
        assert!(!needs_value(RO | NOT_KEY, false));
        assert!(needs_value_although_it_blocks(RW | INSERT), "the destination of BLMOVE");
        assert!(!needs_value_although_it_blocks(RW | ACCESS | DELETE), "BLPOP");
        assert!(only_removes(RM | DELETE), "DEL");
        assert!(may_change(OW | UPDATE) && may_change(RM | DELETE) && may_change(0));
        assert!(!may_change(RO | ACCESS) && !may_change(RW | NOT_KEY));
        assert!(!only_removes(RW | ACCESS | DELETE), "GETDEL");
    }
}
