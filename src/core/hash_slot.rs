//! Hash slots of Redis Cluster.

use std::ops::RangeInclusive;

/// The hash slot of a key, 0–16383: CRC16 (XMODEM) of the part in the first braces that are not empty, or of the
/// whole key (<https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>).
pub fn slot(key: &[u8]) -> u16 {
    let tag = || {
        let open = key.iter().position(|byte| *byte == b'{')?;
        let rest = key.get(open + 1..)?;
        let close = rest.iter().position(|byte| *byte == b'}')?;
        rest.get(..close).filter(|tag| !tag.is_empty())
    };
    crc16(tag().unwrap_or(key)) % 16_384
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    })
}

/// The slots of the server that gave this reply to CLUSTER NODES, those included that are about to leave it.
pub fn served_slots(nodes: &str) -> Vec<RangeInclusive<u16>> {
    let is_range = |word: &str| !word.starts_with('[');
    slots_of(nodes, is_range)
}

/// The same with those that are about to come.
pub fn own_slots(nodes: &str) -> Vec<RangeInclusive<u16>> {
    slots_of(nodes, |_| true)
}

fn slots_of(nodes: &str, takes: impl Fn(&str) -> bool) -> Vec<RangeInclusive<u16>> {
    let is_own = |line: &&str| line.split(' ').nth(2).is_some_and(|flags| flags.contains("myself"));
    let own = nodes.lines().find(is_own).unwrap_or_default();
    let range = |word: &str| {
        // `[77-<-292f]` is about to come. One that is about to leave is in a range, too.
        if let Some((slot, _)) = word.strip_prefix('[').and_then(|word| word.split_once("-<-")) {
            let slot = slot.parse().ok()?;
            return Some(slot..=slot);
        }
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    own.split(' ').skip(8).filter(|word| takes(word)).filter_map(range).collect()
}

/// A set of slots.
#[derive(Clone, Debug)]
pub struct SlotSet([u64; 256]);

impl Default for SlotSet {
    fn default() -> Self {
        SlotSet([0; 256])
    }
}

impl SlotSet {
    /// True if no slot is in it.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|bits| *bits == 0)
    }

    /// True if `slot` is in it.
    pub fn contains(&self, slot: u16) -> bool {
        self.0.get(usize::from(slot / 64)).is_some_and(|bits| bits >> (slot % 64) & 1 == 1)
    }

    /// True if all these slots are in it.
    pub fn contains_all(&self, slots: &[RangeInclusive<u16>]) -> bool {
        slots.iter().cloned().flatten().all(|slot| self.contains(slot))
    }

    fn set(&mut self, slot: u16, is_in: bool) {
        let Some(bits) = self.0.get_mut(usize::from(slot / 64)) else { return };
        let bit = 1 << (slot % 64);
        *bits = if is_in { *bits | bit } else { *bits & !bit };
    }

    /// Follows a command CLUSTER with these words after its name, on the node `own`: the set has the slots that
    /// were given to other nodes, and have not come back. Words that are not understood change nothing.
    pub fn follow(&mut self, words: &[&[u8]], own: &[u8]) {
        let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse().ok();
        let is = |word: &[u8], name: &[u8]| word.eq_ignore_ascii_case(name);
        match words {
            [name, slot, state, rest @ ..] if is(name, b"setslot") => {
                let Some(slot) = number(slot) else { return };
                let is_given =
                    is(state, b"migrating") || is(state, b"node") && rest.first() != Some(&own);
                self.set(slot, is_given);
            }
            // SLOTSRANGE <first> <last> [<first> <last> ...] NODE <id>, once or more.
            [name, rest @ ..] if is(name, b"migrateslots") => {
                for pair in rest.split(|word| is(word, b"slotsrange")) {
                    let end = pair.iter().position(|word| is(word, b"node")).unwrap_or(pair.len());
                    for range in pair.get(..end).unwrap_or_default().chunks_exact(2) {
                        let (first, last) = (number(range[0]), number(range[1]));
                        let Some((first, last)) = first.zip(last) else { continue };
                        (first..=last.min(16_383)).for_each(|slot| self.set(slot, true));
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(slots: &mut SlotSet, line: &str) -> Vec<u16> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        slots.follow(&words, b"own");
        (0..16_384).filter(|slot| slots.contains(*slot)).collect()
    }

    #[test]
    fn slots_that_were_given_away_are_known_until_they_come_back() {
        let mut slots = SlotSet::default();
        assert!(slots.is_empty());
        assert_eq!(follow(&mut slots, "SETSLOT 16383 MIGRATING other"), [16_383]);
        assert!(slots.contains_all(&[]) && slots.contains_all(&[16_383..=16_383]));
        assert!(!slots.contains_all(&[16_382..=16_383]));
        assert_eq!(follow(&mut slots, "setslot 5 node other"), [5, 16_383]);
        assert_eq!(follow(&mut slots, "SETSLOT 5 IMPORTING other"), [16_383]);
        assert!(follow(&mut slots, "SETSLOT 16383 NODE own").is_empty());
        let line = "MIGRATESLOTS SLOTSRANGE 1 2 4 4 NODE a SLOTSRANGE 63 65 NODE b";
        assert_eq!(follow(&mut slots, line), [1, 2, 4, 63, 64, 65]);
        for line in ["SETSLOT", "SETSLOT x NODE a", "MIGRATESLOTS SLOTSRANGE 7 NODE a", "NODES"] {
            assert_eq!(follow(&mut slots, line), [1, 2, 4, 63, 64, 65], "{line}");
        }
        assert!(follow(&mut slots, "MIGRATESLOTS SLOTSRANGE 0 99999 NODE a").len() >= 6);
    }

    #[test]
    fn the_slot_is_that_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % 16_384);
        assert_eq!(slot(b"foo{{bar}}zap"), crc16(b"{bar") % 16_384);
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
        assert_eq!(slot(b""), 0);
    }

    #[test]
    fn own_slots_are_those_of_the_own_line() {
        let nodes = "07c3 127.0.0.1:1@11 slave e7d1 0 1 4 connected\n\
                     67ed 127.0.0.1:2@12 master - 0 1 2 connected 5461-10922\n\
                     e7d1 127.0.0.1:3@13 myself,master - 0 0 1 connected 0-99 200 [93->-67ed] [77-<-292f]\n";
        assert_eq!(own_slots(nodes), [0..=99, 200..=200, 77..=77]);
        assert_eq!(served_slots(nodes), [0..=99, 200..=200]);
        assert!(own_slots("").is_empty());
        assert!(own_slots("a b myself c\n").is_empty());
    }
}
