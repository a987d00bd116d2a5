use proptest::prelude::*;

use super::*;
use crate::core::registration::Namespace;

const NODES: [NodeId; 3] = [[b'a'; 40], [b'b'; 40], [b'c'; 40]];

fn registration(prefix: &[u8], collection: &str) -> Registration {
    let (database, collection) = ("d".to_owned(), collection.to_owned());
    Registration::new(Db(0), prefix, Namespace { database, collection })
}

/// A command of a client on a node.
fn register(backlog: &mut Backlog, node: NodeId, prefix: &[u8], collection: &str, mark: Mark) {
    let registration = registration(prefix, collection);
    if !backlog.is_registered_as(&registration) || mark == Mark::Synced {
        backlog.register(registration);
        backlog.revise(Some((Db(0), prefix.to_vec())), mark, node, 0);
    }
}

fn unregister(backlog: &mut Backlog, node: NodeId, prefix: &[u8]) {
    if backlog.unregister(Db(0), prefix, false, 1).is_some() {
        backlog.revise(Some((Db(0), prefix.to_vec())), Mark::Unregistered, node, 0);
    }
}

/// What the server does with a statement.
fn take(backlog: &mut Backlog, statement: &Statement) -> Change {
    let change = backlog.change_by(statement);
    match (&change, statement) {
        (Change::Nothing, _) => return change,
        (Change::Pause(paused), _) => backlog.set_all_paused(*paused),
        (Change::Register { .. }, Statement::Prefix { state, .. }) => {
            let PrefixState::Registered { registration, .. } = state else { unreachable!() };
            backlog.register(registration.as_ref().clone());
        }
        (Change::Unregister { discards }, Statement::Prefix { db, prefix, .. }) => {
            backlog.unregister(*db, prefix, *discards, 1);
        }
        _ => {}
    }
    backlog.took(statement);
    change
}

fn tell(from: &Backlog, to: &mut Backlog) {
    for statement in from.statements() {
        take(to, &statement);
    }
}

