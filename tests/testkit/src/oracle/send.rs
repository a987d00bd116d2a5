//! Commands one by one, in pipelines, MULTI, scripts and functions, with the observed keys before
//! and after each.

use redis::{Cmd, Connection, RedisResult, Value, from_redis_value};

use super::chooser::{Address, Chosen};
use super::observe::{Seen, library, looking, running};
use crate::redis_server::command;

/// How commands are sent to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Alone,
    Pipeline,
    Multi,
    Script,
    Function,
}

/// The result of a command.
#[derive(Debug)]
pub struct Done {
    pub error: Option<String>,
    /// One for each of its keys; empty if they were not read.
    pub before: Vec<Seen>,
    pub after: Vec<Seen>,
}

/// A client with the loaded scripts.
pub struct Sender {
    pub connection: Connection,
    look: String,
    run: String,
}

impl Sender {
    pub fn new(mut connection: Connection) -> Self {
        let mut load = |script: String| {
            let load = command(&["SCRIPT", "LOAD", &script]).query(&mut connection);
            load.expect("a script")
        };
        let (look, run) = (load(looking()), load(running()));
        let name: String = command(&["FUNCTION", "LOAD", "REPLACE", &library()])
            .query(&mut connection)
            .expect("a library");
        assert_eq!(name, "oracle");
        Sender { connection, look, run }
    }

    /// Sends the commands from a client in `db`; reads their keys before and after each.
    pub fn send(&mut self, way: Way, db: i64, commands: &[Chosen]) -> Vec<Done> {
        match way {
            Way::Alone => {
                commands.iter().map(|chosen| self.one_by_one(db, &[chosen]).remove(0)).collect()
            }
            Way::Pipeline => self.one_by_one(db, &commands.iter().collect::<Vec<_>>()),
            Way::Multi => self.multi(db, commands),
            Way::Script => {
                let mut run = command(&["EVALSHA", &self.run, "0"]);
                self.inside(&mut run, db, commands)
            }
            Way::Function => self.inside(&mut command(&["FCALL", "run", "0"]), db, commands),
        }
    }

    /// The current state of those keys.
    pub fn look(&mut self, keys: &[Address]) -> Vec<Seen> {
        let look = self.looking(keys);
        seen(self.ask(&[look]).remove(0).expect("a look"))
    }

    fn looking(&self, keys: &[Address]) -> Cmd {
        let mut look = command(&["EVALSHA", &self.look, "0"]);
        for (db, key) in keys {
            look.arg(db).arg(key);
        }
        look
    }

    fn with_looks(&self, commands: &[&Chosen]) -> Vec<Cmd> {
        let around = |chosen: &&Chosen| {
            let look = self.looking(&chosen.keys);
            [look.clone(), command(&chosen.words), look]
        };
        commands.iter().flat_map(around).collect()
    }

    fn one_by_one(&mut self, db: i64, commands: &[&Chosen]) -> Vec<Done> {
        let mut all = vec![command(&["SELECT", &db.to_string()])];
        all.extend(self.with_looks(commands));
        let mut replies = self.ask(&all);
        replies.remove(0).expect("SELECT");
        done(replies)
    }

    fn multi(&mut self, db: i64, commands: &[Chosen]) -> Vec<Done> {
        let mut all = vec![command(&["SELECT", &db.to_string()]), command(&["MULTI"])];
        all.extend(self.with_looks(&commands.iter().collect::<Vec<_>>()));
        all.push(command(&["EXEC"]));
        let replies = self.ask(&all).pop().expect("a reply").expect("EXEC");
        let Value::Array(replies) = replies else { panic!("EXEC: {replies:?}") };
        done(replies.into_iter().map(Ok).collect())
    }

    fn inside(&mut self, run: &mut Cmd, db: i64, commands: &[Chosen]) -> Vec<Done> {
        run.arg(db);
        for chosen in commands {
            run.arg(chosen.words.len()).arg(&chosen.words).arg(chosen.keys.len());
            for (db, key) in &chosen.keys {
                run.arg(db).arg(key);
            }
        }
        let reply = self.ask(std::slice::from_ref(run)).remove(0).expect("a script's reply");
        let all: Vec<(String, Value, Value)> = from_redis_value(reply).expect("the script's reply");
        let done = |(error, before, after): (String, Value, Value)| Done {
            error: Some(error).filter(|error| !error.is_empty()),
            before: seen(before),
            after: seen(after),
        };
        all.into_iter().map(done).collect()
    }

    fn ask(&mut self, commands: &[Cmd]) -> Vec<RedisResult<Value>> {
        let packed: Vec<u8> = commands.iter().flat_map(Cmd::get_packed_command).collect();
        self.connection.send_packed_command(&packed).expect("the server is running");
        let mut reply = || match self.connection.recv_response() {
            Err(error) if error.code().is_none() => {
                let all = packed.escape_ascii();
                panic!("no reply but {error}: {}", all.to_string().replace("\\r\\n", " "))
            }
            reply => reply,
        };
        commands.iter().map(|_| reply()).collect()
    }
}

/// Three replies per command: its keys before, its own, its keys after.
fn done(replies: Vec<RedisResult<Value>>) -> Vec<Done> {
    let mut replies = replies.into_iter();
    let mut all = Vec::new();
    while let Some(before) = replies.next() {
        let error = match replies.next().expect("a reply") {
            Ok(Value::ServerError(error)) => Some(format!("{error:?}")),
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        let after = replies.next().expect("a look");
        all.push(Done {
            error,
            before: seen(before.expect("look")),
            after: seen(after.expect("look")),
        });
    }
    all
}

fn seen(reply: Value) -> Vec<Seen> {
    let Value::Array(keys) = reply else { panic!("a look: {reply:?}") };
    keys.into_iter().map(Seen::from_reply).collect()
}
