//! MongoDB as a [`Source`].

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{FindOptions, Hint, ReadConcern, ReadPreference, SelectionCriteria};
use mongodb::{Collection, Cursor};
use tokio::time::timeout;

use super::codes::{Meaning, meaning};
use super::error;
use super::read::{compare, json, keys, page};
use super::sink::MongoSink;
use super::write_concern::AcknowledgedBy;
use crate::core::delivery::comparison::{CompareRequest, Compared};
use crate::core::delivery::page::{FindRequest, Found, LoadRequest, Page, ReadFailure};
use crate::core::registration::Registration;
use crate::source::Source;

/// Documents of a page.
const DOCUMENTS: u32 = 1000;
/// A page with so many bytes ends.
const BYTES: usize = 4 << 20;
/// Time limit of a page. MongoDB may have to sort a collection for the first one.
const WITHIN: Duration = Duration::from_secs(120);
const SILENT: &str = "MongoDB does not answer at all";

/// Documents that are being read.
#[derive(Debug)]
pub struct MongoCursor {
    documents: Cursor<RawDocumentBuf>,
    registration: Arc<Registration>,
    keys_only: bool,
    /// The document that was read last before; it comes once more.
    after: Vec<u8>,
}

impl Source for MongoSink {
    type Cursor = MongoCursor;

    async fn open(&self, request: &LoadRequest) -> Result<MongoCursor, ReadFailure> {
        let mut find = options(request)?;
        if request.keys_only {
            find.projection = Some(doc! { &request.registration.key_field: 1 });
        }
        find.read_concern = Some(self.read_concern());
        let filter = parse("FILTER", &request.filter)?;
        let collection = self.collection(&request.registration);
        let opening = collection.find(filter).with_options(find);
        match timeout(WITHIN, opening.into_future()).await {
            Ok(Ok(documents)) => {
                let registration = Arc::clone(&request.registration);
                let (keys_only, after) = (request.keys_only, request.after.clone());
                Ok(MongoCursor { documents, registration, keys_only, after })
            }
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err(ReadFailure::transient(SILENT)),
        }
    }

    async fn next_page(&self, cursor: &mut MongoCursor) -> Result<Page, ReadFailure> {
        let reading = timeout(WITHIN, read_page(cursor));
        reading.await.unwrap_or_else(|_| Err(ReadFailure::transient(SILENT)))
    }

    async fn find(&self, request: &FindRequest) -> Result<Found, ReadFailure> {
        let within = Duration::from_millis(request.within_ms);
        let reading = timeout(within, self.find_all(request, within));
        reading.await.unwrap_or_else(|_| Err(ReadFailure::transient(SILENT)))
    }

    async fn compare(&self, request: CompareRequest) -> Result<Compared, ReadFailure> {
        let comparing = timeout(WITHIN, self.compare_all(request));
        comparing.await.unwrap_or_else(|_| Err(ReadFailure::transient(SILENT)))
    }
}

impl MongoSink {
    async fn compare_all(&self, request: CompareRequest) -> Result<Compared, ReadFailure> {
        let registration = Arc::clone(&request.batch.registration);
        let mut comparison = compare::Comparison::new(request);
        let Some(filter) = comparison.filter() else { return Ok(comparison.end()) };
        let mut options = self.options();
        options.batch_size = Some(comparison.len() + 1);
        let collection = self.collection(&registration);
        let mut documents =
            collection.find(filter).with_options(options).await.map_err(|error| failure(&error))?;
        while documents.advance().await.map_err(|error| failure(&error))? {
            comparison.add(documents.current().as_bytes());
        }
        Ok(comparison.end())
    }

    /// Options for reading documents by their keys.
    fn options(&self) -> FindOptions {
        let mut options = FindOptions::default();
        options.selection_criteria =
            Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        options.read_concern = Some(self.read_concern());
        options
    }

    fn collection(&self, of: &Registration) -> Collection<RawDocumentBuf> {
        let database = self.connected.client.database(&of.namespace.database);
        database.collection(&of.namespace.collection)
    }

    /// With another write concern than `majority`, the majority may be older than what was acknowledged.
    fn read_concern(&self) -> ReadConcern {
        match self.connected.write_concern.w {
            AcknowledgedBy::Majority => ReadConcern::majority(),
            _ => ReadConcern::local(),
        }
    }

