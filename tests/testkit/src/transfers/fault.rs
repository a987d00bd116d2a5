//! What may happen to the servers while writers transfer and pollers read.

use super::stage::{Servers, Stage};
use crate::mongod::Mongod;
use crate::network::proxy::{self, Proxy};
use crate::wait::{SOON, wait_until};

/// A fault, which is over when `play` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of Redis.
    RedisKill,
    /// `kill -9` of mongod.
    MongodKill,
    /// `kill -9` of both, one shortly after the other.
    BothKill,
    /// mongod, or the primary, is suspended for up to 1.5 times `write-timeout-ms`.
    Freeze,
    /// The same, and Redis is killed meanwhile.
    FreezeAndRedisKill,
    /// The connections of the module break.
    Cut,
    /// The network holds everything back, and delivers it late.
    Hold,
    /// The network holds existing connections back, which are given up: what they carried arrives
    /// after newer batches.
    HoldExisting,
    /// The primary steps down.
    StepDown,
    /// The same, and Redis is killed during the election.
    StepDownAndRedisKill,
}

impl Fault {
    /// Those that a replica set of one member may have.
    pub const OF_ONE: [Fault; 8] = [
        Fault::RedisKill,
        Fault::MongodKill,
        Fault::BothKill,
        Fault::Freeze,
        Fault::FreezeAndRedisKill,
        Fault::Cut,
        Fault::Hold,
        Fault::HoldExisting,
    ];

    /// Those that a replica set of three members may have.
    pub const OF_THREE: [Fault; 5] = [
        Fault::RedisKill,
        Fault::Freeze,
        Fault::FreezeAndRedisKill,
        Fault::StepDown,
        Fault::StepDownAndRedisKill,
    ];

    /// The faults that these servers may have.
    pub fn of(servers: &Servers) -> &'static [Fault] {
        match servers {
            Servers::One { .. } => &Fault::OF_ONE,
            Servers::Three(_) => &Fault::OF_THREE,
        }
    }

    pub fn play(self, stage: &mut Stage) {
        match self {
            Fault::RedisKill => {
                stage.run_for(0, 50);
                kill_and_restart_redis(stage);
            }
            Fault::MongodKill => {
                mongod(stage).kill();
                stage.run_for(0, 200);
                mongod(stage).restart();
            }
            Fault::BothKill => kill_both(stage),
            Fault::Freeze => freeze(stage, false),
            Fault::FreezeAndRedisKill => freeze(stage, true),
            Fault::Cut => {
                for _ in 0..stage.rng.u32(1..6) {
                    proxy(stage).cut();
                    stage.run_for(0, 60);
                }
            }
            Fault::Hold => hold(stage, proxy::Fault::Hold),
            Fault::HoldExisting => hold(stage, proxy::Fault::HoldExisting),
            Fault::StepDown => step_down(stage, false),
            Fault::StepDownAndRedisKill => step_down(stage, true),
        }
    }
}

fn mongod(stage: &mut Stage) -> &mut Mongod {
    match &mut stage.servers {
        Servers::One { mongod, .. } => mongod,
        Servers::Three(_) => panic!("no fault of three members"),
    }
}

fn proxy(stage: &Stage) -> &Proxy {
    match &stage.servers {
        Servers::One { proxy, .. } => proxy,
        Servers::Three(_) => panic!("no fault of three members"),
    }
}

fn kill_and_restart_redis(stage: &mut Stage) {
    stage.kill_redis();
    stage.run_for(0, 50);
    stage.restart_redis();
}

fn kill_both(stage: &mut Stage) {
    if stage.rng.bool() {
        mongod(stage).kill();
        stage.run_for(0, 100);
        stage.kill_redis();
    } else {
        stage.kill_redis();
        stage.run_for(0, 20);
        mongod(stage).kill();
    }
    stage.restart_redis();
    stage.run_for(0, 100);
    mongod(stage).restart();
}

fn freeze(stage: &mut Stage, kill: bool) {
    let victim = match &stage.servers {
        Servers::One { mongod, .. } => Some(&**mongod),
        Servers::Three(set) => set.primary(),
    };
    // None: there is an election at the moment.
    let Some(victim) = victim else { return };
    victim.freeze();
    let port = victim.port();
    stage.run_for(50, 1_500);
    if kill {
        kill_and_restart_redis(stage);
        stage.run_for(0, 200);
    }
    match &stage.servers {
        Servers::One { mongod, .. } => mongod.thaw(),
        Servers::Three(set) => set.member(port).thaw(),
    }
}

fn hold(stage: &mut Stage, fault: proxy::Fault) {
    proxy(stage).set(fault);
    stage.run_for(50, 1_500);
    proxy(stage).set(proxy::Fault::None);
}

fn step_down(stage: &mut Stage, kill: bool) {
    let Servers::Three(set) = &stage.servers else { panic!("no fault of one member") };
    // Refused if the secondaries are too far behind.
    set.step_down();
    if kill {
        stage.run_for(0, 300);
        kill_and_restart_redis(stage);
    }
    let Servers::Three(set) = &stage.servers else { unreachable!("as above") };
    wait_until("the set has a primary", SOON, || set.primary().is_some());
}
