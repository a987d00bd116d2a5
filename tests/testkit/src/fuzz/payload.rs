//! RESTORE payloads with a value of the module's type, valid or damaged.

use fastrand::Rng;

/// RDB types of a module's value: the first and the second encoding.
const MODULE: u8 = 6;
const MODULE_2: u8 = 7;
/// The name of the module's type in an RDB.
const TYPE_NAME: &[u8] = b"writebehd";
const CHARACTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The id of a module's type: six bits a character, and the encoding version.
fn type_id(name: &[u8], version: u64) -> u64 {
    let place = |byte: &u8| CHARACTERS.iter().position(|other| other == byte).unwrap_or(0) as u64;
    name.iter().fold(0, |id, byte| id << 6 | place(byte)) << 10 | version & 1023
}

/// A length or a number in the RDB encoding.
fn push_length(bytes: &mut Vec<u8>, length: u64) {
    match length {
        0..64 => bytes.push(length as u8),
        64..16_384 => bytes.extend((0x4000 | length as u16).to_be_bytes()),
        _ => {
            bytes.push(0x81);
            bytes.extend(length.to_be_bytes());
        }
    }
}

/// A body of opcodes with their operands: numbers, floats, strings, and the end.
fn push_body(bytes: &mut Vec<u8>, random: &mut Rng) {
    for _ in 0..random.usize(0..6) {
        let operation = random.u64(0..8);
        push_length(bytes, operation);
        match operation {
            1 | 2 => push_length(bytes, random.u64(..) >> random.u32(0..64)),
            3 => bytes.extend(random.u32(..).to_le_bytes()),
            4 => bytes.extend(random.u64(..).to_le_bytes()),
            5 => {
                let length = random.usize(0..200);
                // One in four has a wrong length.
                let encoded = if random.u8(0..4) == 0 {
                    random.u64(..) >> random.u32(0..64)
                } else {
                    length as u64
                };
                push_length(bytes, encoded);
                bytes.extend(std::iter::repeat_with(|| random.u8(..)).take(length));
            }
            _ => {}
        }
    }
    if random.u8(0..8) != 0 {
        bytes.push(0);
    }
}

/// The next payload, for a server with that RDB version.
pub fn next(random: &mut Rng, rdb_version: u16) -> Vec<u8> {
    let mut bytes = vec![if random.u8(0..8) == 0 { MODULE } else { MODULE_2 }];
    let version = if random.u8(0..4) == 0 { random.u64(0..1024) } else { 1 };
    bytes.push(0x81);
    bytes.extend(type_id(TYPE_NAME, version).to_be_bytes());
    push_body(&mut bytes, random);
    for _ in 0..[0, 0, 0, 1, 2, 5][random.usize(0..6)] {
        // The type byte stays that of a module.
        let at = random.usize(1..bytes.len());
        bytes[at] = random.u8(..);
    }
    if random.u8(0..8) == 0 {
        bytes.truncate(random.usize(1..=bytes.len()));
    }
    let version = if random.u8(0..50) == 0 { random.u16(..) } else { rdb_version };
    bytes.extend(version.to_le_bytes());
    let checksum = crc64(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

/// The RDB version in a payload of DUMP.
pub fn version_of(dumped: &[u8]) -> u16 {
    let at = dumped.len() - 10;
    u16::from_le_bytes([dumped[at], dumped[at + 1]])
}

/// The checksum of DUMP and RDB: the reflected polynomial of Jones.
pub fn crc64(bytes: &[u8]) -> u64 {
    const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u64::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 }
        })
    })
}
