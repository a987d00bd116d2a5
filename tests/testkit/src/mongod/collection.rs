//! A MongoDB collection, read and modified as by another application.

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReadConcern;

use crate::mongod::block_on::block_on;

/// A collection with blocking methods.
pub struct Collection {
    inner: mongodb::Collection<Document>,
}

impl Collection {
    pub fn new(inner: mongodb::Collection<Document>) -> Self {
        Self { inner }
    }

    pub fn count(&self) -> u64 {
        block_on(async { self.inner.count_documents(doc! {}).await }).expect("count")
    }

    /// The number of documents that match.
    pub fn count_of(&self, filter: Document) -> u64 {
        block_on(async { self.inner.count_documents(filter).await }).expect("count")
    }

    /// Every document, read with read concern `majority`.
    pub fn majority_committed(&self) -> mongodb::error::Result<Vec<Document>> {
        block_on(async {
            let find = self.inner.find(doc! {}).batch_size(10_000);
            let mut cursor = find.read_concern(ReadConcern::majority()).await?;
            let mut documents = Vec::new();
            while cursor.advance().await? {
                documents.push(cursor.deserialize_current()?);
            }
            Ok(documents)
        })
    }

    pub fn find(&self, filter: Document) -> Option<Document> {
        block_on(async { self.inner.find_one(filter).await }).expect("find")
    }

    pub fn by_id(&self, id: impl Into<Bson>) -> Option<Document> {
        self.find(doc! { "_id": id.into() })
    }

    /// The document with that `_id`, which must exist.
    #[track_caller]
    pub fn document(&self, id: impl Into<Bson>) -> Document {
        let id = id.into();
        self.by_id(id.clone()).unwrap_or_else(|| panic!("no document of _id {id}"))
    }

    /// The string in a field of the document with that `_id`; both must exist.
    #[track_caller]
    pub fn text(&self, id: impl Into<Bson>, field: &str) -> String {
        let document = self.document(id);
        document.get_str(field).unwrap_or_else(|error| panic!("{error} in {document}")).to_owned()
    }

    /// Every document, unordered.
    pub fn all(&self) -> Vec<Document> {
        block_on(async {
            let mut cursor = self.inner.find(doc! {}).batch_size(1000).await?;
            let mut documents = Vec::new();
            while cursor.advance().await? {
                documents.push(cursor.deserialize_current()?);
            }
            Ok::<_, mongodb::error::Error>(documents)
        })
        .expect("find")
    }

    pub fn insert(&self, document: Document) {
        block_on(async { self.inner.insert_one(document).await }).expect("insert");
    }

    pub fn insert_many(&self, documents: impl IntoIterator<Item = Document>) {
        block_on(async { self.inner.insert_many(documents).await }).expect("insert");
    }

    pub fn update(&self, filter: Document, update: Document) {
        block_on(async { self.inner.update_one(filter, update).await }).expect("update");
    }

    /// The fields of each unique index, except that of `_id`.
    pub fn unique_indexes(&self) -> Vec<Vec<String>> {
        let indexes = block_on(async {
            let mut cursor = self.inner.list_indexes().await?;
            let mut indexes = Vec::new();
            while cursor.advance().await? {
                indexes.push(cursor.deserialize_current()?);
            }
            Ok::<_, mongodb::error::Error>(indexes)
        });
        // The collection may not exist yet.
        indexes
            .unwrap_or_default()
            .into_iter()
            .filter(|index| {
                index.options.as_ref().is_some_and(|options| options.unique == Some(true))
            })
            .map(|index| index.keys.keys().cloned().collect())
            .collect()
    }
}
