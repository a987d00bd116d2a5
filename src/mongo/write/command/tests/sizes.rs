//! The size limits of commands.

use super::*;

#[test]
fn operations_that_do_not_fit_are_in_the_next_command() {
    let third = vec![b'x'; MAX_COMMAND_BYTES / 3 + 100];
    let reads: Vec<(&[u8], Content, &[u8])> =
        [&b"k:0"[..], b"k:1", b"k:2", b"k:3"].map(|key| (key, Content::String, &third[..])).into();
    let built = build(&batch(registration(), &reads), Kind::Update);
    let items: Vec<_> = built.commands.iter().map(|command| &command.items[..]).collect();
    assert_eq!(items, [&[0, 1][..], &[2, 3]]);
    for command in &built.commands {
        assert!(command.bytes.len() <= MAX_COMMAND_BYTES);
        operations(command);
    }
}

#[test]
fn a_command_may_be_filled_to_the_last_byte() {
    let filled = |extra: usize| {
        let none: [(&[u8], Content, &[u8]); 2] =
            [(b"k:0", Content::String, b""), (b"k:1", Content::String, b"")];
        let small = build(&batch(registration(), &none), Kind::Update);
        let first = vec![b'x'; MAX_COMMAND_BYTES - small.commands[0].bytes.len() + extra];
        let reads: [(&[u8], Content, &[u8]); 2] =
            [(b"k:0", Content::String, &first), (b"k:1", Content::String, b"")];
        build(&batch(registration(), &reads), Kind::Update).commands
    };
    let full = filled(0);
    assert_eq!((full.len(), full[0].bytes.len()), (1, MAX_COMMAND_BYTES));
    assert_eq!(filled(1).len(), 2);
}

#[test]
fn a_document_of_sixteen_mebibytes_has_a_command_of_its_own() {
    let large = vec![b'x'; 16_777_216 - 28];
    for write in [WriteMode::Replace, WriteMode::Merge] {
        let registration = Registration { write, ..registration() };
        let reads: [(&[u8], Content, &[u8]); 3] = [
            (b"k:0", Content::String, b"small"),
            (b"k:1", Content::String, &large),
            (b"k:2", Content::String, b"small"),
        ];
        let built = build(&batch(registration, &reads), Kind::Update);
        assert_eq!(built.refused, []);
        let items: Vec<_> = built.commands.iter().map(|command| &command.items[..]).collect();
        assert_eq!(items, [[0], [1], [2]]);
        assert!(built.commands.iter().all(|command| command.bytes.len() <= MAX_SINGLE_BYTES));
    }
}

#[test]
fn a_key_that_fits_into_no_command_is_refused() {
    let half = [b"k:", &vec![b'x'; 9_000_000][..]].concat();
    let whole = [b"k:", &vec![b'x'; 17_000_000][..]].concat();
    let reads: [(&[u8], Content, &[u8]); 4] = [
        (b"k:0", Content::Tombstone, b""),
        (&half, Content::String, b"twice in an update"),
        (&half[1..], Content::Tombstone, b""),
        (&whole, Content::Tombstone, b""),
    ];
    let registration = Registration { prefix: Vec::new(), ..registration() };
    let built = build(&batch(registration, &reads), Kind::Update);
    let refused: Vec<_> = built.refused.iter().map(|r| (r.index, r.reason.as_str())).collect();
    let reason = "the key is too long to be written";
    assert_eq!(refused, [(1, reason), (3, reason)]);
    let items: Vec<_> = built.commands.iter().map(|command| &command.items[..]).collect();
    assert_eq!(items, [[0, 2]]);
}

#[test]
fn a_command_has_at_most_a_hundred_thousand_operations() {
    let keys: Vec<String> = (0..MAX_COMMAND_OPS + 1).map(|n| format!("k:{n}")).collect();
    let reads: Vec<(&[u8], Content, &[u8])> =
        keys.iter().map(|key| (key.as_bytes(), Content::Tombstone, &b""[..])).collect();
    let built = build(&batch(registration(), &reads), Kind::Update);
    let items: Vec<_> = built.commands.iter().map(|command| command.items.len()).collect();
    assert_eq!(items, [MAX_COMMAND_OPS, 1]);
    assert_eq!(built.commands[1].items, [MAX_COMMAND_OPS as u32]);
    operations(&built.commands[0]);
}
