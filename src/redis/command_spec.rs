//! The declaration of a command: registration, COMMAND DOCS, WB.HELP and the check of the arity read it.

use std::ffi::{CStr, c_int};

use super::call::Call;

/// Flags of a command that changes what is written to MongoDB: `write`, so that a replica refuses it.
pub const ADMIN: &CStr = c"write admin no-mandatory-keys";
/// Categories of a command for operators only.
pub const DANGEROUS: &CStr = c"admin dangerous";
/// Flags of a text that says nothing of this server. No category is in the hands of every user, but what is
/// allowed before a login is allowed to all.
pub const FOR_EVERYBODY: &CStr = c"fast allow-stale allow-loading no-auth";

/// The declaration of a command or of a subcommand.
pub struct Spec {
    /// `WB.NAME`, or `WB.CONTAINER|NAME` of a subcommand, as the server looks it up.
    pub name: &'static CStr,
    /// Carries out a call; nothing for a container, of which the server calls the subcommands only.
    pub run: Option<fn(&Call<'_>)>,
    /// Flags in the words of RedisModule_CreateCommand.
    pub flags: &'static CStr,
    /// ACL categories; Redis 7.0 gives a module's command none.
    pub acl: &'static CStr,
    /// Words of a call, the name or the names included: as many as this, or, below 0, at least as many.
    pub arity: c_int,
    /// One sentence for COMMAND DOCS.
    pub summary: &'static CStr,
    /// How much work a call is, for COMMAND DOCS.
    pub complexity: &'static CStr,
    /// The module's version that had the command first.
    pub since: &'static CStr,
    /// Arguments for COMMAND DOCS.
    pub args: &'static [Arg],
    /// Where the keys are among the words, if there are any.
    pub keys: Option<KeySpec>,
    /// The command in WB.HELP, a subcommand in the HELP of its container: each line as it is printed.
    pub syntax: &'static [&'static str],
    /// The lines of text below the syntax, without their indent.
    pub help: &'static [&'static str],
}

impl Spec {
    /// A subcommand's own name, the part behind `|`.
    pub fn subcommand(&self) -> Option<&'static CStr> {
        let name = self.name.to_bytes_with_nul();
        let bar = name.iter().position(|byte| *byte == b'|')?;
        CStr::from_bytes_with_nul(name.get(bar + 1..)?).ok()
    }

    /// True if the arity allows a call of so many words.
    pub fn takes(&self, words: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { words >= arity } else { words == arity }
    }

    /// The lines of a HELP; none for an internal command.
    pub fn help_lines(&self) -> impl Iterator<Item = String> {
        let syntax = self.syntax.iter().map(|line| (*line).to_owned());
        syntax.chain(self.help.iter().map(|line| format!("    {line}")))
    }
}

/// Where a command's keys are.
#[derive(Clone, Copy)]
pub enum KeySpec {
    /// `KEYS <n> <key> ...`
    Counted,
    /// `KEY <key>`
    BehindKey,
    /// The first word is the key.
    First,
}

/// An argument of a command.
pub struct Arg {
    /// Its name in COMMAND DOCS.
    pub name: &'static CStr,
    /// What it is.
    pub kind: ArgKind,
    /// The word in front of it, or the word that it is.
    pub token: Option<&'static CStr>,
    /// True if a call may leave it out.
    pub optional: bool,
    /// True if it may be there more than once.
    pub multiple: bool,
    /// Alternatives, or parts of a block.
    pub parts: &'static [Arg],
}

/// What an argument is.
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

/// A mandatory argument behind a token: `TOKEN <name>`.
pub const fn behind(name: &'static CStr, token: &'static CStr, kind: ArgKind) -> Arg {
    Arg { token: Some(token), ..arg(name, kind) }
}

/// An optional argument behind a token: `[TOKEN <name>]`.
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

/// Alternatives behind a token: `[TOKEN A|B]`.
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
    fn an_arity_is_exact_or_below_zero_the_least() {
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
