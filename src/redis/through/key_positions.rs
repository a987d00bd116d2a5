//! Where the keys of a call are.

use crate::core::command_table::{
    Command, Form, KeyRange, Keys, key_flags, may_change, needs_value,
    needs_value_although_it_blocks,
};

/// The keys on whose values a call of `len` words depends, as positions with their flags. `each` returns false to end.
/// `asked` has the same from the server; it is called only for a command whose keys the server must be asked for.
pub fn each<A: AsRef<[(usize, u32)]>>(
    command: &Command,
    len: usize,
    asked: impl FnOnce() -> A,
    mut each: impl FnMut(usize, u32) -> bool,
) {
    let needs = |flags: u32, others: bool| match command.form {
        Form::Blocking => needs_value_although_it_blocks(flags),
        _ => needs_value(flags, others),
    };
    match &command.keys {
        Keys::At(ranges) => {
            let reads = |range: &&KeyRange| range.flags & key_flags::OW == 0;
            for range in ranges.iter() {
                let others = ranges.iter().filter(reads).any(|other| other != range);
                if !needs(range.flags, others) {
                    continue;
                }
                for at in positions(range, len) {
                    if !each(at, range.flags) {
                        return;
                    }
                }
            }
        }
        Keys::Asked => {
            let keys = asked();
            let keys = keys.as_ref();
            let others = keys.iter().any(|(_, flags)| flags & key_flags::OW == 0);
            for &(at, flags) in keys {
                if needs(flags, others) && !each(at, flags) {
                    return;
                }
            }
        }
    }
}

/// The keys that a call of `len` words may change, as positions. `each` returns false to end. `asked` has
/// them and their flags from the server; it is called only for a command whose keys the server must be asked for.
pub fn each_written<A: AsRef<[(usize, u32)]>>(
    command: &Command,
    len: usize,
    asked: impl FnOnce() -> A,
    mut each: impl FnMut(usize) -> bool,
) {
    match &command.keys {
        Keys::At(ranges) => {
            for range in ranges.iter().filter(|range| may_change(range.flags)) {
                if !positions(range, len).all(&mut each) {
                    return;
                }
            }
        }
        Keys::Asked => {
            let keys = asked();
            let keys = keys.as_ref().iter();
            let mut written = keys.filter(|(_, flags)| may_change(*flags)).map(|(at, _)| *at);
            written.all(each);
        }
    }
}

/// The positions of a range among `len` words.
fn positions(range: &KeyRange, len: usize) -> impl Iterator<Item = usize> + use<> {
    let first = usize::from(range.first);
    let last = match range.last {
        last @ 0.. => first + last.unsigned_abs() as usize,
        last => len.saturating_sub(last.unsigned_abs() as usize),
    };
    (first..(last + 1).min(len)).step_by(usize::from(range.step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_at_its_last_key_or_counts_from_the_end() {
        let of = |first, last, step, len| {
            let range = KeyRange { first, last, step, flags: 0 };
            positions(&range, len).collect::<Vec<usize>>()
        };
        assert_eq!(of(1, 0, 1, 2), [1], "GET");
        assert_eq!(of(1, -1, 1, 4), [1, 2, 3], "MGET");
        assert_eq!(of(1, -1, 2, 5), [1, 3], "MSET");
        assert_eq!(of(1, -2, 1, 4), [1, 2], "BLPOP");
        assert_eq!(of(2, 0, 1, 3), [2], "OBJECT FREQ");
        assert_eq!(of(1, 1, 1, 3), [1, 2], "RENAME, as a module may say it");
        assert!(of(3, 0, 1, 3).is_empty() && of(1, -3, 1, 2).is_empty());
    }
}