fn collections(backlog: &Backlog) -> Vec<(Vec<u8>, String, bool)> {
    let live = backlog.registry.iter().filter(|active| active.live);
    let mut all: Vec<_> = live
        .map(|active| {
            let of = &active.registration;
            (of.prefix.clone(), of.namespace.collection.clone(), active.paused)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn a_registration_reaches_a_node_that_does_not_know_it_and_implies_sync() {
    let [mut a, mut b] = [Backlog::default(), Backlog::default()];
    register(&mut a, NODES[0], b"k:", "c", Mark::Registered);
    assert_ne!(a.revisions_digest(), b.revisions_digest());
    let statements = a.statements();
    assert_eq!(take(&mut b, &statements[0]), Change::Register { sync: true });
    assert_eq!(a.revisions_digest(), b.revisions_digest());
    assert_eq!(take(&mut b, &statements[0]), Change::Nothing);
    // Other options, of a node that knows it.
    register(&mut a, NODES[0], b"k:", "other", Mark::Registered);
    assert_eq!(take(&mut b, &a.statements()[0]), Change::Register { sync: false });
    register(&mut a, NODES[0], b"k:", "other", Mark::Synced);
    assert_eq!(take(&mut b, &a.statements()[0]), Change::Register { sync: true });
    // Equal options are nothing new.
    let digest = a.revisions_digest();
    register(&mut b, NODES[1], b"k:", "other", Mark::Registered);
    assert_eq!(b.revisions_digest(), digest);
}

#[test]
fn lines_of_a_file_lose_to_any_command_and_reach_nodes_that_know_nothing() {
    let [mut a, mut b, mut c] = [Backlog::default(), Backlog::default(), Backlog::default()];
    a.register(registration(b"k:", "file"));
    b.register(registration(b"k:", "file of b"));
    assert_eq!(a.revisions_digest(), b.revisions_digest());
    tell(&a, &mut b);
    assert_eq!(collections(&b)[0].1, "file of b");
    tell(&a, &mut c);
    assert_eq!(collections(&c)[0].1, "file");
    register(&mut b, NODES[1], b"k:", "command", Mark::Registered);
    tell(&a, &mut b);
    assert_eq!(collections(&b)[0].1, "command");
    for other in [&mut a, &mut c] {
        tell(&b, other);
        assert_eq!(collections(other)[0].1, "command");
    }
}

#[test]
fn an_ended_registration_does_not_come_back() {
    let [mut a, mut b] = [Backlog::default(), Backlog::default()];
    register(&mut a, NODES[0], b"k:", "c", Mark::Registered);
    tell(&a, &mut b);
    unregister(&mut a, NODES[0], b"k:");
    // The node was away, and has the old state.
    tell(&b, &mut a);
    assert!(collections(&a).is_empty());
    tell(&a, &mut b);
    assert!(collections(&b).is_empty());
    // Nor by its file.
    b.register(registration(b"k:", "c"));
    assert_eq!(b.take_ended_prefixes(), [(Db(0), b"k:".to_vec())]);
}

#[test]
fn a_pause_of_all_and_of_a_prefix_reach_other_nodes() {
    let [mut a, mut b] = [Backlog::default(), Backlog::default()];
    register(&mut a, NODES[0], b"k:", "c", Mark::Registered);
    tell(&a, &mut b);
    a.pause(None);
    a.revise(None, Mark::Registered, NODES[0], 0);
    tell(&a, &mut b);
    assert!(b.all_paused());
    b.resume(None);
    b.revise(None, Mark::Unregistered, NODES[1], 0);
    tell(&a, &mut b);
    assert!(!b.all_paused());
    tell(&b, &mut a);
    assert!(!a.all_paused());
    let id = a.registry.find_live(Db(0), b"k:").unwrap();
    a.pause(Some(id));
    a.revise(Some((Db(0), b"k:".to_vec())), Mark::Registered, NODES[0], 0);
    assert_eq!(
        take(&mut b, &a.statement(&Some((Db(0), b"k:".to_vec()))).unwrap()),
        Change::Revision
    );
    assert_eq!(collections(&b), collections(&a));
    assert!(collections(&b)[0].2);
}

#[derive(Clone, Debug)]
enum Step {
    Register(usize, u8, u8),
    Unregister(usize, u8),
    Pause(usize, Option<u8>),
    Resume(usize, Option<u8>),
    Tell(usize, usize),
    Restart(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..3usize;
    prop_oneof![
        (node.clone(), 0..3u8, 0..3u8)
            .prop_map(|(node, prefix, to)| Step::Register(node, prefix, to)),
        (node.clone(), 0..3u8).prop_map(|(node, prefix)| Step::Unregister(node, prefix)),
        (node.clone(), prop::option::of(0..3u8)).prop_map(|(node, of)| Step::Pause(node, of)),
        (node.clone(), prop::option::of(0..3u8)).prop_map(|(node, of)| Step::Resume(node, of)),
        (node.clone(), node.clone()).prop_map(|(from, to)| Step::Tell(from, to)),
        node.prop_map(Step::Restart),
    ]
}

/// WB.PAUSE and WB.RESUME.
fn pause(backlog: &mut Backlog, node: NodeId, of: Option<u8>, paused: bool) {
    let id = of.map(|of| backlog.registry.find_live(Db(0), &[b'k', of]));
    if id == Some(None) {
        return;
    }
    let ended = if paused { Vec::new() } else { backlog.paused_prefixes() };
    let change = if paused { Backlog::pause } else { Backlog::resume };
    change(backlog, id.flatten());
    let Some(of) = of else {
        let mark = if paused { Mark::Registered } else { Mark::Unregistered };
        backlog.revise(None, mark, node, 0);
        for of in ended {
            backlog.revise(Some(of), Mark::Registered, node, 0);
        }
        return;
    };
    backlog.revise(Some((Db(0), vec![b'k', of])), Mark::Registered, node, 0);
}

/// The backlog as it is loaded from its own RDB.
fn restarted(backlog: &mut Backlog) -> Backlog {
    let (mut loaded, mut records) = (Backlog::default(), Vec::new());
    let mut packer =
        crate::core::backlog::record::Packer::new(|block: &[u8]| records.push(block.to_vec()));
    backlog.save(1, |record| packer.push(&record));
    packer.end();
    drop(packer);
    loaded.clear();
    for block in &records {
        crate::core::backlog::record::unpack(block, |record| loaded.load(record, 1)).unwrap();
    }
    loaded.data_loaded(1);
    loaded
}

proptest! {
    #[test]
    fn nodes_agree_after_any_commands_messages_and_restarts(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut nodes = [Backlog::default(), Backlog::default(), Backlog::default()];
        for step in steps {
            match step {
                Step::Register(node, prefix, to) => {
                    let collection = format!("c{prefix}{to}");
                    register(&mut nodes[node], NODES[node], &[b'k', prefix], &collection, Mark::Registered);
                }
                Step::Unregister(node, prefix) => unregister(&mut nodes[node], NODES[node], &[b'k', prefix]),
                Step::Pause(node, of) => pause(&mut nodes[node], NODES[node], of, true),
                Step::Resume(node, of) => pause(&mut nodes[node], NODES[node], of, false),
                Step::Tell(from, to) => {
                    let statements = nodes[from].statements();
                    for statement in &statements {
                        take(&mut nodes[to], statement);
                    }
                }
                Step::Restart(node) => nodes[node] = restarted(&mut nodes[node]),
            }
        }
        // Each asks each other one whose digest differs, until none differs.
        for _ in 0..2 {
            for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
                let statements = nodes[from].statements();
                for statement in &statements {
                        take(&mut nodes[to], statement);
                    }
            }
        }
        let digests = [0, 1, 2].map(|node| nodes[node].revisions_digest());
        prop_assert_eq!(digests, [digests[0]; 3]);
        for node in 1..3 {
            prop_assert_eq!(collections(&nodes[node]), collections(&nodes[0]));
            prop_assert_eq!(nodes[node].all_paused(), nodes[0].all_paused());
        }
    }
}
