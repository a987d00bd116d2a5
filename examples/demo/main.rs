//! `make demo`: the operations of a movie application, with real films, a real Redis and a real
//! MongoDB.
//!
//! - here: Redis has all films, and MongoDB follows
//! - `cache`: Redis is a cache of the films that MongoDB has
//!
//! Exits non-zero if a step does not end as it says, or if a document differs from Redis.
//! `KEEP=1` leaves both servers running.

mod cache;

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use testkit::comparison::Mapping;
use testkit::mongod::Mongod;
use testkit::mongod::collection::Collection;
use testkit::redis_server::{Redis, Setup, command};
use testkit::wait::{SOON, wait_until};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const FILMS: &str = "MovieEntity:";
const VIEWS: &str = "views:";
const DATABASE: &str = "dbSpeedMernDemo";

/// Commands per pipeline.
const PIPELINE: usize = 500;

fn main() -> Result<ExitCode> {
    let films: Vec<Map<String, Value>> =
        serde_json::from_slice(&std::fs::read(testkit::fetched("movies.json"))?)?;

    heading("Starting redis-server with the module, and mongod");
    let mut demo = Demo::start();
    demo.register();
    demo.create(&films)?;
    demo.read()?;
    demo.edit(films.len())?;
    demo.delete(films.len())?;
    demo.count_views()?;
    demo.disconnect_mongodb(films.len())?;
    let mut same = demo.compare() && demo.warm() && demo.compare();
    demo.be_a_cache()?;
    same &= demo.compare();

    if std::env::var_os("KEEP").is_some_and(|keep| keep == "1") {
        demo.keep();
    }
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Demo {
    redis: Redis,
    mongod: Mongod,
}

impl Demo {
    fn start() -> Self {
        let mongod = Mongod::replica_set();
        let redis = Setup::new(&mongod.uri()).json().start();
        say(&format!("Redis on port {}, MongoDB at {}", redis.port(), mongod.uri()));
        Self { redis, mongod }
    }

    fn collection(&self, name: &str) -> Collection {
        self.mongod.named_database(DATABASE).collection(name)
    }

    fn register(&self) {
        heading("Registering two prefixes");
        for line in [
            format!("WB.REGISTER {FILMS} {DATABASE}.movies TYPE JSON KEY movieId"),
            format!("WB.REGISTER {VIEWS} {DATABASE}.counters TYPE STRING"),
        ] {
            self.redis.cmd(&line.split(' ').collect::<Vec<_>>());
            say(&line);
        }
        self.show();
    }

    fn create(&self, films: &[Map<String, Value>]) -> Result {
        heading(&format!("Creating {} films with JSON.SET", thousands(films.len() as u64)));
        let commands = films.iter().enumerate().map(|(number, film)| {
            let mut film = film.clone();
            film.insert("comments".into(), json!([]));
            command(&["JSON.SET", &key(number), "$", &Value::Object(film).to_string()])
        });
        self.send("films created", commands.collect())?;
        self.flush();
        self.show();
        Ok(())
    }

    fn read(&self) -> Result {
        heading("Reading one film on both sides");
        let json: String = self.redis.run(&["JSON.GET", &key(4)]);
        say(&format!("Redis    {} = {json}", key(4)));
        let document = self.collection("movies").find(movie_id(4)).ok_or("no such document")?;
        say(&format!("MongoDB  {document:?}"));
        Ok(())
    }

    fn edit(&self, films: usize) -> Result {
        heading("Editing: a rating, a number of votes and a comment on every second film");
        let commands = (0..films).step_by(2).flat_map(|number| {
            let key = key(number);
            let comment =
                json!({"by": "Seán O'Hara", "text": "\"Great\", isn't it?", "stars": 4.5});
            [
                command(&["JSON.SET", &key, "$.votes", "1"]),
                command(&["JSON.NUMINCRBY", &key, "$.votes", "41"]),
                command(&["JSON.SET", &key, "$['IMDB Rating']", "9.0"]),
                command(&["JSON.ARRAPPEND", &key, "$.comments", &comment.to_string()]),
            ]
        });
        self.send("edits", commands.collect())?;
        self.flush();
        let document = self.collection("movies").find(movie_id(4)).ok_or("no such document")?;
        say(&format!("MongoDB  {document:?}"));
        self.show();
        Ok(())
    }

    fn delete(&self, films: usize) -> Result {
        heading("Deleting every tenth film, and creating the first of them again");
        let commands = (0..films).step_by(10).map(|number| command(&["DEL", &key(number)]));
        self.send("films deleted", commands.collect())?;
        self.redis.cmd(&["JSON.SET", &key(0), "$", r#"{"Title":"The Land Girls","again":true}"#]);
        self.flush();
        self.show();
        Ok(())
    }

    fn count_views(&self) -> Result {
        const VIEWED: usize = 100_000;
        heading(&format!("Counting {} views of one film with INCR", thousands(VIEWED as u64)));
        let before = self.mongod.writes();
        let commands = (0..VIEWED).map(|_| command(&["INCR", "views:0004"]));
        self.send("views", commands.collect())?;
        self.flush();
        let writes = self.mongod.writes() - before;
        let counter = self.collection("counters").document("0004");
        say(&format!(
            "{} INCRs caused {writes} writes to MongoDB: {counter:?}",
            thousands(VIEWED as u64)
        ));
        self.show();
        Ok(())
    }

    fn disconnect_mongodb(&mut self, films: usize) -> Result {
        heading("Stopping MongoDB for some seconds while writes continue");
        self.mongod.stop();
        let start = Instant::now();
        let mut slowest = Duration::ZERO;
        let mut writes = 0;
        while start.elapsed() < Duration::from_secs(4) {
            let key = key(writes * 7 % films);
            let write = Instant::now();
            // JSON.SET of a path fails for a deleted film.
            let edit = command(&["JSON.SET", &key, "$.seen", &writes.to_string()]);
            edit.query::<Option<String>>(&mut self.redis.connection()).ok();
            slowest = slowest.max(write.elapsed());
            writes += 1;
            progress("edits without MongoDB", writes, None);
        }
        progress("edits without MongoDB", writes, Some(writes));
        let deleted = (5..films).step_by(100).map(|number| command(&["DEL", &key(number)]));
        self.send("films deleted without MongoDB", deleted.collect())?;
        self.redis.cmd(&["INCRBY", "views:0004", "17"]);
        say(&format!(
            "{:.1} s of writes one by one, the slowest took {:.1} ms",
            start.elapsed().as_secs_f64(),
            slowest.as_secs_f64() * 1e3
        ));
        self.show_status();

        say("MongoDB is restarted");
        self.mongod.restart();
        self.flush();
        self.show();
        Ok(())
    }

    /// True if MongoDB has the same films and counters as Redis.
    fn compare(&self) -> bool {
        heading("Comparing every document with Redis");
        let mut differences = Vec::new();
        let mut compared = 0;
        for (mapping, name) in
            [(Mapping::by_field(FILMS, "movieId"), "movies"), (Mapping::by_id(VIEWS), "counters")]
        {
            let collection = self.collection(name);
            differences.extend(mapping.differences(&mut self.redis.connection(), &collection));
            compared += collection.count();
        }
        for difference in differences.iter().take(10) {
            say(difference);
        }
        say(&match differences.len() {
            0 => format!("{} documents, all equal to Redis", thousands(compared)),
            count => format!("{count} of {} documents DIFFER", thousands(compared)),
        });
        differences.is_empty()
    }

    /// Empties Redis, and fills it from MongoDB. True if nothing is to be written then.
    fn warm(&self) -> bool {
        heading("Emptying Redis with FLUSHALL, and filling it again with WB.LOAD");
        let captured = self.redis.status().int("captured_total");
        self.redis.cmd(&["FLUSHALL"]);
        for prefix in [FILMS, VIEWS] {
            self.load(&[prefix]);
        }
        self.show_status();
        let status = self.redis.status();
        status.int("dirty_keys") == 0 && status.int("captured_total") == captured
    }

    /// Runs WB.LOAD with these arguments, the prefix first, until it has ended.
    fn load(&self, arguments: &[&str]) {
        let start = Instant::now();
        self.redis.cmd(&[&["WB.LOAD"], arguments].concat());
        let has_ended = || self.redis.status_of(arguments[0]).int("load_pending") == 0;
        wait_until("the documents are loaded", SOON, has_ended);
        let figures = self.redis.status_of(arguments[0]);
        let [documents, loaded, kept, failed] =
            ["load_documents", "load_loaded", "load_kept", "load_failed"]
                .map(|name| thousands(figures.int(name) as u64));
        say(&format!(
            "WB.LOAD {} after {:.0} ms: {documents} documents, {loaded} keys, {kept} kept, {failed} failed",
            arguments.join(" "),
            start.elapsed().as_secs_f64() * 1e3,
        ));
    }

    fn flush(&self) {
        let start = Instant::now();
        let flushed = self.redis.flush();
        say(&format!(
            "WB.FLUSH after {:.0} ms: {} persisted, {} failed, {} pending",
            start.elapsed().as_secs_f64() * 1e3,
            thousands(flushed.persisted as u64),
            flushed.failed,
            flushed.pending
        ));
    }

    /// Prints the numbers of documents and the module's status.
    fn show(&self) {
        let count = |name| thousands(self.collection(name).count());
        say(&format!("MongoDB    movies {}, counters {}", count("movies"), count("counters")));
        self.show_status();
    }

    fn show_status(&self) {
        let status = self.redis.status();
        let shown = ["dirty_keys", "captured_total", "coalesced_total", "written_total"]
            .into_iter()
            .chain(["deleted_total", "batches_total", "retries_total", "dead_letters"])
            .map(|name| format!("{name} {}", thousands(status.int(name) as u64)))
            .collect::<Vec<_>>();
        say(&format!("WB.STATUS  link {}, {}", status.text("link"), shown.join(", ")));
    }

    fn send(&self, what: &str, commands: Vec<redis::Cmd>) -> Result {
        let mut done = 0;
        for part in commands.chunks(PIPELINE) {
            let mut pipeline = redis::pipe();
            for command in part {
                pipeline.add_command(command.clone()).ignore();
            }
            pipeline.exec(&mut self.redis.connection())?;
            done += part.len();
            progress(what, done, Some(commands.len()));
        }
        Ok(())
    }

    /// Leaves both servers running, and prints commands to try.
    fn keep(self) {
        heading("Both servers keep running");
        let Self { redis, mongod } = self;
        let (port, pids) = (redis.port(), [redis.pid(), mongod.pid()]);
        let uri = mongod.uri();
        let folders = [redis.release(), mongod.release()];
        say(&format!("redis-cli -p {port} JSON.SET {} '$.comments' '[]'", key(4)));
        say(&format!("redis-cli -p {port} WB.FLUSH"));
        say(&format!("redis-cli -p {port} WB.STATUS {FILMS}"));
        say(&format!("MongoDB, for any client: {uri} (database {DATABASE})"));
        say(&format!(
            "to stop: kill {} {}; rm -r {} {}",
            pids[0],
            pids[1],
            folders[0].display(),
            folders[1].display()
        ));
    }
}

fn key(number: usize) -> String {
    format!("{FILMS}{number:04}")
}

fn movie_id(number: usize) -> mongodb::bson::Document {
    mongodb::bson::doc! { "movieId": format!("{number:04}") }
}

fn heading(text: &str) {
    println!("\n== {text}");
}

fn say(line: &str) {
    println!("   {line}");
}

/// Prints progress: on a terminal a line that is updated, otherwise only the final line.
fn progress(what: &str, done: usize, total: Option<usize>) {
    let finished = total == Some(done);
    let terminal = std::io::stdout().is_terminal();
    if terminal && (finished || done.is_multiple_of(PIPELINE)) {
        let of = total.map_or(String::new(), |total| format!(" of {}", thousands(total as u64)));
        print!("\r   {}{of} {what}", thousands(done as u64));
        std::io::stdout().flush().ok();
    }
    match (finished, terminal) {
        (true, true) => println!(),
        (true, false) => say(&format!("{} {what}", thousands(done as u64))),
        (false, _) => {}
    }
}

/// Formats 1234567 as 1,234,567.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
