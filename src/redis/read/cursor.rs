//! Reads a large string or a collection (a hash, list, set, sorted set or stream) with a cursor, at
//! once or in steps.
//!
//! Reading in steps is sound only while the value does not change between them; the caller ensures
//! that.

use std::ffi::{c_long, c_void};
use std::ptr;

use crate::core::mapping::value::{Content, push_bytes};
use crate::redis::api::clock;
use crate::redis::api::context::{OwnedString, bytes, raw_bytes};
use crate::redis::api::raw;
use crate::redis::api::raw::api;
use crate::redis::api::scan::Cursor;

/// Elements, or buckets of them, between two readings of the clock.
const CLOCK_STEPS: u32 = 64;
/// Bytes of a string between two readings of the clock.
const CLOCK_BYTES: usize = 16 * 1024;
/// A sorted set of at most this many elements is read in order of score, which is fast and cannot
/// be resumed.
const MAX_ORDERED: usize = 1_000;

/// The position up to which a value was read.
#[derive(Debug)]
pub struct ValueCursor {
    content: Content,
    at: At,
}

#[derive(Debug)]
enum At {
    /// In a bucket of the hash table: hashes, sets and large sorted sets.
    Bucket(Cursor),
    /// A small sorted set, which is read at once.
    Order,
    /// The next index of a list.
    Index(c_long),
    /// The next byte of a string.
    Byte(usize),
    /// The last ID of a stream.
    Id(Option<raw::RedisModuleStreamID>),
}

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The value is complete.
    Done,
    /// The time budget was used up.
    More,
    /// The value is larger than the byte budget.
    TooLarge,
}

/// The output buffer of a step, and its budget of bytes and time.
pub struct ReadBudget<'o> {
    /// The buffer to append to.
    pub out: &'o mut Vec<u8>,
    /// Maximum length of the buffer, bytes.
    pub end: usize,
    /// When the step ends, microseconds.
    pub end_us: u64,
    full: bool,
}

impl<'o> ReadBudget<'o> {
    /// A budget of `max_bytes` for one value, which begins at `start` in `out` and may be read in
    /// part already.
    pub fn new(out: &'o mut Vec<u8>, start: usize, max_bytes: usize, end_us: u64) -> Self {
        ReadBudget { out, end: start.saturating_add(max_bytes), end_us, full: false }
    }

    /// Appends one string, if the byte budget allows it.
    fn push(&mut self, text: &[u8]) {
        self.full |= self.out.len() + text.len() > self.end;
        if !self.full {
            push_bytes(self.out, text);
        }
    }

    /// True when the time budget is used up; the clock is read once every [`CLOCK_STEPS`] calls.
    fn is_out_of_time(&self, steps: &mut u32) -> bool {
        *steps += 1;
        steps.is_multiple_of(CLOCK_STEPS) && clock::now_us() >= self.end_us
    }
}

impl ValueCursor {
    /// A cursor at the beginning of a string, or of a collection of `len` elements.
    pub fn new(content: Content, len: usize) -> Self {
        let at = match content {
            Content::String => At::Byte(0),
            Content::List => At::Index(0),
            Content::Stream => At::Id(None),
            Content::Zset if len <= MAX_ORDERED => At::Order,
            _ => At::Bucket(Cursor::new()),
        };
        ValueCursor { content, at }
    }

    /// The type of the value.
    pub fn content(&self) -> Content {
        self.content
    }

    /// Continues to read.
    ///
    /// # Safety
    /// `key` is open for reading, and its value has the type that was passed to
    /// [`ValueCursor::new`].
    pub unsafe fn step(
        &mut self,
        key: *mut raw::RedisModuleKey,
        budget: &mut ReadBudget<'_>,
    ) -> Progress {
        // SAFETY: the caller vouches for the key.
        let done = unsafe {
            match &mut self.at {
                At::Bucket(cursor) => buckets(key, cursor, self.content, budget),
                At::Order => order(key, budget),
                At::Byte(next) => text(key, next, budget),
                At::Index(next) => items(key, next, budget),
                At::Id(last) => entries(key, last, budget),
            }
        };
        match done {
            _ if budget.full => Progress::TooLarge,
            true => Progress::Done,
            false => Progress::More,
        }
    }
}

