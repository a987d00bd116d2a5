//! Walks through a large string or a collection: a hash, list, set, sorted set or stream, all at
//! once or in steps.
//!
//! A walk in steps is sound only as long as the value does not change between them; the caller
//! sees to that.

use std::ffi::{c_long, c_void};
use std::ptr;

use crate::core::mapping::value::{Content, push_bytes};
use crate::redis::api::clock;
use crate::redis::api::context::{OwnedString, bytes, raw_bytes};
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::api::scan::Cursor;

/// Elements, or buckets of them, between two looks at the clock.
const CLOCK_STEPS: u32 = 64;
/// Bytes of a string between two looks at the clock.
const CLOCK_BYTES: usize = 16 * 1024;
/// A sorted set up to this size is read by its order, which is fast and cannot be resumed.
const FEW: usize = 1_000;

/// How far a value was read.
#[derive(Debug)]
pub struct ValueCursor {
    content: Content,
    at: At,
}

#[derive(Debug)]
enum At {
    /// Inside the hash table; hashes, sets and large sorted sets.
    Bucket(Cursor),
    /// A small sorted set.
    Order,
    /// The next index of a list.
    Index(c_long),
    /// The next byte of a string.
    Byte(usize),
    /// The last ID of a stream.
    Id(Option<raw::RedisModuleStreamID>),
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything is read.
    Done,
    /// Time was up.
    More,
    /// There is more than may be read.
    TooLarge,
}

/// Where a step puts what it reads, and how far it may go.
pub struct ReadBudget<'o> {
    /// The buffer, which is appended to.
    pub out: &'o mut Vec<u8>,
    /// It does not become longer than this.
    pub end: usize,
    /// When the step ends, microseconds.
    pub end_us: u64,
    full: bool,
}

impl<'o> ReadBudget<'o> {
    /// A budget of `most` bytes of one value at the end of `out`, of which those from `start` on are
    /// used.
    pub fn new(out: &'o mut Vec<u8>, start: usize, most: usize, end_us: u64) -> Self {
        ReadBudget { out, end: start.saturating_add(most), end_us, full: false }
    }

    /// Appends one string, if there is room.
    fn push(&mut self, text: &[u8]) {
        self.full |= self.out.len() + text.len() > self.end;
        if !self.full {
            push_bytes(self.out, text);
        }
    }

    /// True when it is time to stop, looked up once in a while.
    fn is_late(&self, steps: &mut u32) -> bool {
        *steps += 1;
        steps.is_multiple_of(CLOCK_STEPS) && clock::now_us() >= self.end_us
    }
}

impl ValueCursor {
    /// Begins at the beginning of a string, or of a collection of `len` elements.
    pub fn new(content: Content, len: usize) -> Self {
        let at = match content {
            Content::String => At::Byte(0),
            Content::List => At::Index(0),
            Content::Stream => At::Id(None),
            Content::Zset if len <= FEW => At::Order,
            _ => At::Bucket(Cursor::new()),
        };
        ValueCursor { content, at }
    }

    /// What is walked through.
    pub fn content(&self) -> Content {
        self.content
    }

    /// Reads on.
    ///
    /// # Safety
    /// `key` is open for reading, and holds what [`ValueCursor::new`] was told.
    pub unsafe fn step(
        &mut self,
        key: *mut raw::RedisModuleKey,
        room: &mut ReadBudget<'_>,
    ) -> Progress {
        // SAFETY: the caller vouches for the key.
        let done = unsafe {
            match &mut self.at {
                At::Bucket(cursor) => buckets(key, cursor, self.content, room),
                At::Order => order(key, room),
                At::Byte(next) => text(key, next, room),
                At::Index(next) => items(key, next, room),
                At::Id(last) => entries(key, last, room),
            }
        };
        match done {
            _ if room.full => Progress::TooLarge,
            true => Progress::Done,
            false => Progress::More,
        }
    }
}

/// # Safety
/// `key` is an open string.
unsafe fn text(key: *mut raw::RedisModuleKey, next: &mut usize, room: &mut ReadBudget<'_>) -> bool {
    let mut len = 0;
    // SAFETY: the caller vouches for the key; its bytes stay until it is closed.
    let all = unsafe {
        let start = api!(RedisModule_StringDMA)(key, &raw mut len, raw::REDISMODULE_READ as i32);
        raw_bytes(start, len)
    };
    let rest = all.get(*next..).unwrap_or_default();
    room.full = room.out.len() + rest.len() > room.end;
    if room.full {
        return true;
    }
    if *next == 0 {
        room.out.reserve(rest.len());
    }
    for piece in rest.chunks(CLOCK_BYTES) {
        room.out.extend_from_slice(piece);
        *next += piece.len();
        if clock::now_us() >= room.end_us {
            break;
        }
    }
    *next == all.len()
}

