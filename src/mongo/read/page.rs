//! Documents as values that can be stored.

use crate::core::delivery::page::{Found, Page, PageItem};
use crate::core::mapping::bson::Elements;
use crate::core::mapping::decode::{append_key, decode};
use crate::core::mapping::value::{Content, NO_EXPIRY, Span};
use crate::core::registration::Registration;

/// Adds a document to a page: its value, or the reason why it has none.
pub fn add(page: &mut Page, document: &[u8], registration: &Registration) {
    page.documents += 1;
    if let Err((_, error)) = append(page, document, registration) {
        page.unloadable += 1;
        page.error.get_or_insert(error);
    }
}

/// Adds a document that was asked for by its key.
pub fn add_found(found: &mut Found, document: &[u8], registration: &Registration) {
    found.page.documents += 1;
    if let Err(refused) = append(&mut found.page, document, registration) {
        found.refused.push(refused);
    }
}

/// Adds the key of a document without its value.
pub fn add_key(page: &mut Page, document: &[u8], registration: &Registration) {
    page.documents += 1;
    let start = page.bytes.len();
    match append_key(document, registration, &mut page.bytes) {
        Ok(true) => {
            let end = page.bytes.len();
            let (key, value) = (Span { start, end }, Span { start: end, end });
            let content = Content::Tombstone;
            page.items.push(PageItem { key, value, content, expire_ms: NO_EXPIRY });
        }
        Ok(false) | Err(_) => page.bytes.truncate(start),
    }
}

/// Appends the value of a document.
///
/// # Errors
/// The key, and one sentence, if no value can hold the document.
fn append(
    page: &mut Page,
    document: &[u8],
    registration: &Registration,
) -> Result<(), (Vec<u8>, String)> {
    let start = page.bytes.len();
    let is_key = append_key(document, registration, &mut page.bytes);
    let key = Span { start, end: page.bytes.len() };
    let result = match is_key {
        Ok(true) => decode(document, registration, &mut page.bytes),
        Ok(false) => Ok(None),
        Err(error) => Err(error.into()),
    };
    let value = Span { start: key.end, end: page.bytes.len() };
    match result {
        Ok(Some(decoded)) => page.items.push(PageItem {
            key,
            value,
            content: decoded.content,
            expire_ms: decoded.expire_ms,
        }),
        // It holds no value of a key of this registration.
        Ok(None) => page.bytes.truncate(start),
        Err(error) => {
            let key = page.bytes.get(key.range()).unwrap_or_default().to_vec();
            page.bytes.truncate(start);
            return Err((key, error.to_string()));
        }
    }
    Ok(())
}

/// A document with the `_id` of another one only; empty if it has none.
pub fn id_of(document: &[u8]) -> Vec<u8> {
    let Ok(mut elements) = Elements::of(document) else { return Vec::new() };
    loop {
        let before = elements.rest();
        let Some(Ok((name, _))) = elements.next() else { return Vec::new() };
        if name == b"_id" {
            let element = before.get(..before.len() - elements.rest().len()).unwrap_or_default();
            let length = i32::try_from(element.len() + 5).unwrap_or(i32::MAX);
            return [&length.to_le_bytes()[..], element, &[0]].concat();
        }
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{RawDocument, doc};

    use super::*;
    use crate::core::ids::Db;
    use crate::core::registration::{KeyType, Namespace};

    fn bytes_of(document: &mongodb::bson::Document) -> Vec<u8> {
        let mut bytes = Vec::new();
        document.to_writer(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_id_is_taken_as_it_is() {
        for id in [doc! { "_id": "x" }, doc! { "_id": { "a": [1] } }, doc! { "_id": 7 }] {
            let mut document = doc! { "before": 1 };
            document.extend(id.clone());
            document.insert("after", 2);
            let taken = id_of(&bytes_of(&document));
            assert_eq!(taken, bytes_of(&id));
            assert!(RawDocument::from_bytes(&taken).is_ok());
        }
        assert!(id_of(&bytes_of(&doc! { "a": 1 })).is_empty());
        assert!(id_of(b"damaged").is_empty());
    }

    #[test]
    fn a_page_has_the_values_and_the_first_reason_of_documents_without() {
        let namespace = Namespace { database: "d".into(), collection: "c".into() };
        let registration = Registration::new(Db(0), b"k:", namespace);
        let registration = Registration { key_type: KeyType::String, ..registration };
        let mut page = Page::default();
        for document in [
            doc! { "_id": "1", "value": "one" },
            doc! { "_id": 2, "value": "not a key" },
            doc! { "_id": "3", "value": [3] },
            doc! { "_id": "4", "value": { "four": 4 } },
            doc! { "_id": "5", "value": "five" },
        ] {
            add(&mut page, &bytes_of(&document), &registration);
        }
        let texts = |span: Span| String::from_utf8_lossy(&page.bytes[span.range()]).into_owned();
        let items: Vec<_> =
            page.items.iter().map(|item| (texts(item.key), texts(item.value))).collect();
        let expected = [("k:1", "one"), ("k:5", "five")];
        assert_eq!(items, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!((page.documents, page.unloadable), (5, 2));
        let error = page.error.unwrap();
        assert_eq!(error, "the field \"value\" is an array, which a string cannot hold");
    }
}
