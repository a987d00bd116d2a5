//! `redis-cli --cluster`, which moves slots and adds and removes nodes.

use std::process::Command;

use crate::redis_server::Redis;

/// `<host>:<port>` of a server.
pub fn address(node: &Redis) -> String {
    format!("127.0.0.1:{}", node.port())
}

/// Runs a subcommand and returns its output. Panics if it fails.
#[track_caller]
pub fn call(subcommand: &str, words: &[&str]) -> String {
    try_call(subcommand, words).unwrap_or_else(|output| panic!("{subcommand} fails:\n{output}"))
}

/// Its output; an error if it fails, for example because a node is killed.
pub fn try_call(subcommand: &str, words: &[&str]) -> Result<String, String> {
    let mut command = Command::new("redis-cli");
    let output = command.args(["--cluster", subcommand]).args(words).output();
    let output = output.expect("redis-cli, which `make setup` installs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(text.into_owned()) } else { Err(last_lines(&text)) }
}

/// A move of a thousand slots has a line for each of them.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// The words of a move of so many slots; `from` is an id or `all`.
pub fn reshard(via: &Redis, from: &str, to: &str, slots: usize) -> Vec<String> {
    let slots = slots.to_string();
    let via = address(via);
    let words = ["--cluster-from", from, "--cluster-to", to, "--cluster-slots", &slots];
    let words = [&[via.as_str()], words.as_slice(), &["--cluster-yes"]].concat();
    words.into_iter().map(str::to_owned).collect()
}

/// Moves so many slots.
#[track_caller]
pub fn move_slots(via: &Redis, from: &str, to: &str, slots: usize) {
    let words = reshard(via, from, to, slots);
    call("reshard", &words.iter().map(String::as_str).collect::<Vec<_>>());
}