/// # Safety
/// `key` is an open hash, set or sorted set.
unsafe fn buckets(
    key: *mut raw::RedisModuleKey,
    cursor: &Cursor,
    content: Content,
    room: &mut ReadBudget<'_>,
) -> bool {
    extern "C" fn field(
        _: *mut raw::RedisModuleKey,
        field: *mut raw::RedisModuleString,
        value: *mut raw::RedisModuleString,
        room: *mut c_void,
    ) {
        // SAFETY: `room` is the one that the scan below was given; it is not used elsewhere
        // while the scan runs. Field and value are valid during the callback.
        let (room, field, value) = unsafe {
            let value = if value.is_null() { &[][..] } else { bytes(value) };
            (&mut *room.cast::<ReadBudget<'_>>(), bytes(field), value)
        };
        room.push(field);
        room.push(value);
    }
    extern "C" fn member(
        _: *mut raw::RedisModuleKey,
        member: *mut raw::RedisModuleString,
        _: *mut raw::RedisModuleString,
        room: *mut c_void,
    ) {
        // SAFETY: as above.
        unsafe { (*room.cast::<ReadBudget<'_>>()).push(bytes(member)) };
    }
    extern "C" fn scored(
        _: *mut raw::RedisModuleKey,
        member: *mut raw::RedisModuleString,
        score: *mut raw::RedisModuleString,
        room: *mut c_void,
    ) {
        // SAFETY: as above.
        let (room, member, score) =
            unsafe { (&mut *room.cast::<ReadBudget<'_>>(), bytes(member), bytes(score)) };
        // Seventeen digits, which give the same double again.
        let score = std::str::from_utf8(score).ok().and_then(|text| text.parse().ok());
        push_scored(room, member, score.unwrap_or(f64::NAN));
    }
    let callback = match content {
        Content::Set => member,
        Content::Zset => scored,
        _ => field,
    };
    let mut steps = 0;
    loop {
        // SAFETY: the caller vouches for the key; the cursor belongs to this walk alone; the
        // callback gets the room that it expects.
        let more = unsafe {
            let room = (&raw mut *room).cast::<c_void>();
            api!(RedisModule_ScanKey)(key, cursor.raw(), Some(callback), room) != 0
        };
        if !more || room.full {
            return true;
        }
        if room.is_late(&mut steps) {
            return false;
        }
    }
}

fn push_scored(room: &mut ReadBudget<'_>, member: &[u8], score: f64) {
    room.push(member);
    if !room.full {
        room.out.extend_from_slice(&score.to_le_bytes());
    }
}

/// # Safety
/// `key` is an open sorted set.
unsafe fn order(key: *mut raw::RedisModuleKey, room: &mut ReadBudget<'_>) -> bool {
    // SAFETY: the caller vouches for the key; the range ends with this function.
    unsafe {
        api!(RedisModule_ZsetFirstInScoreRange)(key, f64::NEG_INFINITY, f64::INFINITY, 0, 0);
        while api!(RedisModule_ZsetRangeEndReached)(key) == 0 && !room.full {
            let mut score = 0.0;
            let member = api!(RedisModule_ZsetRangeCurrentElement)(key, &raw mut score);
            if member.is_null() {
                break;
            }
            push_scored(room, OwnedString::new(member).bytes(), score);
            api!(RedisModule_ZsetRangeNext)(key);
        }
        api!(RedisModule_ZsetRangeStop)(key);
    }
    true
}

/// # Safety
/// `key` is an open list.
unsafe fn items(
    key: *mut raw::RedisModuleKey,
    next: &mut c_long,
    room: &mut ReadBudget<'_>,
) -> bool {
    let mut steps = 0;
    loop {
        // SAFETY: the caller vouches for the key; beyond the end there is null.
        let item = unsafe { api!(RedisModule_ListGet)(key, *next) };
        if item.is_null() {
            return true;
        }
        // SAFETY: the string was made for us.
        room.push(unsafe { OwnedString::new(item) }.bytes());
        *next += 1;
        if room.full {
            return true;
        }
        if room.is_late(&mut steps) {
            return false;
        }
    }
}

/// # Safety
/// `key` is an open stream.
unsafe fn entries(
    key: *mut raw::RedisModuleKey,
    last: &mut Option<raw::RedisModuleStreamID>,
    room: &mut ReadBudget<'_>,
) -> bool {
    const OK: i32 = raw::REDISMODULE_OK as i32;
    let flags = if last.is_some() { raw::REDISMODULE_STREAM_ITERATOR_EXCLUSIVE } else { 0 };
    let from = last.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    let mut steps = 0;
    let mut done = true;
    // SAFETY: the caller vouches for the key; the iterator ends with this function, and the
    // server copies the ID where it begins.
    unsafe {
        if api!(RedisModule_StreamIteratorStart)(key, flags as i32, from, ptr::null_mut()) != OK {
            return true;
        }
        let mut id = raw::RedisModuleStreamID { ms: 0, seq: 0 };
        let mut count: c_long = 0;
        while api!(RedisModule_StreamIteratorNextID)(key, &raw mut id, &raw mut count) == OK {
            room.out.extend_from_slice(&id.ms.to_le_bytes());
            room.out.extend_from_slice(&id.seq.to_le_bytes());
            // A command has fewer words than 32 bits can count.
            room.out.extend_from_slice(&(count as u32).to_le_bytes());
            let (mut field, mut value) = (ptr::null_mut(), ptr::null_mut());
            while api!(RedisModule_StreamIteratorNextField)(key, &raw mut field, &raw mut value)
                == OK
            {
                room.push(OwnedString::new(field).bytes());
                room.push(OwnedString::new(value).bytes());
            }
            *last = Some(raw::RedisModuleStreamID { ms: id.ms, seq: id.seq });
            if room.full {
                break;
            }
            if room.is_late(&mut steps) {
                done = false;
                break;
            }
        }
        api!(RedisModule_StreamIteratorStop)(key);
    }
    done
}
