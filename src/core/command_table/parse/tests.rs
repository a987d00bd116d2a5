use proptest::prelude::*;

use super::*;

/// A reply in RESP2 from a shorter form: `[a b [c]]`, numbers as they are, `+` for an empty text.
fn resp(text: &str) -> Vec<u8> {
    fn read(words: &mut std::iter::Peekable<std::str::SplitWhitespace<'_>>) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        while let Some(word) = words.next() {
            match word {
                "[" => {
                    let inner = read(words);
                    let head = format!("*{}\r\n", inner.len()).into_bytes();
                    parts.push([head, inner.concat()].concat());
                }
                "]" => return parts,
                number if number.parse::<i64>().is_ok() => {
                    parts.push(format!(":{number}\r\n").into_bytes());
                }
                text => parts.push(format!("${}\r\n{text}\r\n", text.len()).into_bytes()),
            }
        }
        parts
    }
    read(&mut text.split_whitespace().peekable()).concat()
}

fn index(flags: &str, first: i64, last: i64, step: i64) -> String {
    format!(
        "[ flags [ {flags} ] begin_search [ type index spec [ index {first} ] ] \
         find_keys [ type range spec [ lastkey {last} keystep {step} limit 0 ] ] ]"
    )
}

fn line(name: &str, arity: i64, flags: &str, specs: &str, subcommands: &str) -> String {
    format!("[ {name} {arity} [ {flags} ] 1 1 1 [ @x ] [ ] [ {specs} ] [ {subcommands} ] ]")
}

fn table(lines: &[String]) -> CommandTable {
    parse(&resp(&format!("[ {} ]", lines.join(" ")))).unwrap()
}

fn found(table: &CommandTable, name: &str) -> Command {
    let mut words = name.split(' ').map(str::as_bytes);
    let first = words.next().unwrap();
    table.command(first, || words.next().unwrap_or_default()).unwrap().clone()
}

#[test]
fn commands_have_their_keys_and_what_they_do_with_them() {
    let scripts = "[ flags [ RW access update ] begin_search [ type index spec [ index 2 ] ] \
                   find_keys [ type keynum spec [ keynumidx 0 firstkey 1 keystep 1 ] ] ]";
    let table = table(&[
        line("get", 2, "readonly fast", &index("RO access", 1, 0, 1), ""),
        line("mset", -3, "write denyoom", &index("OW update", 1, -1, 2), ""),
        line("del", -2, "write", &index("RM delete", 1, -1, 1), ""),
        line("pfcount", -2, "readonly", &index("RW access", 1, -1, 1), ""),
        line("json.get", -2, "readonly module", &index("RW access update", 1, 1, 1), ""),
        line("eval", -3, "noscript movablekeys", scripts, ""),
        line("watch", -2, "noscript fast", &index("RO", 1, -1, 1), ""),
        line("ping", -1, "fast", "", ""),
        line("select", 2, "loading fast", "", ""),
        line("spublish", 3, "pubsub", &index("not_key", 1, 0, 1), ""),
        line("blpop", -3, "write blocking", &index("RW access delete", 1, -2, 1), ""),
        line("migrate", -6, "write movablekeys", &index("RW access delete", 3, 0, 1), ""),
        line("wb.explain", 2, "readonly", &index("RO access", 1, 0, 1), ""),
        line("object", -2, "", "", &line("object|freq", 3, "readonly", &index("RO", 2, 0, 1), "")),
    ]);
    let get = found(&table, "GET");
    let range = KeyRange { first: 1, last: 0, step: 1, flags: RO | ACCESS };
    assert_eq!((get.arity, get.access), (2, Access::Read));
    assert_eq!(get.keys, Keys::At([range].into()));
    let mset = found(&table, "mset");
    let range = KeyRange { first: 1, last: -1, step: 2, flags: OW | UPDATE };
    assert_eq!((mset.access, mset.keys), (Access::WriteIfMemory, Keys::At([range].into())));
    assert_eq!(found(&table, "del").access, Access::Write);
    assert_eq!(found(&table, "pfcount").access, Access::ReadAndReplicate);
    assert_eq!(found(&table, "json.get").access, Access::Read);
    let eval = found(&table, "eval");
    assert_eq!((eval.access, eval.keys), (Access::Unknown, Keys::Asked));
    assert_eq!(found(&table, "blpop").form, Form::Blocking);
    assert_eq!(found(&table, "object freq").access, Access::Read);
    assert_eq!(table.find(b"select"), Some(&Named::Select));
    for name in ["watch", "ping", "spublish", "migrate", "wb.explain"] {
        assert_eq!(table.find(name.as_bytes()), None, "{name}");
    }
}

#[test]
fn keys_at_other_places_are_asked_for() {
    let keyword = "[ flags [ RO access ] begin_search [ type keyword spec [ keyword STREAMS \
                   startfrom 1 ] ] find_keys [ type range spec [ lastkey -1 keystep 1 limit 2 ] ] ]";
    let table = table(&[
        line("xread", -4, "readonly blocking movablekeys", keyword, ""),
        line("other", -4, "readonly", keyword, ""),
    ]);
    let xread = found(&table, "xread");
    assert_eq!((xread.keys, xread.form), (Keys::Asked, Form::XRead));
    assert_eq!(found(&table, "other").keys, Keys::Asked);
}

proptest! {
    #[test]
    fn any_reply_is_read_without_a_panic(words in proptest::collection::vec(
        prop_oneof![Just("["), Just("]"), Just("1"), Just("-9999999"), Just("get"), Just("flags"), Just("spec"),
                    Just("type"), Just("begin_search"), Just("find_keys"), Just("index"), Just("range")], 0..60)
    ) {
        parse(&resp(&words.join(" ")));
    }
}
