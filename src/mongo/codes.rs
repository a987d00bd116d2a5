//! Classifies MongoDB's error codes by what they affect: the link, the namespace, one operation
//! temporarily, or one document permanently.
//!
//! The codes and their names are those of `error_codes.yml` in MongoDB's source, and of code there
//! that throws numeric codes of its own; the design notes say which of them were observed on
//! MongoDB 6.0. A code that is not listed is classified by the results of the other operations of
//! its batch.

/// The class of an error code, wherever it occurs: as the command's error, as a write error, or as
/// the write concern error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing can be written until the condition is over.
    Link(&'static str),
    /// Nothing can be written until the operator changes something.
    Permanent(&'static str),
    /// A part of the deployment that this namespace needs, such as a shard, is unreachable; others
    /// can still be written.
    Part(&'static str),
    /// The namespace refuses writes; others can still be written.
    Namespace(&'static str),
    /// A conflict or a lack of resources that ends by itself: the operation can be retried.
    Transient(&'static str),
    /// The command exceeded its time limit (`maxTimeMS`).
    TooSlow,
    /// The server rejects the whole command, because it cannot parse one of its operations.
    Rejected(&'static str),
    /// This one operation is refused permanently.
    Refused(&'static str),
    /// The collection's options or indexes refuse this document, and possibly every document.
    Collection(&'static str),
    /// A code that is not listed.
    Unknown,
}

use Meaning::{
    Collection, Link, Namespace, Part, Permanent, Refused, Rejected, TooSlow, Transient, Unknown,
};

/// The codes with which mongos reports that it lost the connection to a shard: the operations that
/// it forwarded may still run.
pub const UNANSWERED: [i32; 5] = [6, 7, 89, 202, 9001];

/// The code of a duplicate key, which means different things for different indexes.
pub use crate::core::backlog::dead_letters::DUPLICATE_KEY;

/// The code of a document that fails the collection's validator.
pub const VALIDATION: i32 = 121;

/// The class of `code`.
pub fn meaning(code: i32) -> Meaning {
    match code {
        ..=999 => by_name(code),
        _ => by_number(code),
    }
}

/// The codes up to 999, which have names and are numbered consecutively.
fn by_name(code: i32) -> Meaning {
    match code {
        225 => Link("another server has taken the lease, or writes in the same session"),
        91 | 189 | 216 | 333 => Link("the server is no primary at the moment, or is shutting down"),
        18 | 391 => Permanent("authentication failed; check user, password and authSource"),
        64 => Link("not enough members confirm the writes in time; check the replica set"),
        79 | 100 => Permanent(
            "the write concern asks for members or tags that the replica set does not have; \
             correct w in the connection string",
        ),
        322 | 323 | 324 | 347 => Permanent("the server does not speak this version of the API"),

        6 | 7 | 89 | 202 => Part("the connection between MongoDB's servers broke"),
        70 | 133 | 134 | 149 => Part("no member of a shard is fit for it at the moment"),

        13 => Namespace("the user may not write there; grant the role readWrite"),
        20 => Namespace("the server does not allow the operation there"),
        26 | 227 | 242 | 383 => Namespace("the collection cannot be made; create it"),
        72 => Namespace(
            "the collection's options do not allow it; a time series collection takes no changes \
             of single documents: register another collection",
        ),
        73 => Namespace("the namespace's name is not valid; register another"),
        59 | 115 | 238 => Namespace("the server does not have the command"),
        161 => Namespace("the server does not know the version of the collection's collation"),
        165 | 166 | 167 | 169 | 182 => Namespace("it is a view; register a collection"),
        215 => Namespace("the database is being dropped"),
        276 | 285 => Namespace("an index is being built or was given up"),
        291 => Namespace("the server finds no plan for it; check notablescan and the indexes"),
        301 => Namespace("the server found damaged data in it"),
        319 | 338 | 340 | 341 | 342 | 414 | 453 => {
            Namespace("the collection is being moved or resharded")
        }
        371 => Namespace("writes of users are blocked by setUserWriteBlockMode"),
        385 => Namespace("another operation on the database does not allow it"),

        // The transaction has ended already, or the session is used in another way.
        251 | 217 | 228 | 256 | 356 | 363 => Transient("its session is used elsewhere"),
        24 | 46 | 107 | 112 | 117 | 208 | 267 | 314 => {
            Transient("another operation in MongoDB holds it")
        }
        48 | 82 | 175 | 221 | 237 | 279 | 281 | 282 | 290 | 355 => {
            Transient("the operation was interrupted in MongoDB")
        }
        63 | 150 | 200 | 203 | 239 | 246 | 249 | 250 | 272 | 343 => {
            Transient("the routing of the collection is out of date")
        }
        365 | 388 => Transient("MongoDB's cache is too full for it"),
        146 | 261 | 264 | 402 | 406 | 407 | 412 | 433 | 449 | 450 | 462 => {
            Transient("MongoDB has too much to do")
        }
        50 | 262 => TooSlow,

        16 => Rejected("the document is too large for MongoDB"),
        15 => Rejected("the document is nested too deep for MongoDB"),
        22 | 357 | 378 => Rejected("the document is not valid for MongoDB"),

        121 => Refused("the document fails the collection's schema validation"),
        // MongoDB 4.4. Newer versions accept such names in the commands that the module sends.
        52 | 55 => Refused("a field's name begins with `$`, which MongoDB stores from 5.0 on"),
        2 | 9 | 40 | 56 | 57 => Refused("a field has a name or value that MongoDB does not take"),
        28 => Refused("a field lies below one that holds no document"),
        53 => Refused("MongoDB does not take such an _id"),
        66 => Refused("the document exists with another _id, which cannot be changed"),
        61 => Refused("the document lacks the collection's shard key"),
        116 => Refused("the document is too large for the capped collection"),
        171 => Refused("an index of the collection cannot take the value"),
        201 => Collection("an index of the collection cannot take it"),
        _ => Unknown,
    }
}

/// The numeric codes, which identify the place in the source that throws them.
fn by_number(code: i32) -> Meaning {
    match code {
        10_058 | 10_107 | 11_600 | 11_602 | 13_435 | 13_436 => {
            Link("the server is no primary at the moment, or is shutting down")
        }
        9001 => Part("the connection between MongoDB's servers broke"),
        56_846 => Part("the config servers are not reached"),

        8000 => Namespace("Atlas refuses it; check the cluster's quota and state"),
        12_501 => Namespace("the quota of the database is used up"),
        14_031 => Namespace("the server's disk is full"),
        13_297 => Namespace("a database with the same name in other case exists"),
        50_768 => Namespace("the server does not number the command"),

        11_601 | 46_841 | 91_331 | 10_045_600 => {
            Transient("the operation was interrupted in MongoDB")
        }
        12_586 | 12_587 | 50_915 => Transient("another operation in MongoDB holds it"),
        13_388 => Transient("the routing of the collection is out of date"),
        16_500 => Transient("MongoDB has too much to do"),

        10_334 => Rejected("the document is too large for MongoDB"),
        40_413..=40_415 => Rejected("the document is not valid for MongoDB"),

        17_419 | 17_420 => Refused("the document is too large for MongoDB"),
        16_755 | 16_756 | 16_766 | 16_804 | 13_026 | 13_027 | 13_068 | 13_654 => {
            Refused("an index of the collection cannot take the value")
        }
        17_280 => Refused("a value is too long for an index of the collection"),

        10_003 | 10_101 => Collection(
            "it is a capped collection, which does not take documents that grow or are deleted: \
             register another collection",
        ),
        17_261 | 17_262 => Collection(
            "its text index takes a field of the document, `language` by default, for the name of \
             a language, and the value is none: make the index with another language_override",
        ),
        _ => Unknown,
    }
}
