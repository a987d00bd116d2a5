//! The source: where documents are read. A trait, so that the worker can be tested without MongoDB.

use std::future::Future;

use crate::core::delivery::comparison::{CompareRequest, Compared};
use crate::core::delivery::page::{FindRequest, Found, LoadRequest, Page, ReadFailure};

/// Reads documents.
pub trait Source: 'static {
    /// Documents that are being read.
    type Cursor: 'static;

    /// Begins to read the documents of a request. Ends within a bounded time.
    fn open(
        &self,
        request: &LoadRequest,
    ) -> impl Future<Output = Result<Self::Cursor, ReadFailure>>;

    /// The next documents, as values. Ends within a bounded time.
    fn next_page(
        &self,
        cursor: &mut Self::Cursor,
    ) -> impl Future<Output = Result<Page, ReadFailure>>;

    /// The documents of keys. Ends within a bounded time.
    fn find(&self, request: &FindRequest) -> impl Future<Output = Result<Found, ReadFailure>>;

    /// Compares keys with their documents. Ends within a bounded time.
    fn compare(
        &self,
        request: CompareRequest,
    ) -> impl Future<Output = Result<Compared, ReadFailure>>;
}
