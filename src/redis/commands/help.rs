//! WB.HELP: the commands and their options, in the server's own style.

use crate::redis::call::Call;
use crate::redis::command_spec::{FOR_ALL_USERS, Spec};

/// The declaration of the command. `run` replies with the list of all commands; it is an argument
/// because that list contains this declaration.
pub const fn spec(run: fn(&Call<'_>)) -> Spec {
    Spec {
        name: c"WB.HELP",
        run: Some(run),
        flags: FOR_ALL_USERS,
        acl: c"fast",
        arity: 1,
        summary: c"Lists the commands and their options.",
        complexity: c"O(1)",
        since: c"0.1.0",
        args: &[],
        keys: None,
        syntax: &["HELP"],
        help: &["Print this help."],
    }
}

const TITLE: &str = "WB.<command> [<arg> [value] [opt] ...]. Commands are:";

const SETTINGS: &[&str] = &[
    "Settings (CONFIG GET writebehind.*):",
    "    mongodb-uri, mongodb-uri-file, registrations-file, flush-interval-ms,",
    "    batch-max-keys, batch-max-bytes, max-in-flight-batches, read-slice-us,",
    "    retry-backoff-min-ms, retry-backoff-max-ms, write-timeout-ms, dirty-max-bytes,",
    "    write-form, lease-namespace, through-timeout-ms, through-when-down, through-multi,",
    "    read-max-loads, shutdown-drain-ms",
    "Example:",
    "    WB.REGISTER movie: shop.movies TYPE JSON KEY movieId",
];

/// Replies with the help of these commands; that of a subcommand is in its container's own HELP.
pub fn reply<'a>(call: &Call<'_>, specs: impl Iterator<Item = &'a Spec>) {
    let mut lines = vec![TITLE.to_owned()];
    let commands = specs.filter(|spec| spec.subcommand().is_none());
    lines.extend(commands.flat_map(Spec::help_lines));
    lines.extend(SETTINGS.iter().map(|line| (*line).to_owned()));
    reply_lines(call, &lines);
}

/// Replies with an array of lines.
pub fn reply_lines(call: &Call<'_>, lines: &[String]) {
    call.reply.array(lines.len());
    for line in lines {
        call.reply.bytes(line.as_bytes());
    }
}
