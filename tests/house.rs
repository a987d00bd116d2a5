//! The layering of the source tree: no file imports another that imports it, and each room (a file
//! or a folder) imports only the rooms that it may.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The rooms from the lowest to the highest, each with those that it may import. A room is a file
/// or a folder; the longest name that a file begins with is its room. docs/DESIGN.md has the same
/// list with reasons.
const ROOMS: [(&str, &[&str]); 62] = [
    ("file", &[]),
    ("core/ids", &[]),
    ("core/now", &[]),
    ("core/hash_slot", &[]),
    ("core/settings", &[]),
    ("core/exposition", &[]),
    ("core/resp", &[]),
    ("core/command_table", &["core/resp"]),
    ("core/registration", &["core/ids", "core/settings"]),
    ("core/mapping", &["core/registration"]),
    ("core/cluster", &["core/ids", "core/registration", "core/mapping"]),
    ("core/delivery", &["core/ids", "core/now", "core/registration", "core/mapping"]),
    (
        "core/backlog",
        &[
            "core/ids",
            "core/now",
            "core/settings",
            "core/registration",
            "core/mapping",
            "core/cluster",
            "core/delivery",
        ],
    ),
    ("source", &["core/delivery"]),
    ("sink", &["source", "core/settings", "core/delivery"]),
    (
        "worker",
        &[
            "file",
            "source",
            "sink",
            "core/ids",
            "core/settings",
            "core/registration",
            "core/delivery",
        ],
    ),
    ("mongo/codes", &[]),
    ("mongo/uri", &[]),
    ("mongo/write_concern", &[]),
    ("mongo/unknown_host", &[]),
    ("mongo/extended_json", &[]),
    ("mongo/error", &["mongo/codes", "sink"]),
    ("mongo/monitor", &["mongo/error", "mongo/unknown_host", "sink"]),
    (
        "mongo/client",
        &[
            "file",
            "sink",
            "core/settings",
            "mongo/uri",
            "mongo/error",
            "mongo/monitor",
            "mongo/write_concern",
        ],
    ),
    ("mongo/check", &["sink", "core/registration", "core/delivery", "mongo/client"]),
    (
        "mongo/write",
        &["sink", "core", "mongo/codes", "mongo/client", "mongo/error", "mongo/write_concern"],
    ),
    ("mongo/explain", &["core/delivery", "mongo/extended_json", "mongo/write"]),
    (
        "mongo/sink",
        &[
            "sink",
            "core/settings",
            "core/registration",
            "core/delivery",
            "mongo/check",
            "mongo/client",
            "mongo/write",
        ],
    ),
    ("mongo/read", &["core/registration", "core/mapping", "core/delivery"]),
    (
        "mongo/source",
        &[
            "source",
            "core/registration",
            "core/delivery",
            "mongo/codes",
            "mongo/error",
            "mongo/read",
            "mongo/sink",
            "mongo/write_concern",
        ],
    ),
    (
        "mongo/group_sink",
        &[
            "sink",
            "core/settings",
            "core/registration",
            "core/delivery",
            "mongo/sink",
            "mongo/write",
        ],
    ),
    ("redis/api", &["core/ids", "core/now", "core/resp"]),
    ("redis/units", &["redis/api"]),
    ("redis/cluster", &["core/cluster", "core/hash_slot", "redis/api"]),
    ("redis/nodes", &["core/cluster", "redis/api"]),
    ("redis/peers", &["core/cluster", "core/backlog"]),
    ("redis/asks", &["core/ids", "core/cluster", "redis/api"]),
    ("redis/slice", &[]),
    ("redis/durability_warnings", &["redis/api"]),
    ("redis/check_clients", &["core/delivery", "redis/api"]),
    ("redis/file", &["file", "worker", "redis/api"]),
    ("redis/choices", &["core/settings", "redis/api"]),
    ("redis/sources", &["core/registration", "core/settings", "mongo/uri", "worker", "redis/api"]),
    (
        "redis/pipeline",
        &["core", "worker", "mongo/sink", "redis/api", "redis/slice", "redis/sources"],
    ),
    ("redis/flush_clients", &["core/ids", "core/backlog", "redis/api", "redis/pipeline"]),
    (
        "redis/node_flushes",
        &["core/ids", "core/cluster", "core/backlog", "redis/flush_clients", "redis/pipeline"],
    ),
    ("redis/read", &["core", "redis/api", "redis/cluster", "redis/pipeline"]),
    ("redis/replication/propagate", &["core/backlog", "core/delivery", "redis/api"]),
    ("redis/store", &["core/mapping", "redis/api", "redis/pipeline"]),
    (
        "redis/loads",
        &[
            "core",
            "redis/api",
            "redis/cluster",
            "redis/pipeline",
            "redis/read",
            "redis/replication/propagate",
            "redis/slice",
            "redis/store",
        ],
    ),
    (
        "redis/through",
        &["core", "redis/api", "redis/pipeline", "redis/replication/propagate", "redis/store"],
    ),
    (
        "redis/verify",
        &[
            "core",
            "redis/api",
            "redis/pipeline",
            "redis/read",
            "redis/replication/propagate",
            "redis/slice",
        ],
    ),
    ("redis/retain", &["core", "redis/api", "redis/pipeline", "redis/read"]),
    ("redis/replication/async_loading", &["core/backlog", "redis/api"]),
    (
        "redis/event_loop",
        &[
            "core",
            "worker",
            "redis/api",
            "redis/check_clients",
            "redis/loads",
            "redis/pipeline",
            "redis/replication/propagate",
            "redis/through",
            "redis/verify",
        ],
    ),
    (
        "redis/state",
        &[
            "redis/units",
            "redis/cluster",
            "redis/nodes",
            "redis/peers",
            "redis/asks",
            "redis/check_clients",
            "redis/flush_clients",
            "redis/node_flushes",
            "redis/loads",
            "redis/pipeline",
            "redis/read",
            "redis/retain",
            "redis/through",
            "redis/verify",
            "redis/replication/async_loading",
            "redis/event_loop",
        ],
    ),
    ("redis/call", &["core/ids", "core/registration", "core/backlog", "redis/api", "redis/state"]),
    ("redis/command_spec", &["redis/call"]),
    // The top level, which wires all parts together.
    ("redis", &["core", "worker", "mongo/explain", "mongo/read", "mongo/uri", "redis"]),
    ("core", &[]),
    ("mongo", &[]),
    ("lib", &[]),
];

