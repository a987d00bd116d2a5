//! Several collections at one moment.

use mongodb::bson::{Document, doc};
use mongodb::error::Result;
use mongodb::options::{ReadConcern, WriteConcern};

use crate::mongod::block_on::block_on;
use crate::mongod::server::TestDatabase;

/// More documents than any test has: each collection is read in one reply.
const BATCH: u32 = 100_000;

impl TestDatabase {
    /// Every document of each of these collections at one moment, as any client of a replica set may
    /// see them: read in one transaction with read concern `snapshot`. With write concern `majority`
    /// the commit guarantees that what was read is majority-committed.
    pub fn snapshot(&self, collections: &[&str]) -> Result<Vec<Vec<Document>>> {
        block_on(async {
            let mut session = self.inner().client().start_session().await?;
            let transaction = session.start_transaction().read_concern(ReadConcern::snapshot());
            transaction.write_concern(WriteConcern::majority()).await?;
            let mut snapshot = Vec::new();
            for name in collections {
                let collection = self.inner().collection::<Document>(name);
                let find = collection.find(doc! {}).batch_size(BATCH);
                let mut cursor = find.session(&mut session).await?;
                let mut documents = Vec::new();
                while cursor.advance(&mut session).await? {
                    documents.push(cursor.deserialize_current()?);
                }
                snapshot.push(documents);
            }
            session.commit_transaction().await?;
            Ok(snapshot)
        })
    }
}
