//! A replica set of three members, whose primary can be stepped down.

use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::ClientOptions;

use crate::mongod::block_on::block_on;
use crate::mongod::server::{Mongod, TestDatabase};
use crate::mongod::setup::MongodSetup;
use crate::wait::{SOON, wait_until};

/// Three running mongods. Dropping them kills them.
pub struct ReplicaSet {
    members: Vec<Mongod>,
    client: Client,
}

impl ReplicaSet {
    /// Elections take one to two seconds.
    pub fn of_three() -> Self {
        let members: Vec<Mongod> =
            (0..3).map(|_| MongodSetup::replica_set().start_member()).collect();
        let hosts = members.iter().map(host).zip(0_i32..);
        let hosts: Vec<Document> =
            hosts.map(|(host, id)| doc! { "_id": id, "host": host }).collect();
        let settings = doc! {
            "electionTimeoutMillis": 1000,
            "heartbeatIntervalMillis": 200,
            "catchUpTimeoutMillis": 500,
        };
        let config = doc! { "_id": "rs", "members": hosts, "settings": settings };
        members[0].admin(doc! { "replSetInitiate": config });
        let client = client(&uri(&members));
        let set = Self { members, client };
        wait_until("the set has a primary", SOON, || set.primary().is_some());
        set
    }

    /// The connection string for the module.
    pub fn uri(&self) -> String {
        uri(&self.members)
    }

    /// A database, through a client that discovers the primary.
    pub fn named_database(&self, name: &str) -> TestDatabase {
        TestDatabase::new(self.client.database(name))
    }

    /// The primary, if there is one.
    pub fn primary(&self) -> Option<&Mongod> {
        self.members.iter().find(|member| {
            member
                .try_admin(doc! { "hello": 1 })
                .is_ok_and(|reply| reply.get_bool("isWritablePrimary").unwrap_or(false))
        })
    }

    /// The member at that port.
    #[track_caller]
    pub fn member(&self, port: u16) -> &Mongod {
        self.members.iter().find(|member| member.port() == port).expect("a member at that port")
    }

    /// Steps the primary down; false if there is none or it refuses.
    pub fn step_down(&self) -> bool {
        let command = doc! { "replSetStepDown": 2, "secondaryCatchUpPeriodSecs": 1 };
        self.primary().is_some_and(|primary| primary.try_admin(command).is_ok())
    }
}

fn host(member: &Mongod) -> String {
    format!("127.0.0.1:{}", member.port())
}

fn uri(members: &[Mongod]) -> String {
    let hosts: Vec<String> = members.iter().map(host).collect();
    format!("mongodb://{}/?replicaSet=rs", hosts.join(","))
}

fn client(uri: &str) -> Client {
    block_on(async {
        let mut options = ClientOptions::parse(uri).await.expect("options");
        options.server_selection_timeout = Some(SOON);
        options.heartbeat_freq = Some(Duration::from_millis(500));
        Client::with_options(options).expect("client")
    })
}
