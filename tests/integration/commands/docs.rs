//! The pages in docs/ have what the server has: commands, options, settings and figures.
//!
//! `scripts/check-docs` compares docs/ERRORS.md with the messages of the sources.

use std::collections::BTreeSet;

use redis::{Value, from_redis_value};

use testkit::mongod::unreachable_uri;
use testkit::redis_server::Redis;
use testkit::redis_server::reply::Fields;

const COMMANDS: &str = include_str!("../../../docs/COMMANDS.md");
const SETTINGS: &str = include_str!("../../../docs/SETTINGS.md");
const METRICS: &str = include_str!("../../../docs/METRICS.md");
const MAPPING: &str = include_str!("../../../docs/MAPPING.md");

/// The text below the heading `title` up to the next heading of any level.
#[track_caller]
fn section<'p>(page: &'p str, title: &str) -> &'p str {
    let (_, below) =
        page.split_once(&format!("# {title}\n")).unwrap_or_else(|| panic!("no heading {title:?}"));
    below.split("\n#").next().unwrap_or_default()
}

/// The cells of the tables in `text`, without the rows of their headings.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().filter(|line| line.starts_with("| `") || line.starts_with("| [`"));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The texts between backquotes.
fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The names in the first column of the tables in `text`.
fn documented(text: &str) -> BTreeSet<String> {
    let names = rows(text).into_iter().flat_map(|cells| code(cells[0]));
    names.map(str::to_owned).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
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

/// The reply of COMMAND DOCS for one command.
fn docs(redis: &Redis, name: &str) -> Fields {
    let docs: Fields = redis.run(&["COMMAND", "DOCS", name]);
    let [only] = docs.names()[..] else { panic!("{name}: {docs:?}") };
    from_redis_value(docs.value(only).clone()).expect("a map")
}

/// The tokens of `arguments` of COMMAND DOCS, of nested arguments too.
fn tokens(arguments: &Value) -> BTreeSet<String> {
    let arguments: Vec<Fields> = from_redis_value(arguments.clone()).expect("arguments");
    let mut found = BTreeSet::new();
    for argument in &arguments {
        let fields = argument.names();
        if fields.contains(&"token") {
            found.insert(argument.text("token"));
        }
        if fields.contains(&"arguments") {
            found.extend(tokens(argument.value("arguments")));
        }
    }
    found
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
fn the_table_of_commands_has_each_in_the_order_of_help_with_its_summary() {
    let redis = Redis::start(&unreachable_uri());
    let summary = |name: String| (name.clone(), docs(&redis, &name).text("summary"));
    let expected: Vec<(String, String)> = names(&redis).into_iter().map(summary).collect();
    let table = rows(section(COMMANDS, "Commands of the module"));
    let table: Vec<(String, String)> =
        table.iter().map(|cells| (code(cells[0])[0].to_owned(), cells[1].to_owned())).collect();
    assert_eq!(table, expected);
}

#[test]
fn a_section_describes_every_command_and_shows_its_syntax() {
    let redis = Redis::start(&unreachable_uri());
    let titles = COMMANDS.lines().filter_map(|line| line.strip_prefix("## WB."));
    let described: Vec<String> =
        titles.flat_map(|title| title.split(", WB.")).map(|name| format!("WB.{name}")).collect();
    assert_eq!(described, names(&redis));

    // What is between backquotes, in a line or in a block.
    let code: Vec<String> = COMMANDS
        .split('`')
        .map(|code| code.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for syntax in syntaxes(&redis) {
        assert!(code.contains(&syntax), "docs/COMMANDS.md does not show {syntax}");
    }
}

#[test]
fn every_option_of_register_and_every_type_of_a_field_is_described() {
    let redis = Redis::start(&unreachable_uri());
    let register = docs(&redis, "WB.REGISTER");
    let arguments = register.value("arguments");
    let options = documented(section(COMMANDS, "WB.REGISTER"));
    let types = documented(section(MAPPING, "Types of fields: SCHEMA"));
    let described: BTreeSet<String> = options.union(&types).cloned().collect();
    // Words that the options take are in the syntax, which another test compares.
    let syntax = syntaxes(&redis).remove(0);
    let words: BTreeSet<&str> = syntax.split(|of: char| !of.is_alphanumeric()).collect();
    let taken = |token: &String| syntax.split(['|', ' ', ']']).any(|word| word == token);
    for token in tokens(arguments) {
        let is_option = syntax.contains(&format!("[{token}"));
        let is_described = described.contains(&token) || (!is_option && taken(&token));
        assert!(is_described, "{token} of WB.REGISTER is not described");
    }
    for option in &options {
        assert!(words.contains(option.as_str()), "WB.REGISTER has no {option}");
    }
    let parsed: Vec<Fields> = from_redis_value(arguments.clone()).expect("arguments");
    let schema = parsed.iter().find(|argument| argument.text("name") == "schema");
    let schema = tokens(schema.expect("the option SCHEMA").value("arguments"));
    assert_eq!(&types | &set(&["AS"]), schema, "docs/MAPPING.md has the types of SCHEMA");
}

#[test]
fn every_setting_is_described_with_its_default_and_range() {
    let redis = Redis::start(&unreachable_uri());
    let settings: Fields = redis.run(&["CONFIG", "GET", "writebehind.*"]);
    let table = rows(section(SETTINGS, "Settings"));
    let described = table.iter().map(|cells| format!("writebehind.{}", code(cells[0])[0]));
    assert_eq!(described.collect::<BTreeSet<_>>(), set(&settings.names()));

    let help: Vec<String> = redis.run(&["WB.HELP"]);
    let help = help.join("\n");
    let snippet = include_str!("../../../packaging/writebehind.conf");
    for name in settings.names() {
        let short = name.strip_prefix("writebehind.").expect("the module's name");
        assert!(help.contains(short), "WB.HELP lists no {short}");
        assert!(
            snippet.contains(&format!("\n# {name} ")),
            "packaging/writebehind.conf has no {name}"
        );
    }
    for cells in &table {
        let [name, default, range, _] = cells[..] else { panic!("not four cells: {cells:?}") };
        let name = format!("writebehind.{}", code(name)[0]);
        let default = default.trim_matches('`');
        if name == "writebehind.mongodb-uri" {
            let source = include_str!("../../../src/core/settings.rs");
            assert!(source.contains(&format!("DEFAULT_URI: &str = {default:?};")), "{default}");
            continue;
        }
        let value = settings.text(&name);
        assert_eq!(if value.is_empty() { "empty" } else { &value }, default, "{name}");
        if value.is_empty() {
            continue;
        }
        let error = redis.error(&["CONFIG", "SET", &name, &i64::MAX.to_string()]);
        let expected = match range.split_once(" to ") {
            Some((least, most)) => format!("between {least} and {most} inclusive"),
            None => format!("one of the following: {range}"),
        };
        assert!(error.contains(&expected), "{name}: {error}");
    }
}

#[test]
fn every_figure_of_status_and_info_is_described() {
    let redis = Redis::start(&unreachable_uri());
    let fields = documented(section(COMMANDS, "WB.STATUS"));
    assert_eq!(fields, set(&redis.status().names()));

    let register = "WB.REGISTER k: shop.keys TTLFIELD until INTERVAL 50 BATCH 10 SCHEMA * AUTO";
    redis.cmd(&register.split(' ').collect::<Vec<_>>());
    let of_prefix = documented(section(COMMANDS, "WB.STATUS of one prefix"));
    assert_eq!(of_prefix, set(&redis.status_of("k:").names()));

    let info: String = redis.run(&["INFO", "writebehind"]);
    let info = info.lines().filter_map(|line| line.split_once(':'));
    let others = documented(section(COMMANDS, "INFO writebehind"));
    let described = |name: &str| {
        others.contains(name)
            || name.strip_prefix("writebehind_").is_some_and(|field| fields.contains(field))
    };
    let info: Vec<&str> = info.map(|(name, _)| name).collect();
    let missing: Vec<&&str> = info.iter().filter(|name| !described(name)).collect();
    assert!(missing.is_empty(), "docs/COMMANDS.md does not describe {missing:?}");
    assert!(others.iter().all(|name| info.contains(&name.as_str())), "{others:?}");
}

#[test]
fn every_metric_is_described_with_its_type_and_its_help() {
    let redis = Redis::start(&unreachable_uri());
    redis.cmd(&["WB.REGISTER", "k:", "db.keys"]);
    let text: String = redis.run(&["WB.METRICS"]);
    let lines = |start| text.lines().filter_map(move |line| line.strip_prefix(start));
    let (helps, types) = (lines("# HELP "), lines("# TYPE "));
    let metric = |(help, kind): (&str, &str)| {
        let ((name, help), (_, kind)) = (help.split_once(' ')?, kind.split_once(' ')?);
        Some(vec![format!("`{name}`"), kind.to_owned(), help.to_owned()])
    };
    let metrics: Vec<Vec<String>> = helps.zip(types).filter_map(metric).collect();
    assert!(metrics.len() > 50, "{metrics:?}");
    let documented = [
        rows(section(METRICS, "Metrics of the module")),
        rows(section(METRICS, "Metrics of a prefix")),
    ];
    assert_eq!(documented.concat(), metrics);
}

#[test]
fn every_field_of_the_other_replies_is_described() {
    let redis = Redis::start(&unreachable_uri());
    redis.cmd(&["WB.REGISTER", "k:", "shop.keys"]);
    for (command, words) in [
        ("WB.EXPLAIN", &["WB.EXPLAIN", "k:1"][..]),
        ("WB.FLUSH", &["WB.FLUSH", "TIMEOUT", "1"]),
        ("WB.CHECK", &["WB.CHECK"]),
    ] {
        let reply: Fields = redis.run(words);
        assert_eq!(documented(section(COMMANDS, command)), set(&reply.names()), "{command}");
    }
}