/// The room of a file.
fn room(file: &str) -> &'static (&'static str, &'static [&'static str]) {
    let holds = |name: &str| {
        file.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let rooms = ROOMS.iter().filter(|(name, _)| holds(name));
    rooms.max_by_key(|(name, _)| name.len()).unwrap_or_else(|| panic!("{file} is in no room"))
}

/// The text of every source file by its module path, without tests and comments.
fn sources(folder: &Path, module: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        let name = path.file_stem().expect("name").to_str().expect("UTF-8").to_owned();
        let inner = if module.is_empty() { name.clone() } else { format!("{module}/{name}") };
        if name == "tests" || name == "doubles" {
            continue;
        }
        if path.is_dir() {
            sources(&path, &inner, found);
            continue;
        }
        let text = fs::read_to_string(&path).expect("source");
        let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
        let lines = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
        let own = if name == "mod" { module.to_owned() } else { inner };
        found.insert(own, lines.collect::<Vec<_>>().join("\n"));
    }
}

/// The paths of a `use` tree, with the braces expanded.
fn leaves(prefix: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return found.push(format!("{prefix}{path}").trim_end_matches("::self").to_owned());
    };
    let body = rest.rsplit_once('}').expect("a closing brace").0;
    let (mut depth, mut start) = (0, 0);
    for (at, letter) in body.char_indices().chain([(body.len(), ',')]) {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        if letter == ',' && depth == 0 {
            if !body[start..at].trim().is_empty() {
                leaves(&format!("{prefix}{head}"), &body[start..at], found);
            }
            start = at + 1;
        }
    }
}

/// All paths in the text that begin with `crate`, `super` or `self`; and the paths that a `pub use`
/// re-exports.
fn paths(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut used, mut reexports) = (Vec::new(), Vec::new());
    for statement in text.split(';') {
        let line = statement.rfind("use ").map(|at| (&statement[..at], &statement[at + 4..]));
        if let Some((before, tree)) = line
            && before.ends_with(['\n', ' ']) | before.is_empty()
            && !tree.contains(['(', '='])
        {
            let is_reexport =
                before.trim_end().ends_with("pub") || before.trim_end().ends_with(')');
            leaves("", tree, if is_reexport { &mut reexports } else { &mut used });
            continue;
        }
        for start in ["crate::", "super::", "self::"] {
            for (at, _) in statement.match_indices(start) {
                if statement[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                {
                    continue;
                }
                let end =
                    statement[at..].find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
                used.push(statement[at..end.map_or(statement.len(), |end| at + end)].to_owned());
            }
        }
    }
    (used, reexports)
}

