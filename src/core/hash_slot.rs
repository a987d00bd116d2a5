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

/// The slots of the server that gave this reply to CLUSTER NODES, those included that are about to leave it, or
/// to come.
pub fn own_slots(nodes: &str) -> Vec<RangeInclusive<u16>> {
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
    own.split(' ').skip(8).filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(own_slots("").is_empty());
        assert!(own_slots("a b myself c\n").is_empty());
    }
}
