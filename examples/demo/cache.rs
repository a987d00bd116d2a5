//! Redis as a cache of the films that MongoDB has: it is warmed up with some of them, loads others
//! when clients read them, and is compared with MongoDB after documents were changed by hand.

use std::collections::BTreeMap;
use std::time::Instant;

use mongodb::bson::{Document, doc};
use redis::{Connection, RedisError};
use serde_json::Value;

use testkit::redis_server::{Fields, command};
use testkit::wait::{SOON, wait_until};

use super::{DATABASE, Demo, FILMS, Result, VIEWS, heading, movie_id, say, thousands};

/// Films that the cache is warmed up with.
const WARM: usize = 1000;

/// How much of the memory in use is taken away for a moment.
const TAKEN_BYTES: u64 = 300 << 10;

/// Clients that ask for one film at once.
const CLIENTS: usize = 300;

impl Demo {
    pub(super) fn be_a_cache(&self) -> Result {
        self.warm_up()?;
        let mut evicted = self.evict()?.into_iter();
        let (first, second) = evicted.next().zip(evicted.next()).ok_or("too few are evicted")?;
        self.read_through(&first)?;
        self.stampede(&second)?;
        self.verify()
    }

    /// Empties Redis, and loads the films that have the most votes.
    fn warm_up(&self) -> Result {
        heading("A cache: Redis loads a film that it does not have when a client reads it");
        let register =
            format!("WB.REGISTER {FILMS} {DATABASE}.movies TYPE JSON KEY movieId READTHROUGH");
        self.redis.cmd(&register.split(' ').collect::<Vec<_>>());
        say(&register);
        self.redis.cmd(&["FLUSHALL"]);
        let limit = WARM.to_string();
        self.load(&[FILMS, "SORT", r#"{"IMDB Votes":-1}"#, "LIMIT", &limit]);
        let keys: usize = self.redis.run(&["DBSIZE"]);
        let documents = self.collection("movies").count();
        say(&format!("Redis has {} films of {}", thousands(keys as u64), thousands(documents)));
        check("Redis has the films of the warm-up", keys == WARM)
    }

    /// Makes Redis evict some films, and returns them with the values that they had.
    fn evict(&self) -> Result<BTreeMap<String, Value>> {
        heading("Evicting films: Redis gets too little memory for a moment");
        let documents = self.collection("movies").count();
        let mut films = self.cached_films()?;
        let used: u64 = self.redis.info("memory", "used_memory").ok_or("no memory")?.parse()?;
        let limit = (used - TAKEN_BYTES).to_string();
        self.configure("allkeys-lru", &limit);
        wait_until("films are evicted", SOON, || self.figure("evicted_total") > 1);
        self.configure("noeviction", "0");

        // KEYS, and not EXISTS, which would load the film.
        for key in self.redis.run::<Vec<String>>(&["KEYS", "*"]) {
            films.remove(&key);
        }
        say(&format!(
            "Redis has evicted {} films; MongoDB still has {}",
            films.len(),
            thousands(self.collection("movies").count())
        ));
        check(
            "WB.STATUS counts the evicted films",
            self.figure("evicted_total") == films.len() as i64,
        )?;
        check("no document is deleted", self.collection("movies").count() == documents)?;
        Ok(films)
    }

    /// Reads an evicted film twice.
    fn read_through(&self, (key, value): &(String, Value)) -> Result {
        heading("Reading an evicted film, as a client that knows of no MongoDB");
        let before = self.redis.status();
        let mut client = self.redis.connect();
        for times in 1..=2 {
            let (loads, hits) = (self.figure("read_loads_total"), self.figure("read_hits_total"));
            let start = Instant::now();
            let json: String = command(&["JSON.GET", key]).query(&mut client)?;
            let elapsed = start.elapsed();
            let (loads, hits) =
                (self.figure("read_loads_total") - loads, self.figure("read_hits_total") - hits);
            if times == 1 {
                say(&format!("JSON.GET {key} = {json}"));
            }
            say(&format!(
                "read {times} after {:.2} ms: {loads} loaded from MongoDB, {hits} found in Redis",
                elapsed.as_secs_f64() * 1e3
            ));
            check(
                "the value is that before the eviction",
                serde_json::from_str::<Value>(&json)? == *value,
            )?;
            let expected = if times == 1 { (1, 0) } else { (0, 1) };
            check("only the first read loads the film", (loads, hits) == expected)?;
        }
        let after = self.redis.status();
        check("nothing is to be written", after.int("dirty_keys") == 0)?;
        let [captured, captured_before] =
            [after, before].map(|status| status.int("captured_total"));
        check("loading a film is no change", captured == captured_before)
    }

    /// Many clients ask for a film that is not in Redis, while MongoDB does not answer.
    fn stampede(&self, (key, value): &(String, Value)) -> Result {
        heading(&format!("A stampede: {CLIENTS} clients ask for one evicted film at once"));
        let mut clients: Vec<Connection> = (0..CLIENTS).map(|_| self.redis.connect()).collect();
        let (loads, misses) = (self.figure("read_loads_total"), self.figure("read_misses_total"));
        let queries = self.queries()?;

        // Otherwise MongoDB could answer before the last client has asked.
        self.mongod.freeze();
        let ask = command(&["JSON.GET", key]).get_packed_command();
        for client in &mut clients {
            client.send_packed_command(&ask)?;
        }
        let waiting = || self.redis.status().int("readers_waiting") == CLIENTS as i64;
        wait_until("every client waits", SOON, waiting);
        say(&format!("{CLIENTS} clients wait, while MongoDB is frozen"));
        self.mongod.thaw();
        let start = Instant::now();
        let replies: Vec<String> = clients
            .iter_mut()
            .map(|client| Ok(redis::from_redis_value(client.recv_response()?)?))
            .collect::<std::result::Result<_, RedisError>>()?;
        let elapsed = start.elapsed();

        let loads = self.figure("read_loads_total") - loads;
        let misses = self.figure("read_misses_total") - misses;
        let queries = self.queries()? - queries;
        say(&format!(
            "MongoDB continues; all have the same value after {:.1} ms: {misses} misses, {loads} load, \
             {queries} query in MongoDB",
            elapsed.as_secs_f64() * 1e3
        ));
        for reply in &replies {
            check("each client gets the film", serde_json::from_str::<Value>(reply)? == *value)?;
        }
        check("every client has missed the film", misses == CLIENTS as i64)?;
        check("MongoDB is asked once", (loads, queries) == (1, 1))
    }

    /// Changes a document by hand and deletes another. WB.VERIFY finds both, and repairs them.
    fn verify(&self) -> Result {
        heading("Verifying: a document is changed by hand, and another one is deleted");
        for prefix in [FILMS, VIEWS] {
            self.load(&[prefix]);
        }
        self.verification("FULL", [0, 0, 0, 0])?;

        let movies = self.collection("movies");
        let ids = [movie_id(4), movie_id(7)];
        movies.update(ids[0].clone(), doc! { "$set": { "Title": "Slam!" } });
        let delete = doc! { "q": ids[1].clone(), "limit": 1 };
        let database = self.mongod.named_database(DATABASE);
        database.run(doc! { "delete": "movies", "deletes": [delete] });
        say("MongoDB: the title of film 0004 is changed to Slam!, and film 0007 is deleted");

        let found = self.verification("FULL", [1, 1, 0, 0])?;
        let [missing, different] =
            ["verify_missing_keys", "verify_different_keys"].map(|name| found.texts(name));
        say(&format!("missing {}, different {}", missing.join(" "), different.join(" ")));
        check("the deleted one is missing", missing == [super::key(7)])?;
        check("the changed one is different", different == [super::key(4)])?;

        self.verification("REPAIR FULL", [1, 1, 0, 2])?;
        self.flush();
        self.verification("FULL", [0, 0, 0, 0])?;
        let title = |film: &Document| film.get_str("Title").ok().map(str::to_owned);
        let [changed, deleted] = ids.map(|id| movies.find(id).as_ref().and_then(title));
        let (changed, deleted) = changed.zip(deleted).ok_or("a film has no document")?;
        say(&format!("MongoDB: the titles are {changed} and {deleted} again"));
        check("the title is that in Redis", changed == "Slam")
    }

    /// Runs WB.VERIFY of the films until it has ended. `expected`: how many documents are missing, are
    /// different, have no key, and how many keys are marked to be written again.
    fn verification(&self, options: &str, expected: [i64; 4]) -> Result<Fields> {
        let words: Vec<&str> = options.split(' ').collect();
        let figures = self.redis.verify(FILMS, &words);
        let names = ["verify_missing", "verify_different", "verify_extra", "verify_repaired"];
        let [missing, different, extra, repaired] = names.map(|name| figures.int(name));
        let [checked, skipped] = ["verify_checked", "verify_skipped"].map(|name| figures.int(name));
        say(&format!(
            "WB.VERIFY {FILMS} {options}: {} keys, {missing} missing, {different} different, {extra} extra, {repaired} repaired",
            thousands(checked as u64),
        ));
        let keys = self.redis.run::<Vec<String>>(&["KEYS", &format!("{FILMS}*")]).len();
        check("every film is compared", checked == keys as i64 && skipped == 0)?;
        check("it ends without an error", figures.text("verify_error").is_empty())?;
        let is_expected = [missing, different, extra, repaired] == expected;
        check("the figures are those of the changes by hand", is_expected)?;
        Ok(figures)
    }

    /// The films in Redis, with their values.
    fn cached_films(&self) -> Result<BTreeMap<String, Value>> {
        let keys: Vec<String> = self.redis.run(&["KEYS", &format!("{FILMS}*")]);
        let mut words = vec!["JSON.MGET"];
        words.extend(keys.iter().map(String::as_str));
        words.push(".");
        let values: Vec<String> = self.redis.run(&words);
        let parsed = values.iter().map(|json| serde_json::from_str(json));
        let values = parsed.collect::<std::result::Result<Vec<Value>, _>>()?;
        Ok(keys.into_iter().zip(values).collect())
    }

    fn configure(&self, policy: &str, limit: &str) {
        self.redis.cmd(&["CONFIG", "SET", "maxmemory-policy", policy, "maxmemory", limit]);
    }

    /// A figure of the films.
    fn figure(&self, name: &str) -> i64 {
        self.redis.status_of(FILMS).int(name)
    }

    /// The queries of the films that MongoDB has run since it started.
    fn queries(&self) -> Result<i64> {
        let top = self.mongod.admin(doc! { "top": 1 });
        let films = top.get_document("totals")?.get_document(format!("{DATABASE}.movies"))?;
        let count = films.get_document("queries")?.get("count").ok_or("no count")?;
        let number = count.as_i64().or_else(|| count.as_i32().map(i64::from));
        number.ok_or_else(|| format!("not a number: {count}").into())
    }
}

/// An error if a step did not end as it says.
fn check(what: &str, holds: bool) -> Result {
    if holds { Ok(()) } else { Err(format!("not so: {what}").into()) }
}
