//! WB.DEADLETTER: lists, retries and drops dead letters, changes that MongoDB refuses.
//!
//! Subcommands instead of one command, so that the server itself refuses RETRY and DROP on a
//! replica and in read-only scripts, and allows LIST there.

use super::all_nodes::{self, ALL_NODES};
use super::help::reply_lines;
use crate::core::backlog::dead_letters::DeadLetter;
use crate::core::backlog::{Backlog, LetterScope};
use crate::core::ids::Db;
use crate::core::registration::args;
use crate::core::registration::args::Letters;
use crate::redis::api::clock;
use crate::redis::api::reply::Reply;
use crate::redis::call::Call;
use crate::redis::command_spec::{
    ADMIN, Arg, ArgKind, DANGEROUS, FOR_ALL_USERS, KeySpec, PREFIX, Spec, arg, behind, option,
};
use crate::redis::replication::propagate::DEADLETTER;

/// The declaration of the container.
pub const SPEC: Spec = Spec {
    name: DEADLETTER,
    run: None,
    flags: c"",
    acl: c"",
    arity: -2,
    summary: c"A container for commands about changes that MongoDB refuses.",
    complexity: c"Depends on subcommand.",
    since: c"0.1.0",
    args: &[],
    keys: None,
    syntax: &[
        "DEADLETTER LIST [<prefix>] [COUNT <n>] [CLUSTER]",
        "DEADLETTER RETRY|DROP [<prefix>|KEY <key>] [CLUSTER]",
    ],
    help: &["Changes that MongoDB refuses: list them, write them once more, forget them."],
};

/// The declaration of WB.DEADLETTER LIST.
pub const LIST: Spec = Spec {
    name: c"WB.DEADLETTER|LIST",
    run: Some(list),
    flags: c"readonly admin allow-stale no-mandatory-keys",
    acl: DANGEROUS,
    arity: -2,
    summary: c"Lists the changes that MongoDB refuses, with code and reason.",
    complexity: c"O(N) where N is the number of dead letters",
    since: c"0.1.0",
    args: &[PREFIX, option(c"count", c"COUNT", ArgKind::Number), ALL_NODES],
    keys: None,
    syntax: &["LIST [<prefix>] [COUNT <n>] [CLUSTER]"],
    help: &["Changes that MongoDB refuses, each with its code and reason."],
};

/// The declaration of WB.DEADLETTER RETRY.
pub const RETRY: Spec = Spec {
    name: c"WB.DEADLETTER|RETRY",
    run: Some(retry),
    flags: ADMIN,
    acl: DANGEROUS,
    arity: -2,
    summary: c"Writes the keys of dead letters once more.",
    complexity: c"O(N) where N is the number of dead letters, O(1) with KEY",
    since: c"0.1.0",
    args: SCOPE,
    keys: Some(KeySpec::BehindKey),
    syntax: &["RETRY [<prefix>|KEY <key>] [CLUSTER]"],
    help: &["Write their keys once more; reply with the number of keys."],
};

/// The declaration of WB.DEADLETTER DROP.
pub const DROP: Spec = Spec {
    name: c"WB.DEADLETTER|DROP",
    run: Some(drop),
    flags: ADMIN,
    acl: DANGEROUS,
    arity: -2,
    summary: c"Forgets dead letters.",
    complexity: c"O(N) where N is the number of dead letters, O(1) with KEY",
    since: c"0.1.0",
    args: SCOPE,
    keys: Some(KeySpec::BehindKey),
    syntax: &["DROP [<prefix>|KEY <key>] [CLUSTER]"],
    help: &["Forget them; reply with their number."],
};

/// The declaration of WB.DEADLETTER HELP.
pub const HELP: Spec = Spec {
    name: c"WB.DEADLETTER|HELP",
    run: Some(help),
    flags: FOR_ALL_USERS,
    acl: c"",
    arity: 2,
    summary: c"Lists the subcommands.",
    complexity: c"O(1)",
    since: c"0.1.0",
    args: &[],
    keys: None,
    syntax: &["HELP: print this help."],
    help: &[],
};

