//! The states that each key may have: a log of sent writes, and how many of them were acknowledged.

use mongodb::bson::Document;

/// The type of the keys of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Hash,
    String,
    Json,
}

/// A prefix that the rounds register.
pub struct Prefix {
    pub prefix: &'static str,
    pub collection: &'static str,
    pub kind: Kind,
    pub options: &'static str,
    /// True if the document stays when its key expires.
    pub keeps: bool,
}

const fn prefix(
    prefix: &'static str,
    collection: &'static str,
    kind: Kind,
    options: &'static str,
    keeps: bool,
) -> Prefix {
    Prefix { prefix, collection, kind, options, keeps }
}

/// With various intervals; with documents that stay or are deleted when their keys expire.
pub const PREFIXES: [Prefix; 5] = [
    prefix("h:", "hashes", Kind::Hash, "TYPE HASH INTERVAL 0", true),
    prefix("s:", "strings", Kind::String, "TYPE STRING ONEXPIRE KEEP", true),
    prefix("j:", "json", Kind::Json, "TYPE JSON INTERVAL 20", true),
    prefix("s:kept:", "kept", Kind::String, "ONEXPIRE KEEP INTERVAL 0 BATCH 10", true),
    prefix("x:", "expiring", Kind::String, "ONEXPIRE DELETE INTERVAL 50", false),
];

/// The state of a key after a write.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The document without its `_id`; `None` if the key is deleted.
    pub fields: Option<Document>,
    /// True if the key has a time to live, which elapses before the check.
    pub expires: bool,
}

impl State {
    pub const REMOVED: State = State { fields: None, expires: false };

    pub fn of(fields: Document) -> Self {
        State { fields: Some(fields), expires: false }
    }

    pub fn expiring(self, expires: bool) -> Self {
        State { expires, ..self }
    }
}

/// One key of one writer.
#[derive(Debug)]
pub struct Key {
    pub prefix: usize,
    pub name: String,
    /// Every state that was sent; in the first the key does not exist.
    states: Vec<State>,
    /// The index of the last state whose reply was received.
    acknowledged: usize,
}

impl Key {
    pub fn new(prefix: usize, suffix: &str) -> Self {
        let name = format!("{}{suffix}", PREFIXES[prefix].prefix);
        Key { prefix, name, states: vec![State::REMOVED], acknowledged: 0 }
    }

    pub fn rules(&self) -> &'static Prefix {
        &PREFIXES[self.prefix]
    }

    pub fn suffix(&self) -> &str {
        &self.name[self.rules().prefix.len()..]
    }

    /// The only state that the key can have; `None` if there are several.
    pub fn known(&self) -> Option<&State> {
        match self.candidates() {
            [state] if !state.expires => Some(state),
            _ => None,
        }
    }

    /// The states that the key can have: the last acknowledged and all that were sent later.
    pub fn candidates(&self) -> &[State] {
        &self.states[self.acknowledged..]
    }

    /// A write is sent.
    pub fn sent(&mut self, state: State) {
        self.states.push(state);
    }

    /// The reply to the last write was received.
    pub fn acknowledged(&mut self) {
        self.acknowledged = self.states.len() - 1;
    }

    /// According to its reply, the last write changed nothing.
    pub fn refused(&mut self) {
        self.states.pop();
    }

    /// For a replica that was promoted: any state may be the last that it received.
    pub fn allow_any_state(&mut self) {
        self.acknowledged = 0;
    }

    /// Keeps the candidates that match Redis's value; false if there are none, which means that an
    /// acknowledged write is lost.
    pub fn settle(&mut self, found: Option<&Document>) -> bool {
        let fitting: Vec<State> =
            self.candidates().iter().filter(|state| state.may_be(found)).cloned().collect();
        let fits = !fitting.is_empty();
        if fits {
            (self.states, self.acknowledged) = (fitting, 0);
        }
        fits
    }

    /// True if MongoDB may have `stored`, while Redis has the value that [`Key::settle`] was called
    /// with.
    pub fn allows(&self, found: Option<&Document>, stored: Option<&Document>) -> bool {
        if found.is_some() {
            return found == stored;
        }
        self.candidates().iter().any(|state| match &state.fields {
            Some(last) if self.rules().keeps => stored == Some(last),
            _ => stored.is_none(),
        })
    }
}

impl State {
    fn may_be(&self, found: Option<&Document>) -> bool {
        match found {
            Some(_) => self.fields.as_ref() == found,
            None => self.fields.is_none() || self.expires,
        }
    }
}