/// The absolute path of `path` in `module`; `None` for a path of another crate.
fn absolute(module: &str, path: &str, files: &BTreeMap<String, String>) -> Option<String> {
    let mut words: Vec<&str> = path.trim_end_matches(':').split("::").collect();
    let mut from: Vec<&str> = module.split('/').collect();
    match words[0] {
        "crate" => from.clear(),
        "self" => {}
        "super" => {}
        child if files.contains_key(&format!("{module}/{child}")) => words.insert(0, "self"),
        _ => return None,
    }
    let supers = words.iter().take_while(|word| **word == "super").count();
    from.truncate(from.len() - supers);
    from.extend(&words[supers.max(1)..]);
    Some(from.join("/"))
}

/// The file that the longest prefix of `path` names, with re-exports resolved.
fn file_of(
    path: &str,
    files: &BTreeMap<String, String>,
    reexports: &BTreeMap<String, String>,
) -> Option<String> {
    let mut ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
    ends.push(path.len());
    for end in ends.iter().rev() {
        if let Some(real) =
            reexports.get(&path[..*end]).filter(|real| !real.starts_with(&path[..*end]))
        {
            return file_of(&format!("{real}{}", &path[*end..]), files, reexports);
        }
    }
    ends.iter()
        .rev()
        .find_map(|end| files.get_key_value(&path[..*end]))
        .map(|(file, _)| file.clone())
}

/// Every file in `folder` with the files that it imports.
fn arrows(folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut files = BTreeMap::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), "", &mut files);
    let mut reexports = BTreeMap::new();
    for (module, text) in &files {
        for path in paths(text).1 {
            let name = path.rsplit("::").next().unwrap_or_default();
            if let Some(real) = absolute(module, &path, &files) {
                reexports.insert(format!("{module}/{name}"), real);
            }
        }
    }
    let imports = files.iter().map(|(module, text)| {
        let used = paths(text).0;
        let reached = used.iter().filter_map(|path| absolute(module, path, &files));
        let reached = reached.filter_map(|path| file_of(&path, &files, &reexports));
        (module.clone(), reached.filter(|file| file != module).collect())
    });
    imports.collect()
}

#[test]
fn every_import_between_rooms_is_in_the_list() {
    let arrows = arrows("src");
    assert!(arrows.len() > 150, "{} files", arrows.len());
    assert!(arrows["redis/tick"].contains("redis/state"), "{:?}", arrows["redis/tick"]);
    assert!(arrows["mongo/sink"].contains("mongo/write/executor"), "{:?}", arrows["mongo/sink"]);
    let mut unknown = Vec::new();
    for (file, imports) in &arrows {
        let (own, allowed) = room(file);
        for import in imports {
            let (other, _) = room(import);
            let is_allowed =
                |name: &&str| *other == *name || other.starts_with(&format!("{name}/"));
            if own != other && !allowed.iter().any(is_allowed) {
                unknown.push(format!("{file} -> {import}"));
            }
        }
    }
    assert!(unknown.is_empty(), "not in the list of rooms: {unknown:#?}");
}

/// The files in import cycles, and those on paths between cycles: repeatedly removes the files that
/// import no remaining file and those that no remaining file imports.
fn cycles(folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut arrows = arrows(folder);
    assert!(arrows.len() > 20, "{} files in {folder}", arrows.len());
    loop {
        let before = arrows.len();
        let left: BTreeSet<String> = arrows.keys().cloned().collect();
        arrows.values_mut().for_each(|imports| imports.retain(|import| left.contains(import)));
        let imported: BTreeSet<String> = arrows.values().flatten().cloned().collect();
        arrows.retain(|file, imports| !imports.is_empty() && imported.contains(file));
        if arrows.len() == before {
            return arrows;
        }
    }
}

#[test]
fn there_are_no_import_cycles() {
    for folder in ["src", "tests/testkit/src"] {
        let cycles = cycles(folder);
        assert!(cycles.is_empty(), "{folder}: import cycles: {cycles:#?}");
    }
}