    async fn find_all(
        &self,
        request: &FindRequest,
        within: Duration,
    ) -> Result<Found, ReadFailure> {
        let mut found = Found::default();
        let registration = &request.registration;
        let Some(filter) = keys::filter(registration, request.keys.iter().map(|key| &**key)) else {
            // None of the keys can have a document.
            found.page.is_last = true;
            return Ok(found);
        };
        let mut options = self.options();
        // One more, so that MongoDB closes the cursor with its first reply.
        options.batch_size = Some(u32::try_from(request.keys.len()).unwrap_or(DOCUMENTS) + 1);
        options.max_time = Some(within);
        let collection = self.collection(registration);
        let finding = collection.find(filter).with_options(options);
        let mut documents = finding.await.map_err(|error| failure(&error))?;
        while found.page.bytes.len() < BYTES {
            if !documents.advance().await.map_err(|error| failure(&error))? {
                found.page.is_last = true;
                break;
            }
            page::add_found(&mut found, documents.current().as_bytes(), registration);
        }
        Ok(found)
    }
}

async fn read_page(cursor: &mut MongoCursor) -> Result<Page, ReadFailure> {
    let mut read = Page::default();
    while read.documents < u64::from(DOCUMENTS) && read.bytes.len() < BYTES {
        if !cursor.documents.advance().await.map_err(|error| failure(&error))? {
            read.is_last = true;
            return Ok(read);
        }
        let document = cursor.documents.current().as_bytes();
        let after = std::mem::take(&mut cursor.after);
        if !after.is_empty() && page::id_of(document) == after {
            continue;
        }
        match cursor.keys_only {
            true => page::add_key(&mut read, document, &cursor.registration),
            false => page::add(&mut read, document, &cursor.registration),
        }
        if read.documents == u64::from(DOCUMENTS) || read.bytes.len() >= BYTES {
            read.last = page::id_of(document);
        }
    }
    Ok(read)
}

/// How the documents are read: from the primary.
fn options(request: &LoadRequest) -> Result<FindOptions, ReadFailure> {
    let LoadRequest { sort, limit, after, .. } = request;
    let mut options = FindOptions::default();
    options.batch_size = Some(DOCUMENTS);
    // With the one that was read last before.
    let most = limit.saturating_add(u64::from(!after.is_empty()));
    options.limit = (*limit > 0).then(|| i64::try_from(most).unwrap_or(i64::MAX));
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    let by_id = doc! { "_id": 1 };
    if sort.is_empty() {
        if !after.is_empty() {
            // Unlike `$gt`, it goes on with values of other types. It includes the document itself.
            let after = Document::from_reader(after.as_slice());
            options.min = after.ok();
            options.hint = Some(Hint::Keys(by_id.clone()));
        }
        options.sort = Some(by_id);
    } else {
        options.sort = Some(parse("SORT", sort)?);
    }
    Ok(options)
}

fn parse(option: &str, text: &[u8]) -> Result<Document, ReadFailure> {
    json::document(text)
        .map_err(|why| ReadFailure::permanent(format!("{option} takes a JSON object, and {why}")))
}

/// Why documents cannot be read. MongoDB's own message may have values of the filter.
fn failure(error: &Error) -> ReadFailure {
    const REFUSED: &str = "the query is refused; check FILTER and SORT of a load";
    let sentence = |why: &str, code: i32| format!("MongoDB: {why} (code {code})");
    let refused = match &*error.kind {
        ErrorKind::Command(refused) => refused,
        // The driver itself refuses it, for example for a NUL in a name.
        ErrorKind::InvalidArgument { .. } | ErrorKind::BsonSerialization(_) => {
            return ReadFailure::permanent(sentence(REFUSED, 0));
        }
        _ => return ReadFailure::transient(error::broken(error).error),
    };
    let because = |why: &str| sentence(why, refused.code);
    match meaning(refused.code) {
        Meaning::Link(why) | Meaning::Part(why) | Meaning::Transient(why) => {
            ReadFailure::transient(because(why))
        }
        Meaning::TooSlow => ReadFailure::transient(because("the time limit was reached")),
        // The cursor was closed, by a change of the primary or after ten minutes.
        _ if matches!(refused.code, 43 | 237 | 175) => {
            ReadFailure::transient(because("the reading was interrupted"))
        }
        _ if refused.code == 13 => {
            ReadFailure::permanent(because("the user may not read there; grant the role readWrite"))
        }
        _ => ReadFailure::permanent(because(REFUSED)),
    }
}
