//! Random changes of accounts whose emails are unique in the final state, not in between.

use super::*;
use testkit::seed;

/// The number of accounts, and of the emails that they take.
const ACCOUNTS: usize = 40;

/// Makes a round of changes. Afterwards no two accounts in Redis have the same email.
fn change(redis: &Redis, rng: &mut fastrand::Rng) {
    let key = |n: usize| format!("u:{n:04}");
    let email = |n: usize| format!("e{n:04}");
    for _ in 0..rng.usize(1..60) {
        let (one, other) = (rng.usize(..ACCOUNTS), rng.usize(..ACCOUNTS));
        match rng.u32(..6) {
            0 => drop(redis.cmd(&["DEL", &key(one)])),
            1 if redis.run::<bool>(&["EXISTS", &key(one)]) => {
                redis.cmd(&["RENAME", &key(one), &key(other)]);
            }
            2 => drop(redis.flush_with(&["KEYS", "1", &key(one), "TIMEOUT", "1"])),
            _ => set(redis, &key(one), &email(other)),
        }
    }
    // The final state: some are deleted, the others have emails in a new order.
    let mut emails: Vec<usize> = (0..ACCOUNTS).collect();
    rng.shuffle(&mut emails);
    let mut order: Vec<usize> = (0..ACCOUNTS).collect();
    rng.shuffle(&mut order);
    let is_cycle = rng.bool();
    for n in order {
        match rng.u32(..8) {
            0 => drop(redis.cmd(&["DEL", &key(n)])),
            _ if is_cycle => set(redis, &key(n), &email((n + 1) % ACCOUNTS)),
            _ => set(redis, &key(n), &email(emails[n])),
        }
    }
}

#[test]
fn random_changes_end_with_the_final_state() {
    println!("WB_SEED={}", seed());
    let mut rng = fastrand::Rng::with_seed(seed());
    for options in ["", "BATCH 3 INTERVAL 0", "BATCH 10 WRITE MERGE"] {
        let world = accounts(options);
        for round in 0..12 {
            change(&world.redis, &mut rng);
            world.redis.flush();
            wait_until(&format!("no dead letter is left in round {round}"), SOON, || {
                world.redis.status().int("dead_letters") == 0
            });
            holds(&world);
        }
    }
}
