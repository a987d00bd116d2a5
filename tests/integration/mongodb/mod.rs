//! MongoDB as it is: away, slow, secured, old, refusing, contradicting itself.

mod abandoned_transactions;
pub mod authentication;
mod collations;
mod contradictions;
mod errors;
mod indexes;
mod late_writes;
mod link;
pub mod network;
mod old_mongodb;
mod outage;
mod reconnects;
mod shared_collections;
mod stepdowns;
mod stuck;
mod tls;
mod uris;
