//! MongoDB's error codes and what each of them means to us.
//!
//! The codes are those of `error_codes.yml` in MongoDB's source; that they come up in these
//! places was seen on MongoDB 6.0 where the design notes say so.

/// What an error code asks for, wherever it stands: in the reply as a whole, at one operation,
/// or as the write concern's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing can be written until this is over.
    Link(&'static str),
    /// Nothing can be written until somebody sees to it.
    Lasting(&'static str),
    /// This namespace refuses; others may go on.
    Namespace(&'static str),
    /// It clashed with something that passes by itself.
    Clash,
    /// The server's limit for one command was reached.
    TooSlow,
    /// One operation of the command cannot even be read by the server.
    Unreadable(&'static str),
    /// This one change is refused, now and always.
    Refused(&'static str),
    /// None of the codes we know.
    Unknown,
}

use Meaning::{Clash, Lasting, Link, Namespace, Refused, TooSlow, Unknown, Unreadable};

/// The codes with which a router tells that it lost a shard: what it passed on may still run.
pub const UNANSWERED: [i32; 4] = [6, 7, 89, 9001];

/// The code of a duplicate key, which means different things for different indexes.
pub use crate::core::dead::DUPLICATE_KEY;

/// What `code` means.
pub fn meaning(code: i32) -> Meaning {
    match code {
        6 | 7 | 89 | 9001 => Link("the connection between MongoDB's servers broke"),
        91 | 189 | 10_058 | 10_107 | 11_600 | 11_602 | 13_435 | 13_436 => {
            Link("the server is no primary at the moment, or is shutting down")
        }
        18 | 391 => Lasting("authentication failed; check user, password and authSource"),
        64 => Link("not enough members confirm the writes in time; check the replica set"),
        79 | 100 => Lasting(
            "the write concern asks for members or tags that the replica set does not have; \
             correct w in the connection string",
        ),
        133 | 134 => Link("no member is fit for it at the moment"),
        262 => Link("the server is too busy"),
        14_031 => Link("the server's disk is full"),

        13 => Namespace("the user may not write there; grant the role readWrite"),
        20 => Namespace("the server does not allow the operation there"),
        73 => Namespace("the namespace's name is not valid; register another"),
        166 => Namespace("it is a view; register a collection"),
        8000 => Namespace("Atlas refuses it; check the cluster's quota and state"),
        13_297 => Namespace("a database with the same name in other case exists"),

        // Another transaction of the same session came after it, or it is over already.
        225 | 251 => Clash,
        24 | 46 | 63 | 112 | 150 | 246 | 314 | 11_601 | 13_388 => Clash,
        50 => TooSlow,

        10_334 | 16 => Unreadable("the document is too large for MongoDB"),
        15 => Unreadable("the document is nested too deep for MongoDB"),
        22 | 40_414 | 40_415 => Unreadable("the document is not valid for MongoDB"),

        121 => Refused("the document fails the collection's schema validation"),
        17_419 | 17_420 => Refused("the document is too large for MongoDB"),
        // MongoDB 4.4. Newer ones take such names in the forms that we send.
        52 | 55 => Refused("a field's name begins with `$`, which MongoDB stores from 5.0 on"),
        2 | 9 | 40 | 56 | 57 => Refused("a field has a name or value that MongoDB does not take"),
        28 => Refused("a field lies below one that holds no document"),
        53 => Refused("MongoDB does not take such an _id"),
        66 => Refused("the document exists with another _id, which cannot be changed"),
        171 | 16_755 | 16_766 => Refused("an index of the collection cannot take the value"),
        61 => Refused("the document lacks the collection's shard key"),
        _ => Unknown,
    }
}
