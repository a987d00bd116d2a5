//! A network that breaks all connections repeatedly.

use std::time::Duration;

use mongodb::bson::doc;

use super::Comparison;
use crate::mongod::Mongod;
use crate::network::proxy::Proxy;
use crate::redis_server::{Redis, Setup};
use crate::wait::{SOON, wait_until};

/// Resources that could leak.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Connections through the proxy that are open.
    pub connections: u64,
    /// Connections of mongod, including the test's own.
    pub of_mongod: i32,
    /// Connections made so far.
    pub made: u64,
    /// Open files of the Redis process.
    pub descriptors: u64,
    /// Threads of the Redis process.
    pub threads: u64,
}

/// Redis connected to MongoDB through a proxy.
pub struct Stage<'a> {
    mongod: &'a Mongod,
    proxy: Proxy,
    redis: Redis,
    writes: u64,
}

impl<'a> Stage<'a> {
    pub fn new(mongod: &'a Mongod) -> Self {
        let proxy = Proxy::to(mongod.port());
        let redis = Setup::new(&proxy.uri())
            .setting("retry-backoff-min-ms", "1")
            .setting("retry-backoff-max-ms", "5")
            .start();
        let namespace = mongod.named_database("reconnects").namespace("keys");
        redis.cmd(&["WB.REGISTER", "k:", &namespace, "INTERVAL", "0"]);
        Self { mongod, proxy, redis, writes: 0 }
    }

    /// `times` times: breaks all connections; the next write must be acknowledged all the same.
    pub fn reconnect(&mut self, times: u32) {
        for _ in 0..times {
            self.proxy.cut();
            self.writes += 1;
            let key = format!("k:{}", self.writes % 100);
            self.redis.cmd(&["SET", &key, &self.writes.to_string()]);
            let flushed = self.redis.flush_with(&["TIMEOUT", "20000"]);
            assert_eq!(flushed.pending, 0, "{}", self.redis.status().text("link_error"));
        }
    }

    /// The figures once they no longer change.
    pub fn figures(&self) -> Figures {
        let mut last = self.figures_now();
        wait_until("the connections stay the same", SOON, || {
            std::thread::sleep(Duration::from_millis(300));
            let before = std::mem::replace(&mut last, self.figures_now());
            (before.connections, before.made, before.descriptors)
                == (last.connections, last.made, last.descriptors)
        });
        last
    }

    fn figures_now(&self) -> Figures {
        let count = |folder: &str| {
            let folder = format!("/proc/{}/{folder}", self.redis.pid());
            std::fs::read_dir(folder).expect("folder").count() as u64
        };
        let status = self.mongod.admin(doc! { "serverStatus": 1 });
        let of_mongod = status.get_document("connections").expect("connections");
        Figures {
            connections: self.proxy.open(),
            of_mongod: of_mongod.get_i32("current").expect("current"),
            made: self.proxy.made(),
            descriptors: count("fd"),
            threads: count("task"),
        }
    }

    pub fn compare(&self) -> Comparison {
        let keys = self.mongod.named_database("reconnects").collection("keys");
        Comparison::after_flush(&self.redis, "k:", &keys)
    }
}
