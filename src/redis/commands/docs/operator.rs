//! The commands with which an operator looks closely and intervenes.

use super::{Arg, Doc, Keys, Kind, PREFIX, arg, option};

const LETTERS: &[Arg] = &[Arg {
    optional: true,
    parts: &[
        arg(c"prefix", Kind::Text),
        Arg { optional: false, ..option(c"key", c"KEY", Kind::Key) },
    ],
    ..arg(c"scope", Kind::OneOf)
}];

/// WB.EXPLAIN, WB.CHECK, WB.SYNC, WB.PAUSE, WB.RESUME, WB.DEADLETTER and its subcommands.
pub const DOCS: [Doc; 10] = [
    Doc {
        name: c"WB.EXPLAIN",
        summary: c"Tells how a key stands, and the document that would be written of it now.",
        complexity: c"O(N) where N is the size of the value",
        arity: 2,
        args: &[arg(c"key", Kind::Key)],
        keys: Some(Keys::First),
    },
    Doc {
        name: c"WB.CHECK",
        summary: c"Connects to MongoDB and tells what it is and whether the user may write.",
        complexity: c"O(N) where N is the number of registrations; the client waits for MongoDB",
        arity: -1,
        args: &[Arg { optional: true, ..arg(c"uri", Kind::Text) }],
        keys: None,
    },
    Doc {
        name: c"WB.SYNC",
        summary: c"Marks every existing key under a prefix to be written, in the background.",
        complexity: c"O(N) where N is the number of registrations; the scan, of keys",
        arity: 2,
        args: &[arg(c"prefix", Kind::Text)],
        keys: None,
    },
    Doc {
        name: c"WB.PAUSE",
        summary: c"Stops writing to MongoDB; changes are captured and kept.",
        complexity: c"O(N) where N is the number of registrations",
        arity: -1,
        args: &[PREFIX],
        keys: None,
    },
    Doc {
        name: c"WB.RESUME",
        summary: c"Restarts writing to MongoDB; without a prefix it ends every pause.",
        complexity: c"O(N) where N is the number of registrations",
        arity: -1,
        args: &[PREFIX],
        keys: None,
    },
    Doc {
        name: c"WB.DEADLETTER",
        summary: c"A container for commands about changes that MongoDB refuses.",
        complexity: c"Depends on subcommand.",
        arity: -2,
        args: &[],
        keys: None,
    },
    Doc {
        name: c"WB.DEADLETTER|LIST",
        summary: c"Lists the changes that MongoDB refuses, with code and reason.",
        complexity: c"O(N) where N is the number of dead letters",
        arity: -2,
        args: &[PREFIX, option(c"count", c"COUNT", Kind::Number)],
        keys: None,
    },
    Doc {
        name: c"WB.DEADLETTER|RETRY",
        summary: c"Writes the keys of dead letters once more.",
        complexity: c"O(N) where N is the number of dead letters, O(1) with KEY",
        arity: -2,
        args: LETTERS,
        keys: Some(Keys::BehindKey),
    },
    Doc {
        name: c"WB.DEADLETTER|DROP",
        summary: c"Forgets dead letters.",
        complexity: c"O(N) where N is the number of dead letters, O(1) with KEY",
        arity: -2,
        args: LETTERS,
        keys: Some(Keys::BehindKey),
    },
    Doc {
        name: c"WB.DEADLETTER|HELP",
        summary: c"Lists the subcommands.",
        complexity: c"O(1)",
        arity: 2,
        args: &[],
        keys: None,
    },
];
