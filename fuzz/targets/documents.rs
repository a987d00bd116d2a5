//! Documents from MongoDB: what becomes a value can be stored, and its document becomes the same value again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use writebehind::internals::{
    Db, KeyType, LoadOptions, Namespace, Page, Registration, add_document, args, decode, id_of,
};

const TYPES: [KeyType; 7] = [
    KeyType::Hash,
    KeyType::Json,
    KeyType::String,
    KeyType::List,
    KeyType::Set,
    KeyType::Zset,
    KeyType::Stream,
];

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, document)) = bytes.split_first() else { return };
    let words: Vec<&[u8]> = document.split(|byte| *byte == b' ').collect();
    if let Ok(options) = args::load::parse(&words) {
        let printed = args::load::words(&options);
        let printed: Vec<&[u8]> = printed.iter().map(Vec::as_slice).collect();
        assert_eq!(args::load::parse(&printed), Ok::<LoadOptions, String>(options));
    }
    let namespace = Namespace { database: "d".to_owned(), collection: "c".to_owned() };
    let key_type = TYPES[usize::from(choice % 7)];
    let registration = Registration { key_type, ..Registration::new(Db(0), b"k:", namespace) };
    // The length and the end are right, or else nearly nothing would be read.
    let length = (document.len() as i32 + 5).to_le_bytes();
    let document = [&length[..], document, &[0]].concat();
    let mut value = Vec::new();
    let decoded = decode(&document, &registration, &mut value);
    if let Err(why) = &decoded {
        assert!(!why.to_string().is_empty());
    }
    id_of(&document);
    let mut page = Page::default();
    add_document(&mut page, &document, &registration);
    assert!(page.items.len() <= 1 && page.documents == 1);
});
