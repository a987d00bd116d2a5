//! Accounts of two types, in two collections, and their balances.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use mongodb::bson::{Bson, Document};
use redis::{ConnectionLike, Pipeline, RedisResult};

use crate::mongod::TestDatabase;
use crate::redis_server::Redis;

/// The balance of each account that exists, by key.
pub type Balances = BTreeMap<String, i64>;

/// What an account has at the start of a round.
pub const INITIAL: i64 = 1_000;

/// Lua functions: `balance(key)`, nil if the account does not exist, and `add(key, amount)`.
pub const LUA: &str = "\
    local function balance(key) \
      if key:sub(1, 2) == 'h:' then return tonumber(redis.call('HGET', key, 'balance') or nil) end \
      local found = redis.call('JSON.GET', key, '$.balance') \
      return found and tonumber(found:match('-?%d+')) \
    end \
    local function add(key, amount) \
      if key:sub(1, 2) == 'h:' then return redis.call('HINCRBY', key, 'balance', amount) end \
      redis.call('JSON.SET', key, '$', '{\"balance\":0}', 'NX') \
      redis.call('JSON.NUMINCRBY', key, '$.balance', amount) \
    end ";

/// The type of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Hash,
    Json,
}

/// Both types, in the order of [`collections`].
pub const KINDS: [Kind; 2] = [Kind::Hash, Kind::Json];

impl Kind {
    pub const fn prefix(self) -> &'static str {
        match self {
            Kind::Hash => "h:",
            Kind::Json => "j:",
        }
    }

    pub const fn collection(self) -> &'static str {
        match self {
            Kind::Hash => "hashes",
            Kind::Json => "json",
        }
    }

    /// The words of `WB.REGISTER` behind the namespace. The two types become due at different times.
    fn options(self, atomic: &str) -> String {
        match self {
            Kind::Hash => format!("TYPE HASH INTERVAL 5 {atomic} SCHEMA balance INT64"),
            Kind::Json => format!("TYPE JSON INTERVAL 15 {atomic}"),
        }
    }
}

/// One account, which may exist or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub kind: Kind,
    pub key: String,
}

impl Account {
    pub fn new(kind: Kind, number: usize) -> Self {
        Self { kind, key: format!("{}{number}", kind.prefix()) }
    }

    /// Appends the commands that add an amount; they create the account if it does not exist.
    pub fn add(&self, pipeline: &mut Pipeline, amount: i64) {
        if self.kind == Kind::Json {
            self.open(pipeline);
            let words = (&self.key, "$.balance", amount);
            pipeline.cmd("JSON.NUMINCRBY").arg(words).ignore();
        } else {
            pipeline.cmd("HINCRBY").arg((&self.key, "balance", amount)).ignore();
        }
    }

    /// Appends the command that creates the account with balance 0 if it does not exist.
    pub fn open(&self, pipeline: &mut Pipeline) {
        match self.kind {
            Kind::Hash => pipeline.cmd("HSETNX").arg((&self.key, "balance", 0)),
            Kind::Json => pipeline.cmd("JSON.SET").arg((&self.key, "$", r#"{"balance":0}"#, "NX")),
        };
        pipeline.ignore();
    }

    /// The balance, if the account exists.
    pub fn balance(&self, connection: &mut impl ConnectionLike) -> RedisResult<Option<i64>> {
        if self.kind == Kind::Hash {
            return redis::cmd("HGET").arg((&self.key, "balance")).query(connection);
        }
        let found: Option<String> =
            redis::cmd("JSON.GET").arg((&self.key, "$.balance")).query(connection)?;
        let number = |text: String| text.trim_matches(['[', ']']).parse().expect("a balance");
        Ok(found.map(number))
    }
}

/// The names that accounts of a round may have.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// Names of each kind; at the start, three of four are accounts.
    pub of_each: usize,
}

impl Names {
    pub fn random(self, kind: Kind, rng: &mut Rng) -> Account {
        Account::new(kind, rng.usize(..self.of_each))
    }

    /// Distinct accounts; the first two are of different kinds.
    pub fn distinct(self, count: usize, rng: &mut Rng) -> Vec<Account> {
        let swap = rng.usize(..2);
        let mut accounts: Vec<Account> = Vec::new();
        while accounts.len() < count {
            let kind = if accounts.len() < 2 { accounts.len() ^ swap } else { rng.usize(..2) };
            let account = self.random(KINDS[kind], rng);
            if !accounts.contains(&account) {
                accounts.push(account);
            }
        }
        accounts
    }

    /// The accounts at the start.
    fn initial(self) -> impl Iterator<Item = Account> {
        let of = move |kind| (0..self.of_each).map(move |number| Account::new(kind, number));
        KINDS.into_iter().flat_map(of).enumerate().filter(|(i, _)| i % 4 != 3).map(|(_, it)| it)
    }

    /// The sum of all balances.
    pub fn total(self) -> i64 {
        INITIAL * self.initial().count() as i64
    }
}

pub fn collections() -> [&'static str; 2] {
    KINDS.map(Kind::collection)
}

/// Registers both prefixes; `atomic` is nothing or an option of `WB.REGISTER`.
pub fn register(redis: &Redis, database: &TestDatabase, atomic: &str) {
    for kind in KINDS {
        let namespace = database.namespace(kind.collection());
        let options = kind.options(atomic);
        let words = ["WB.REGISTER", kind.prefix(), &namespace];
        redis.cmd(&[&words, options.split_whitespace().collect::<Vec<_>>().as_slice()].concat());
    }
}

/// Creates the accounts of the start, and returns when MongoDB has them.
#[track_caller]
pub fn create(redis: &Redis, names: Names) {
    let mut pipeline = redis::pipe();
    names.initial().for_each(|account| account.add(&mut pipeline, INITIAL));
    pipeline.query::<()>(&mut *redis.connection()).expect("accounts");
    let flushed = redis.flush_with(&["TIMEOUT", "20000"]);
    assert_eq!((flushed.failed, flushed.pending), (0, 0), "{:?}", redis.status());
}

/// Every balance in Redis, at one moment.
#[track_caller]
pub fn in_redis(redis: &Redis) -> Balances {
    let script = format!(
        "{LUA} local found = {{}} for _, pattern in ipairs({{'h:*', 'j:*'}}) do \
         for _, key in ipairs(redis.call('KEYS', pattern)) do \
         found[#found + 1] = key; found[#found + 1] = balance(key) end end return found"
    );
    redis.run(&["EVAL", &script, "0"])
}

/// Every balance in a snapshot of the two collections. A document without one counts as an error.
pub fn in_snapshot(snapshot: &[Vec<Document>]) -> Result<Balances, String> {
    let mut balances = Balances::new();
    for (kind, documents) in KINDS.into_iter().zip(snapshot) {
        for document in documents {
            let balance = match document.get("balance") {
                Some(Bson::Int64(balance)) => *balance,
                Some(Bson::Int32(balance)) => i64::from(*balance),
                _ => return Err(format!("no balance in {document} of {}", kind.collection())),
            };
            let id = document.get_str("_id").map_err(|error| format!("{error} in {document}"))?;
            balances.insert(format!("{}{id}", kind.prefix()), balance);
        }
    }
    Ok(balances)
}

/// The accounts that differ, one line each.
pub fn changes(before: &Balances, after: &Balances) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let text = |balance: Option<&i64>| balance.map_or_else(|| "none".to_owned(), i64::to_string);
    let line =
        |name: &String| format!("{name} {} -> {}", text(before.get(name)), text(after.get(name)));
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).map(line).collect()
}
