//! One transfer, of one of several forms. Each form is atomic in Redis and leaves the sum of all
//! balances unchanged.

use std::sync::LazyLock;

use fastrand::Rng;
use redis::{Connection, RedisResult, Value};

use super::account::{Account, KINDS, LUA, Names};

/// The largest amount of a transfer.
const MAX_AMOUNT: i64 = 50;

/// `KEYS[1]` pays `ARGV[1]` to each of the other keys.
static PAY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{LUA} add(KEYS[1], -ARGV[1] * (#KEYS - 1)) \
         for i = 2, #KEYS do add(KEYS[i], ARGV[1]) end"
    )
});

/// `KEYS[1]`, if it exists, is emptied into `KEYS[2]` and deleted.
static CLOSE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{LUA} local amount = balance(KEYS[1]) \
         if amount then add(KEYS[2], amount); redis.call('DEL', KEYS[1]) end"
    )
});

/// Sends one transfer. An account that it names may exist or not.
pub fn send(connection: &mut Connection, names: Names, rng: &mut Rng) -> RedisResult<()> {
    match rng.u32(..16) {
        0..6 => pay(connection, &names.distinct(2, rng), rng, false),
        6..9 => {
            let count = rng.usize(3..5);
            pay(connection, &names.distinct(count, rng), rng, false)
        }
        9 | 10 => pay(connection, &names.distinct(3, rng), rng, true),
        11 | 12 => {
            let count = rng.usize(2..5);
            run(connection, &PAY, &names.distinct(count, rng), rng.i64(1..=MAX_AMOUNT))
        }
        13 => close(connection, &names.distinct(2, rng)),
        14 => run(connection, &CLOSE, &names.distinct(2, rng), 0),
        _ => rename(connection, names, rng),
    }
}

/// MULTI: the first account pays a random amount to each of the others. With `open` the last one is
/// only created, with balance 0, if it does not exist.
fn pay(
    connection: &mut Connection,
    accounts: &[Account],
    rng: &mut Rng,
    open: bool,
) -> RedisResult<()> {
    let mut transaction = redis::pipe();
    transaction.atomic();
    let (payer, mut payees) = accounts.split_first().expect("accounts");
    if let (true, Some((last, rest))) = (open, payees.split_last()) {
        last.open(&mut transaction);
        payees = rest;
    }
    let mut paid = 0;
    for payee in payees {
        let amount = rng.i64(1..=MAX_AMOUNT);
        payee.add(&mut transaction, amount);
        paid += amount;
    }
    payer.add(&mut transaction, -paid);
    transaction.query(connection)
}

/// WATCH and MULTI: the first account, if it exists, is emptied into the second and deleted.
fn close(connection: &mut Connection, accounts: &[Account]) -> RedisResult<()> {
    let [closed, heir] = accounts else { unreachable!("two accounts") };
    redis::cmd("WATCH").arg(&closed.key).query::<()>(connection)?;
    let Some(balance) = closed.balance(connection)? else {
        return redis::cmd("UNWATCH").query(connection);
    };
    let mut transaction = redis::pipe();
    transaction.atomic().cmd("DEL").arg(&closed.key).ignore();
    heir.add(&mut transaction, balance);
    // Nil: another writer changed the account, and nothing was done.
    transaction.query::<Option<()>>(connection).map(drop)
}

/// A single command that changes two keys: an account gets another name, if that is free.
fn rename(connection: &mut Connection, names: Names, rng: &mut Rng) -> RedisResult<()> {
    let kind = KINDS[rng.usize(..2)];
    let (from, to) = (names.random(kind, rng), names.random(kind, rng));
    let renamed = redis::cmd("RENAMENX").arg((&from.key, &to.key)).query::<Value>(connection);
    match renamed {
        Err(error) if error.detail().is_some_and(|text| text.contains("no such key")) => Ok(()),
        other => other.map(drop),
    }
}

fn run(
    connection: &mut Connection,
    script: &str,
    accounts: &[Account],
    amount: i64,
) -> RedisResult<()> {
    let mut eval = redis::cmd("EVAL");
    eval.arg(script).arg(accounts.len());
    for account in accounts {
        eval.arg(&account.key);
    }
    eval.arg(amount).query(connection)
}
