//! Checks that every write command of the server has a template, or a reason for having none.

use std::collections::BTreeSet;

use redis::{Connection, Value};

use super::templates::{STEPS, TEMPLATES, name};

/// Write commands that a run does not send, with the reason.
pub const LEFT_OUT: [(&str, &str); 8] = [
    ("wb.", "the module's own: they touch no key of a user"),
    ("cluster|flushslot", "only in a cluster"),
    ("function|delete", "functions are no keys; those that write are called by the run"),
    ("function|flush", "functions are no keys"),
    ("function|load", "functions are no keys; the run loads one at its beginning"),
    ("function|restore", "functions are no keys"),
    ("migrate", "needs a second server; at its source it reports `del`, at its target `restore`"),
    ("pfdebug", "a tool of the server's own tests; it changes an encoding and reports nothing"),
];

/// The names of the server's commands with the flag `write`, including subcommands.
pub fn write_commands(connection: &mut Connection) -> BTreeSet<String> {
    let commands: Vec<Value> = redis::cmd("COMMAND").query(connection).expect("COMMAND");
    let mut found = BTreeSet::new();
    commands.iter().for_each(|command| collect(command, &mut found));
    found
}

fn collect(command: &Value, found: &mut BTreeSet<String>) {
    let Value::Array(parts) = command else { panic!("{command:?}") };
    let Value::Array(flags) = &parts[2] else { panic!("{command:?}") };
    let is_write = |flag: &Value| matches!(flag, Value::SimpleString(flag) if flag == "write");
    if flags.iter().any(is_write) {
        let name: String = redis::from_redis_value(parts[0].clone()).expect("a name");
        found.insert(name.to_lowercase());
    }
    if let Some(Value::Array(subcommands)) = parts.get(9) {
        subcommands.iter().for_each(|subcommand| collect(subcommand, found));
    }
}

/// Write commands of the server without a template and without a reason.
pub fn unknown(connection: &mut Connection) -> Vec<String> {
    let known: BTreeSet<String> = TEMPLATES.iter().map(|template| name(template)).collect();
    let is_known = |command: &String| {
        known.contains(command)
            || STEPS.contains(&command.as_str())
            || LEFT_OUT.iter().any(|(name, _)| {
                command == name || (name.ends_with('.') && command.starts_with(name))
            })
    };
    write_commands(connection).into_iter().filter(|command| !is_known(command)).collect()
}
