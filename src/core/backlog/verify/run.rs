//! One run of WB.VERIFY.

use std::collections::{HashMap, VecDeque};

use crate::core::ids::{RegistrationId, RunId};
use crate::core::registration::args::verify::VerifyOptions;

/// A run that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its number.
    pub run: RunId,
    /// Its registration.
    pub id: RegistrationId,
    /// True if documents without keys are looked for.
    pub full: bool,
    /// The time that a round shall take, microseconds; 0 for as little as possible.
    pub round_us: u64,
}

/// A key that is to be compared again.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// The key.
    pub key: Vec<u8>,
    /// How often it was compared again.
    pub times: u8,
}

/// How a key is that is being compared again.
#[derive(Clone, Copy, Debug)]
pub struct Again {
    /// True if it was written meanwhile.
    pub has_changed: bool,
    /// How often it was compared again before.
    pub times: u8,
}

/// A run, with the keys that it looks at again.
#[derive(Debug)]
pub struct Run {
    /// What it is.
    pub running: Running,
    /// What was asked for.
    pub options: VerifyOptions,
    /// Keys that differed, or documents for which there may be no key.
    pub suspects: VecDeque<Suspect>,
    /// The flush after which the first of them are compared again, and how many these are.
    pub flush: Option<(u64, usize)>,
    /// A key whose value is read in steps, and whether it was written meanwhile.
    pub watched: Option<(Vec<u8>, bool)>,
    /// The keys that are being compared again.
    pub again: HashMap<Vec<u8>, Again>,
}

impl Run {
    /// A run without suspects.
    pub fn new(running: Running, options: VerifyOptions) -> Self {
        let (suspects, again) = (VecDeque::new(), HashMap::new());
        Run { running, options, suspects, flush: None, watched: None, again }
    }

    /// True if no key is to be compared again, or is being compared again.
    pub fn is_settled(&self) -> bool {
        self.suspects.is_empty() && self.again.is_empty()
    }
}
