//! The declaration of a command, from which it is registered with the server, documented in COMMAND
//! DOCS and WB.HELP, and its arity checked.

use std::ffi::{CStr, c_int};

use super::call::Call;

/// Flags of a command that changes what is written to MongoDB: `write`, so that a replica refuses it.
pub const ADMIN: &CStr = c"write admin no-mandatory-keys";
/// Categories of a command for operators only.
pub const DANGEROUS: &CStr = c"admin dangerous";
/// Flags of a command whose reply reveals nothing about this server. No ACL category is granted to
/// every user, but a `no-auth` command is allowed to all.
pub const FOR_ALL_USERS: &CStr = c"fast allow-stale allow-loading no-auth";

/// The declaration of a command or of a subcommand.
pub struct Spec {
    /// `WB.NAME`, or `WB.CONTAINER|NAME` of a subcommand, as the server looks it up.
    pub name: &'static CStr,
    /// Executes a call; nothing for a container command, of which the server calls the subcommands
    /// only.
    pub run: Option<fn(&Call<'_>)>,
    /// Flags as RedisModule_CreateCommand takes them.
    pub flags: &'static CStr,
    /// ACL categories; Redis 7.0 does not support them for module commands.
    pub acl: &'static CStr,
    /// Number of words of a call, with the command's and the subcommand's name: exactly this many,
    /// or, if negative, at least as many.
    pub arity: c_int,
    /// One sentence for COMMAND DOCS.
    pub summary: &'static CStr,
    /// Time complexity, for COMMAND DOCS.
    pub complexity: &'static CStr,
    /// The first version of the module that has the command.
    pub since: &'static CStr,
    /// Arguments for COMMAND DOCS.
    pub args: &'static [Arg],
    /// Position of the keys among the words; nothing without keys.
    pub keys: Option<KeySpec>,
    /// The syntax in WB.HELP, or of a subcommand in the HELP of its container: each line as it is
    /// printed.
    pub syntax: &'static [&'static str],
    /// The lines of text below the syntax, without their indent.
    pub help: &'static [&'static str],
}

impl Spec {
    /// A subcommand's own name, the part after `|`.
    pub fn subcommand(&self) -> Option<&'static CStr> {
        let name = self.name.to_bytes_with_nul();
        let bar = name.iter().position(|byte| *byte == b'|')?;
        CStr::from_bytes_with_nul(name.get(bar + 1..)?).ok()
    }

    /// True if the arity allows a call of `words` words.
    pub fn takes(&self, words: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { words >= arity } else { words == arity }
    }

    /// The lines of the HELP text; none for an internal command.
    pub fn help_lines(&self) -> impl Iterator<Item = String> {
        let syntax = self.syntax.iter().map(|line| (*line).to_owned());
        syntax.chain(self.help.iter().map(|line| format!("    {line}")))
    }
}

/// Position of a command's keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum KeySpec {
    /// `KEYS <n> <key> ...`
    Counted,
    /// `KEY <key>`
    BehindKey,
    /// The first word is the key.
    First,
    /// The words after the name are a command, which has keys.
    Inner,
}

/// An argument of a command.
pub struct Arg {
    /// Its name in COMMAND DOCS.
    pub name: &'static CStr,
    /// Its type.
    pub kind: ArgKind,
    /// The token in front of it, or the token that it is.
    pub token: Option<&'static CStr>,
    /// True if the argument is optional.
    pub optional: bool,
    /// True if it may be given more than once.
    pub multiple: bool,
    /// The alternatives, or the parts of a block.
    pub parts: &'static [Arg],
}

/// The type of an argument.
#[derive(Clone, Copy)]
pub enum ArgKind {
    /// Any string.
    Text,
    /// An integer.
    Number,
    /// A key.
    Key,
    /// The token alone.
    Token,
    /// One of the parts.
    OneOf,
    /// All parts, one after the other.
    Block,
}

/// `[<prefix>]`
pub const PREFIX: Arg = Arg { optional: true, ..arg(c"prefix", ArgKind::Text) };

/// A mandatory argument: `<name>`.
pub const fn arg(name: &'static CStr, kind: ArgKind) -> Arg {
    Arg { name, kind, token: None, optional: false, multiple: false, parts: &[] }
}

/// A mandatory argument after a token: `TOKEN <name>`.
pub const fn behind(name: &'static CStr, token: &'static CStr, kind: ArgKind) -> Arg {
    Arg { token: Some(token), ..arg(name, kind) }
}

/// An optional argument after a token: `[TOKEN <name>]`.
pub const fn option(name: &'static CStr, token: &'static CStr, kind: ArgKind) -> Arg {
    Arg { optional: true, ..behind(name, token, kind) }
}

/// A mandatory token: `TOKEN`.
pub const fn word(name: &'static CStr, token: &'static CStr) -> Arg {
    behind(name, token, ArgKind::Token)
}

/// An optional token: `[TOKEN]`.
pub const fn flag(name: &'static CStr, token: &'static CStr) -> Arg {
    option(name, token, ArgKind::Token)
}

/// Alternatives after a token: `[TOKEN A|B]`.
pub const fn choice(name: &'static CStr, token: &'static CStr, parts: &'static [Arg]) -> Arg {
    Arg { parts, ..option(name, token, ArgKind::OneOf) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: Spec = Spec {
        name: c"WB.CONTAINER|LIST",
        run: None,
        flags: c"",
        acl: c"",
        arity: 2,
        summary: c"",
        complexity: c"",
        since: c"",
        args: &[],
        keys: None,
        syntax: &["LIST <a>", "     <b>"],
        help: &["Text."],
    };

    #[test]
    fn an_arity_is_exact_or_if_negative_the_minimum() {
        let words = |arity| {
            let spec = Spec { arity, ..SPEC };
            (0..5).filter(|words| spec.takes(*words)).collect::<Vec<_>>()
        };
        assert_eq!(words(1), [1]);
        assert_eq!(words(3), [3]);
        assert_eq!(words(-1), [1, 2, 3, 4]);
        assert_eq!(words(-3), [3, 4]);
    }

    #[test]
    fn a_subcommand_has_a_name_of_its_own() {
        assert_eq!(SPEC.subcommand(), Some(c"LIST"));
        assert_eq!(Spec { name: c"WB.CONTAINER", ..SPEC }.subcommand(), None);
    }

    #[test]
    fn the_text_of_a_help_is_indented_below_the_syntax() {
        let lines: Vec<String> = SPEC.help_lines().collect();
        assert_eq!(lines, ["LIST <a>", "     <b>", "    Text."]);
    }
}
