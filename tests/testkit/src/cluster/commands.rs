//! Random writes to keys that are new, recent and old.

use fastrand::Rng;

use super::router::Write;

/// All keys of the load.
pub const PREFIX: &str = "k:";

/// Families whose keys are being written now.
const WINDOW: u64 = 50;

/// Writes after which the next family begins. An older one is written rarely from then on, so that no later
/// write hides what is wrong with its documents.
const PER_FAMILY: u64 = 16;

/// Keys of a family have one slot: two strings, a hash and a list, and so on.
const KINDS: u64 = 4;

/// Families with so many keys that their slots are on their way for a while: ASK and TRYAGAIN.
const LARGE: u64 = 6;
const LARGE_KEYS: u64 = 400;

/// The writes of one client, to keys of its own.
pub struct Chooser {
    rng: Rng,
    client: usize,
    count: u64,
}

impl Chooser {
    pub fn new(seed: u64, client: usize) -> Self {
        let rng = Rng::with_seed(seed.wrapping_mul(1_000).wrapping_add(client as u64));
        Self { rng, client, count: 0 }
    }

    /// The next write. Each value is new.
    pub fn next(&mut self) -> Write {
        self.count += 1;
        let (family, number) = self.key();
        let (kind, name) = (number % KINDS, |number| format!("{PREFIX}{{{family}}}:{number}"));
        let (key, value) = (name(number), format!("{}-{}", self.client, self.count));
        match self.rng.u8(..100) {
            0..5 => Write::new(&["DEL", &key]),
            5..10 => Write::new(&["PEXPIRE", &key, &self.rng.u64(20..400).to_string()]),
            // Two keys: TRYAGAIN while only one of them has moved.
            10..15 => {
                let first = number - kind;
                Write::new(&["MSET", &name(first), &value, &name(first + 1), &value])
            }
            roll => match kind {
                2 => Write::new(&["HSET", &key, &format!("f{}", roll % 4), &value]),
                3 if roll < 30 => Write::new(&["LTRIM", &key, "-5", "-1"]),
                3 => Write::new(&["RPUSH", &key, &value]),
                _ => Write::new(&["SET", &key, &value]),
            },
        }
    }

    /// A family, and the number of a key of it.
    fn key(&mut self) -> (String, u64) {
        if self.rng.u8(..4) == 0 {
            let family = self.rng.u64(..LARGE);
            return (format!("{}-large{family}", self.client), self.rng.u64(..LARGE_KEYS));
        }
        let newest = self.count / PER_FAMILY + WINDOW;
        let is_old = self.rng.u8(..5) == 0;
        let family = self.rng.u64(if is_old { 0 } else { newest - WINDOW }..newest);
        (format!("{}-{family}", self.client), self.rng.u64(..KINDS))
    }
}
