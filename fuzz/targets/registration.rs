//! WB.REGISTER and the lines of a registrations-file: what is taken is printed, and read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use writebehind::internals::{Db, args, file_lines};

fuzz_target!(|text: &[u8]| {
    for (_, line) in file_lines::of(text) {
        let Ok(words) = file_lines::words(line) else { continue };
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        args::flush(&words).ok();
        args::letter_list(&words).ok();
        args::letters("DROP", &words).ok();
        let Ok((registration, _)) = args::registered(Db(0), &words) else {
            assert!(args::register(Db(0), &words).is_err(), "the strict reader takes no more");
            continue;
        };
        let printed = args::words(&registration);
        let printed: Vec<&[u8]> = printed.iter().map(Vec::as_slice).collect();
        let (again, _) = args::registered(Db(0), &printed).expect("its own words");
        assert_eq!(registration, again);
        if args::register(Db(0), &words).is_ok() {
            assert!(args::register(Db(0), &printed).is_ok(), "no option is printed twice");
        }
    }
});