/// # Safety
/// `key` is an open string.
unsafe fn text(
    key: *mut raw::RedisModuleKey,
    next: &mut usize,
    budget: &mut ReadBudget<'_>,
) -> bool {
    let mut len = 0;
    // SAFETY: the caller vouches for the key; its bytes stay until it is closed.
    let all = unsafe {
        let start = api!(RedisModule_StringDMA)(key, &raw mut len, raw::REDISMODULE_READ as i32);
        raw_bytes(start, len)
    };
    let rest = all.get(*next..).unwrap_or_default();
    budget.full = budget.out.len() + rest.len() > budget.end;
    if budget.full {
        return true;
    }
    if *next == 0 {
        budget.out.reserve(rest.len());
    }
    for chunk in rest.chunks(CLOCK_BYTES) {
        budget.out.extend_from_slice(chunk);
        *next += chunk.len();
        if clock::now_us() >= budget.end_us {
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
    budget: &mut ReadBudget<'_>,
) -> bool {
    extern "C" fn field(
        _: *mut raw::RedisModuleKey,
        field: *mut raw::RedisModuleString,
        value: *mut raw::RedisModuleString,
        budget: *mut c_void,
    ) {
        // SAFETY: `budget` is the one passed to the scan below; it is not used elsewhere while the
        // scan runs. Field and value are valid during the callback.
        let (budget, field, value) = unsafe {
            let value = if value.is_null() { &[][..] } else { bytes(value) };
            (&mut *budget.cast::<ReadBudget<'_>>(), bytes(field), value)
        };
        budget.push(field);
        budget.push(value);
    }
    extern "C" fn member(
        _: *mut raw::RedisModuleKey,
        member: *mut raw::RedisModuleString,
        _: *mut raw::RedisModuleString,
        budget: *mut c_void,
    ) {
        // SAFETY: as above.
        unsafe { (*budget.cast::<ReadBudget<'_>>()).push(bytes(member)) };
    }
    extern "C" fn scored(
        _: *mut raw::RedisModuleKey,
        member: *mut raw::RedisModuleString,
        score: *mut raw::RedisModuleString,
        budget: *mut c_void,
    ) {
        // SAFETY: as above.
        let (budget, member, score) =
            unsafe { (&mut *budget.cast::<ReadBudget<'_>>(), bytes(member), bytes(score)) };
        // The score has 17 significant digits, which parse to the same double.
        let score = std::str::from_utf8(score).ok().and_then(|text| text.parse().ok());
        push_scored(budget, member, score.unwrap_or(f64::NAN));
    }
    let callback = match content {
        Content::Set => member,
        Content::Zset => scored,
        _ => field,
    };
    let mut steps = 0;
    loop {
        // SAFETY: the caller vouches for the key; the cursor is used by this read alone; the
        // callback gets the budget that it expects.
        let more = unsafe {
            let budget = (&raw mut *budget).cast::<c_void>();
            api!(RedisModule_ScanKey)(key, cursor.raw(), Some(callback), budget) != 0
        };
        if !more || budget.full {
            return true;
        }
        if budget.is_out_of_time(&mut steps) {
            return false;
        }
    }
}

fn push_scored(budget: &mut ReadBudget<'_>, member: &[u8], score: f64) {
    budget.push(member);
    if !budget.full {
        budget.out.extend_from_slice(&score.to_le_bytes());
    }
}

/// # Safety
/// `key` is an open sorted set.
unsafe fn order(key: *mut raw::RedisModuleKey, budget: &mut ReadBudget<'_>) -> bool {
    // SAFETY: the caller vouches for the key; the range ends with this function.
    unsafe {
        api!(RedisModule_ZsetFirstInScoreRange)(key, f64::NEG_INFINITY, f64::INFINITY, 0, 0);
        while api!(RedisModule_ZsetRangeEndReached)(key) == 0 && !budget.full {
            let mut score = 0.0;
            let member = api!(RedisModule_ZsetRangeCurrentElement)(key, &raw mut score);
            if member.is_null() {
                break;
            }
            push_scored(budget, OwnedString::new(member).bytes(), score);
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
    budget: &mut ReadBudget<'_>,
) -> bool {
    let mut steps = 0;
    loop {
        // SAFETY: the caller vouches for the key; beyond the end the server returns null.
        let item = unsafe { api!(RedisModule_ListGet)(key, *next) };
        if item.is_null() {
            return true;
        }
        // SAFETY: the server created the string for the module to free.
        budget.push(unsafe { OwnedString::new(item) }.bytes());
        *next += 1;
        if budget.full {
            return true;
        }
        if budget.is_out_of_time(&mut steps) {
            return false;
        }
    }
}

/// # Safety
/// `key` is an open stream.
unsafe fn entries(
    key: *mut raw::RedisModuleKey,
    last: &mut Option<raw::RedisModuleStreamID>,
    budget: &mut ReadBudget<'_>,
) -> bool {
    const OK: i32 = raw::REDISMODULE_OK as i32;
    let flags = if last.is_some() { raw::REDISMODULE_STREAM_ITERATOR_EXCLUSIVE } else { 0 };
    let from = last.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    let mut steps = 0;
    let mut done = true;
    // SAFETY: the caller vouches for the key; the iterator ends with this function, and the server
    // copies the start ID.
    unsafe {
        if api!(RedisModule_StreamIteratorStart)(key, flags as i32, from, ptr::null_mut()) != OK {
            return true;
        }
        let mut id = raw::RedisModuleStreamID { ms: 0, seq: 0 };
        let mut count: c_long = 0;
        while api!(RedisModule_StreamIteratorNextID)(key, &raw mut id, &raw mut count) == OK {
            budget.out.extend_from_slice(&id.ms.to_le_bytes());
            budget.out.extend_from_slice(&id.seq.to_le_bytes());
            // The number of arguments of a command fits into 32 bits.
            budget.out.extend_from_slice(&(count as u32).to_le_bytes());
            let (mut field, mut value) = (ptr::null_mut(), ptr::null_mut());
            while api!(RedisModule_StreamIteratorNextField)(key, &raw mut field, &raw mut value)
                == OK
            {
                budget.push(OwnedString::new(field).bytes());
                budget.push(OwnedString::new(value).bytes());
            }
            *last = Some(raw::RedisModuleStreamID { ms: id.ms, seq: id.seq });
            if budget.full {
                break;
            }
            if budget.is_out_of_time(&mut steps) {
                done = false;
                break;
            }
        }
        api!(RedisModule_StreamIteratorStop)(key);
    }
    done
}
