//! What each key may hold: a log of what was sent, and how much of it was acknowledged.

use mongodb::bson::Document;

/// How the keys of a prefix are used.
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
    /// Whether expiry leaves the document.
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

/// Sent at once, soon, and seldom; expiry that leaves documents, and that deletes them.
pub const PREFIXES: [Prefix; 5] = [
    prefix("h:", "hashes", Kind::Hash, "TYPE HASH INTERVAL 0", true),
    prefix("s:", "strings", Kind::String, "TYPE STRING ONEXPIRE KEEP", true),
    prefix("j:", "json", Kind::Json, "TYPE JSON INTERVAL 20", true),
    prefix("s:kept:", "kept", Kind::String, "ONEXPIRE KEEP INTERVAL 0 BATCH 10", true),
    prefix("x:", "expiring", Kind::String, "ONEXPIRE DELETE INTERVAL 50", false),
];

/// What a write makes of a key.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The document without its `_id`; nothing when the key was deleted.
    pub fields: Option<Document>,
    /// Whether it has a time to live, which is over by the time of the check.
    pub expires: bool,
}

impl State {
    pub const GONE: State = State { fields: None, expires: false };

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
    /// Every state that was sent, the first one being that the key is not there.
    states: Vec<State>,
    /// The last one whose reply came.
    acknowledged: usize,
}

impl Key {
    pub fn new(prefix: usize, suffix: &str) -> Self {
        let name = format!("{}{suffix}", PREFIXES[prefix].prefix);
        Key { prefix, name, states: vec![State::GONE], acknowledged: 0 }
    }

    pub fn rules(&self) -> &'static Prefix {
        &PREFIXES[self.prefix]
    }

    pub fn suffix(&self) -> &str {
        &self.name[self.rules().prefix.len()..]
    }

    /// The only state that the key can have; nothing when there are several.
    pub fn known(&self) -> Option<&State> {
        match self.candidates() {
            [state] if !state.expires => Some(state),
            _ => None,
        }
    }

    /// The states that the key can have: the last one acknowledged and what was sent later.
    pub fn candidates(&self) -> &[State] {
        &self.states[self.acknowledged..]
    }

    /// A write is on its way.
    pub fn sent(&mut self, state: State) {
        self.states.push(state);
    }

    /// The reply to the last write came.
    pub fn acknowledged(&mut self) {
        self.acknowledged = self.states.len() - 1;
    }

    /// The reply says that the last write changed nothing.
    pub fn refused(&mut self) {
        self.states.pop();
    }

    /// For a replica that became master: any state may be the last one that it received.
    pub fn anything_goes(&mut self) {
        self.acknowledged = 0;
    }

    /// Leaves the candidates that fit what Redis holds; false when there is none, which means
    /// that an acknowledged write is lost.
    pub fn settle(&mut self, found: Option<&Document>) -> bool {
        let fitting: Vec<State> =
            self.candidates().iter().filter(|state| state.may_be(found)).cloned().collect();
        let fits = !fitting.is_empty();
        if fits {
            (self.states, self.acknowledged) = (fitting, 0);
        }
        fits
    }

    /// Whether MongoDB may hold that document, as Redis holds what [`Key::settle`] was told.
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
