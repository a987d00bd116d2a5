//! Messages of other nodes of a cluster: what is read is what is written again, and any statement can be
//! compared with a node's own. And the server's replies to COMMAND and CLUSTER NODES.
#![no_main]

use libfuzzer_sys::fuzz_target;
use writebehind::internals::{Backlog, Db, Message, Namespace, Registration, command_table, resp, topology};

fuzz_target!(|bytes: &[u8]| {
    let _ = resp::parts(bytes);
    let _ = command_table::parse(bytes);
    let _ = topology::nodes(&String::from_utf8_lossy(bytes));
    // With the mark in front, or else nearly nothing would be read.
    let message = [&b"WBc\x01"[..], bytes].concat();
    let Some(message) = Message::decode(&message) else { return };
    assert_eq!(Message::decode(&message.encode()).as_ref(), Some(&message));
    let mut backlog = Backlog::default();
    let namespace = Namespace { database: "d".to_owned(), collection: "c".to_owned() };
    backlog.register(Registration::new(Db(0), b"k:", namespace));
    match &message {
        Message::Statements(statements) => {
            for statement in statements {
                backlog.change_by(statement);
                backlog.took(statement);
            }
            backlog.statements();
            backlog.revisions_digest();
        }
        Message::HandOver { db, keys } => {
            for handed in keys {
                backlog.take_over(*db, handed, false, 1);
            }
            backlog.digest(1);
        }
        _ => {}
    }
});
