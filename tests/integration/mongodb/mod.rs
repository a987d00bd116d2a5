//! MongoDB that is unreachable, slow, secured or old, that rejects writes or sends invalid replies.

mod abandoned_transactions;
mod atomic;
pub mod authentication;
mod collations;
mod contradictions;
mod errors;
mod indexes;
mod late_writes;
mod link;
mod merge_form;
pub mod network;
mod old_mongodb;
mod outage;
mod reconnects;
mod shared_collections;
mod stepdowns;
mod stuck;
mod tls;
mod uris;
mod write_form;
