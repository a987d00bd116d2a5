//! A transaction of another application that locks documents.

use mongodb::bson::{Document, doc};
use mongodb::{Client, ClientSession};

use crate::mongod::block_on::block_on;
use crate::mongod::server::Mongod;

/// An open transaction. It ends with `end`, when it is dropped, or after a minute.
pub struct Transaction {
    session: ClientSession,
}

impl Transaction {
    /// Updates these documents, which must exist, and stays open.
    #[track_caller]
    pub fn hold(mongod: &Mongod, database: &str, collection: &str, ids: &[&str]) -> Self {
        block_on(async {
            let client = Client::with_uri_str(mongod.uri()).await.expect("client");
            let mut session = client.start_session().await.expect("session");
            session.start_transaction().await.expect("transaction");
            let documents = client.database(database).collection::<Document>(collection);
            let change = doc! { "$set": { "held": true } };
            let held = documents
                .update_many(doc! { "_id": { "$in": ids } }, change)
                .session(&mut session)
                .await
                .expect("update");
            assert_eq!(held.matched_count, ids.len() as u64, "documents of {collection}");
            Self { session }
        })
    }

    /// Aborts it: the documents are as before.
    pub fn end(mut self) {
        block_on(async { self.session.abort_transaction().await }).expect("abort");
    }
}
