//! The hash slot of a key, and who has which slots.

use std::ops::RangeInclusive;

use crate::redis_server::Redis;

/// Slots of a cluster.
pub const SLOTS: usize = 16_384;

/// The hash slot of a key (Redis Cluster specification, "Key distribution model").
pub fn slot(key: &[u8]) -> usize {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        rest.iter().position(|byte| *byte == b'}').filter(|end| *end > 0).map(|end| &rest[..end])
    });
    usize::from(crc16(tag.unwrap_or(key))) % SLOTS
}

/// CRC16-XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc: u16, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// A line of CLUSTER NODES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: String,
    pub is_myself: bool,
    pub is_master: bool,
    pub slots: Vec<RangeInclusive<usize>>,
    /// Slots that are on their way from or to it: in its own line only.
    pub open: usize,
}

impl Member {
    /// The cluster as this node knows it.
    #[track_caller]
    pub fn all(node: &Redis) -> Vec<Member> {
        let lines: String = node.run(&["CLUSTER", "NODES"]);
        lines.lines().map(Member::read).collect()
    }

    /// The node's own line.
    #[track_caller]
    pub fn own(node: &Redis) -> Member {
        Self::all(node).into_iter().find(|member| member.is_myself).expect("its own line")
    }

    fn read(line: &str) -> Member {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, _, flags, _, _, _, _, _, slots @ ..] = words.as_slice() else {
            panic!("a line of CLUSTER NODES: {line}")
        };
        let has = |flag: &str| flags.split(',').any(|own| own == flag);
        let (open, own): (Vec<&str>, Vec<&str>) = slots.iter().partition(|s| s.starts_with('['));
        Member {
            id: (*id).to_owned(),
            is_myself: has("myself"),
            is_master: has("master"),
            slots: own.into_iter().map(range).collect(),
            open: open.len(),
        }
    }

    pub fn has(&self, slot: usize) -> bool {
        self.slots.iter().any(|range| range.contains(&slot))
    }

    /// Number of its slots.
    pub fn count(&self) -> usize {
        self.slots.iter().map(|range| range.end() + 1 - range.start()).sum()
    }
}

/// `5` or `0-5460`.
fn range(text: &str) -> RangeInclusive<usize> {
    let number = |text: &str| text.parse().expect("a slot");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    number(first)..=number(last)
}
