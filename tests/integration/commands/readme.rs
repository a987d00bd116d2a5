//! README.md has the commands that the server has, with the server's summaries and syntax.

use redis::from_redis_value;

use testkit::mongod::unreachable_uri;
use testkit::redis_server::Redis;
use testkit::redis_server::reply::Fields;

/// The chapter about the commands, without its title.
fn chapter() -> &'static str {
    let readme = include_str!("../../../README.md");
    let (_, chapter) = readme.split_once("\n## Commands\n").expect("the chapter");
    chapter.split_once("\n## ").expect("a chapter after it").0
}

/// The rows of the table at the chapter's beginning: name and summary.
fn table() -> Vec<(String, String)> {
    let before_sections = chapter().split("\n### ").next().expect("a beginning");
    let rows = before_sections.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, summary] = cells[..] else { panic!("not two cells: {row}") };
        (name.trim_matches('`').to_owned(), summary.to_owned())
    })
    .collect()
}

/// The syntax of every command in the order of WB.HELP, the lines of one put together.
fn syntaxes(redis: &Redis) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let help: Vec<String> = redis.run(&["WB.HELP"]);
    for line in help.iter().skip(1).take_while(|line| !line.starts_with("Settings")) {
        if !line.starts_with(' ') {
            found.push(format!("WB.{line}"));
        } else if line.starts_with("     ") {
            // Text has an indent of four, a continued syntax one of more.
            found.last_mut().expect("a command").push_str(&format!(" {}", line.trim()));
        }
    }
    found
}

/// Every command in the order of WB.HELP; subcommands count as their container.
fn names(redis: &Redis) -> Vec<String> {
    let first_word = |syntax: &String| syntax.split(' ').next().expect("a name").to_owned();
    let mut names: Vec<String> = syntaxes(redis).iter().map(first_word).collect();
    names.dedup();
    names
}

/// The summary of COMMAND DOCS.
fn summary(redis: &Redis, name: &str) -> String {
    let docs: Fields = redis.run(&["COMMAND", "DOCS", name]);
    let [only] = docs.names()[..] else { panic!("{name}: {docs:?}") };
    let docs: Fields = from_redis_value(docs.value(only).clone()).expect("a map");
    docs.text("summary")
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[test]
fn the_help_lists_every_command_of_the_server() {
    let redis = Redis::start(&unreachable_uri());
    let commands: Vec<String> =
        redis.run(&["COMMAND", "LIST", "FILTERBY", "MODULE", "writebehind"]);
    let commands = commands.iter().map(|name| name.to_uppercase());
    let public = commands.filter(|name| !name.starts_with("WB._") && !name.contains('|'));
    assert_eq!(sorted(public.collect()), sorted(names(&redis)));
}

#[test]
fn the_table_lists_every_command_in_the_order_of_help_with_its_summary() {
    let redis = Redis::start(&unreachable_uri());
    let names = names(&redis).into_iter();
    let expected: Vec<(String, String)> =
        names.map(|name| (name.clone(), summary(&redis, &name))).collect();
    assert_eq!(table(), expected);
}

#[test]
fn a_section_describes_every_command_and_shows_its_syntax() {
    let redis = Redis::start(&unreachable_uri());
    let titles = chapter().lines().filter_map(|line| line.strip_prefix("### "));
    let mut described: Vec<String> =
        titles.flat_map(|title| title.split(", ")).map(str::to_owned).collect();
    // WB.HELP has a row in the table and no section.
    described.push("WB.HELP".to_owned());
    assert_eq!(sorted(described), sorted(names(&redis)));

    // What is between backquotes, in a line or in a block.
    let code: Vec<String> = chapter()
        .split('`')
        .map(|code| code.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for syntax in syntaxes(&redis) {
        assert!(code.contains(&syntax), "README.md does not show {syntax}");
    }
}