const SCOPE: &[Arg] = &[
    Arg {
        optional: true,
        parts: &[arg(c"prefix", ArgKind::Text), behind(c"key", c"KEY", ArgKind::Key)],
        ..arg(c"scope", ArgKind::OneOf)
    },
    ALL_NODES,
];

/// `WB.DEADLETTER LIST`.
fn list(call: &Call<'_>) {
    if let Some(words) = all_nodes::without_option(call, &call.words) {
        return all_nodes::ask(call, words);
    }
    let args = match args::letter_list(call.subarguments()) {
        Ok(args) => args,
        Err(error) => return call.reply.error(&error),
    };
    let backlog = call.module.pipeline.backlog.borrow();
    let mut id = None;
    if let Some(prefix) = args.prefix {
        id = backlog.registry.find(call.db, prefix);
        if id.is_none() {
            return call.no_registration(&backlog, prefix);
        }
    }
    let all = id.map_or(backlog.dead.len(), |id| backlog.dead.count(id));
    let count = all.min(args.count.unwrap_or(usize::MAX));
    call.reply.array(count);
    for (db, key, letter) in backlog.letters(id).take(count) {
        reply_letter(call.reply, &backlog, db, key, letter);
    }
}

fn reply_letter(reply: Reply<'_>, backlog: &Backlog, db: Db, key: &[u8], letter: &DeadLetter) {
    let id = backlog.registry.at(letter.registration_id);
    let prefix = id.map_or(&[][..], |active| &active.registration.prefix);
    reply.map(7);
    reply.text_field("key", key);
    reply.number_field(c"db", u64::from(db.0));
    reply.text_field("prefix", prefix);
    reply.number_field(c"code", u64::try_from(letter.code).unwrap_or(0));
    reply.text_field("reason", letter.reason.as_bytes());
    reply.number_field(c"attempts", u64::from(letter.attempts));
    reply.number_field(c"unix_ms", letter.unix_ms);
}

/// `WB.DEADLETTER RETRY`.
fn retry(call: &Call<'_>) {
    change(call, "RETRY", |backlog, scope| backlog.retry(scope, clock::now_us()));
}

/// `WB.DEADLETTER DROP`.
fn drop(call: &Call<'_>) {
    change(call, "DROP", |backlog, scope| backlog.drop_letters(scope));
}

fn change(call: &Call<'_>, name: &str, change: fn(&mut Backlog, LetterScope<'_>) -> usize) {
    if !call.is_from_stream()
        && let Some(words) = all_nodes::without_option(call, &call.words)
        // `KEY cluster` is a key.
        && args::letters(name, words.get(2..).unwrap_or_default()).is_ok()
    {
        return all_nodes::ask(call, words);
    }
    let args = match args::letters(name, call.subarguments()) {
        Ok(args) => args,
        Err(error) => return call.reply.error(&error),
    };
    if call.is_refused_on_replica("dead letters are retried and dropped") {
        return;
    }
    let db = call.db;
    let mut backlog = call.module.pipeline.backlog.borrow_mut();
    let scope = match args {
        Letters::All => LetterScope::All,
        Letters::Key(key) => LetterScope::Key(db, key),
        Letters::Prefix(prefix) => match backlog.registry.find(db, prefix) {
            Some(id) => LetterScope::Registration(id),
            None => return call.no_registration(&backlog, prefix),
        },
    };
    let keys = change(&mut backlog, scope);
    std::mem::drop(backlog);
    call.ctx.replicate_verbatim();
    call.reply.integer(keys as u64);
}

/// `WB.DEADLETTER HELP`.
fn help(call: &Call<'_>) {
    let mut lines = vec!["WB.DEADLETTER <subcommand> [<arg> [value]]. Subcommands are:".to_owned()];
    lines.extend([LIST, RETRY, DROP, HELP].iter().flat_map(Spec::help_lines));
    reply_lines(call, &lines);
}
