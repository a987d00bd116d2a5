//! Documents of four sizes whose first fields change while the others stay as they are.

use mongodb::bson::{Document, doc};

use crate::load;
use testkit::redis_server::Redis;

/// Documents of one size, all of them hashes of strings in Redis.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub name: &'static str,
    fields: usize,
    /// Bytes of each value.
    value: usize,
    /// The number of documents at full size.
    pub documents: u64,
    /// Documents in a transaction, as many as in a batch with the default settings of the module.
    pub batch: u64,
}

/// From 0.33 to 102 KB of BSON.
pub const SIZES: [Size; 4] = [
    Size { name: "0.3 KB", fields: 20, value: 4, documents: 30_000, batch: 1000 },
    Size { name: "1 KB", fields: 20, value: 43, documents: 30_000, batch: 1000 },
    Size { name: "10 KB", fields: 100, value: 94, documents: 8_000, batch: 800 },
    Size { name: "100 KB", fields: 500, value: 193, documents: 1_600, batch: 80 },
];

/// How many fields of a document change, the first ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    Fields(usize),
    All,
}

impl Changed {
    /// Each number includes the fields of the one before it, so that the others still have their
    /// first values, in Redis and in MongoDB.
    pub const EACH: [Changed; 3] = [Changed::Fields(1), Changed::Fields(3), Changed::All];

    pub fn name(self) -> String {
        match self {
            Changed::Fields(1) => "1 field".to_owned(),
            Changed::Fields(fields) => format!("{fields} fields"),
            Changed::All => "all fields".to_owned(),
        }
    }
}

/// A state of all documents: the changed fields have the values of this turn, the others those of
/// turn 0.
#[derive(Clone, Copy, Debug)]
pub struct State {
    pub size: Size,
    pub changed: Changed,
    pub turn: u64,
}

/// The form of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Replacement,
    /// `$set` of the changed fields.
    Set,
}

impl Size {
    /// As they are before the first change.
    pub fn first(self) -> State {
        State { size: self, changed: Changed::All, turn: 0 }
    }

    /// Indexes of the last fields, which only a change of all fields changes.
    pub fn indexes(self, indexes: usize) -> Vec<Document> {
        let fields = (self.fields - indexes..self.fields).map(field_name);
        fields.map(|field| doc! { "key": { &field: 1 }, "name": field }).collect()
    }
}

impl State {
    /// Changes the hashes in Redis.
    pub fn to_redis(self, redis: &Redis, documents: u64) {
        load::pipeline(redis, 0..documents, |number, buffer| {
            let mut words = vec!["HSET".to_owned(), redis_key(number)];
            for field in 0..self.changed_fields() {
                words.extend([field_name(field), self.value(number, field)]);
            }
            load::push(buffer, &words.iter().map(String::as_str).collect::<Vec<_>>());
        });
    }

    /// The command that brings these documents from any turn of the same fields to this state.
    pub fn update(self, collection: &str, numbers: std::ops::Range<u64>, form: Form) -> Vec<u8> {
        let updates: Vec<Document> = numbers.map(|number| self.operation(number, form)).collect();
        let command = doc! { "update": collection, "ordered": false, "updates": updates };
        command.to_vec().expect("BSON")
    }

    fn operation(self, number: u64, form: Form) -> Document {
        let id = format!("{number:012}");
        let update = match form {
            Form::Replacement => {
                let mut document = doc! { "_id": &id };
                document.extend(self.fields(number, self.size.fields));
                document
            }
            Form::Set => doc! { "$set": self.fields(number, self.changed_fields()) },
        };
        doc! { "q": { "_id": id }, "u": update, "upsert": true }
    }

    fn fields(self, number: u64, fields: usize) -> Document {
        let field = |field| (field_name(field), self.value(number, field).into());
        (0..fields).map(field).collect()
    }

    fn changed_fields(self) -> usize {
        match self.changed {
            Changed::Fields(fields) => fields,
            Changed::All => self.size.fields,
        }
    }

    /// Letters and digits that neither another document nor the same one has in another turn.
    fn value(self, number: u64, field: usize) -> String {
        let turn = if field < self.changed_fields() { self.turn } else { 0 };
        let seed = (turn << 42) ^ (number << 16) ^ field as u64;
        let mut random = fastrand::Rng::with_seed(seed);
        // So that short values differ from those of the turn before, too.
        let first = char::from(b'a' + (turn % 26) as u8);
        let rest = std::iter::repeat_with(|| random.alphanumeric());
        std::iter::once(first).chain(rest).take(self.size.value).collect()
    }
}

/// The prefix of the hashes.
pub const PREFIX: &str = "difference:";

fn redis_key(number: u64) -> String {
    format!("{PREFIX}{number:012}")
}

fn field_name(field: usize) -> String {
    format!("f{field:03}")
}
