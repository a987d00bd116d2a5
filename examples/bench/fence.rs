//! The cost of fences against late writes: a batch as a plain command, as a numbered command (a
//! retryable write) and as a transaction. The three alternate in blocks of a few commands.

use std::ops::Range;
use std::time::Instant;

use mongodb::ClientSession;
use mongodb::bson::{RawDocumentBuf, doc};
use writebehind::internals::command::{self, TxnPosition};

use crate::bare::{Bare, Shape, applied, users};
use crate::cpu;
use crate::plot;
use crate::report::{Goal, Report};
use crate::sample::{median, quantile};
use crate::servers;
use testkit::mongod::Mongod;

const SIZES: [u64; 6] = [1, 10, 30, 100, 300, 1000];
/// The approximate number of documents of a block.
const BLOCK: u64 = 800;
const EXISTING: u64 = 50_000;
const PLAIN: usize = 0;
const NUMBERED: usize = 1;
const TRANSACTION: usize = 2;

/// Microseconds per document for each form, of wall-clock time and of mongod's CPU time, for each
/// block.
#[derive(Default)]
struct Forms([Vec<(f64, f64)>; 3]);

impl Forms {
    fn ratio(&self, form: usize, share: f64, of: fn(&(f64, f64)) -> f64) -> f64 {
        let part = |form: usize| quantile(&self.0[form].iter().map(of).collect::<Vec<_>>(), share);
        part(form) / part(PLAIN)
    }
}

pub fn run(report: &mut Report) {
    let mongod = servers::mongod();
    let bare = Bare::new(&mongod.uri());
    let blocks = report.scaled(30, 6);
    let mut next = Next { number: 1, document: 0 };
    let shape = Shape { batch: 1000, connections: 1 };
    bare.upsert("bench.existing", 0..EXISTING, 0, shape);
    let mut lines = Vec::new();
    for (kind, new, connections) in
        [("existing", false, 1), ("existing", false, 2), ("new", true, 1), ("new", true, 2)]
    {
        let (mut numbered, mut transactions) = (Vec::new(), Vec::new());
        for size in SIZES {
            let trial = Trial { size, new, connections };
            let forms = measure(&bare, &mongod, trial, blocks, &mut next);
            let ratio = |form| forms.ratio(form, 0.5, |block| block.1);
            let note = |form| {
                format!(
                    "CPU of mongod against plain; 10th percentile {:.2}; wall clock {:.2}",
                    forms.ratio(form, 0.1, |block| block.1),
                    forms.ratio(form, 0.5, |block| block.0),
                )
            };
            let plain = median(&forms.0[PLAIN].iter().map(|block| block.1).collect::<Vec<_>>());
            for (name, form, line) in [
                ("numbered", NUMBERED, &mut numbered),
                ("transaction", TRANSACTION, &mut transactions),
            ] {
                let what = format!("{name}, {size} {kind}, {connections} connection(s)");
                let ratio = ratio(form);
                let note = note(form);
                report.value(&what, ratio * plain, plain, "µs", ratio, Goal::None, note);
                line.push((size as f64, ratio));
            }
        }
        if connections == 2 {
            lines.push((format!("numbered, {kind}"), numbered));
            lines.push((format!("transaction, {kind}"), transactions));
        }
    }
    let title = "CPU time of mongod per document against a plain command, 2 connections";
    let axes = ("operations in a batch", "× plain");
    plot::lines(&report.file("fence.svg"), title, axes, &lines);
}

/// The parameters of a measurement.
#[derive(Clone, Copy)]
struct Trial {
    /// Operations in a batch.
    size: u64,
    /// The documents do not exist yet. Concurrent batches have adjacent keys, like keys that became
    /// dirty one after the other.
    new: bool,
    connections: usize,
}

/// The next unused transaction number and document.
struct Next {
    number: i64,
    document: u64,
}

impl Next {
    fn documents(&mut self, trial: Trial) -> Range<u64> {
        if !trial.new && self.document % EXISTING + trial.size > EXISTING {
            self.document = 0;
        }
        let from = if trial.new { self.document } else { self.document % EXISTING };
        self.document += trial.size;
        from..from + trial.size
    }

    fn number(&mut self) -> i64 {
        self.number += 1;
        self.number
    }
}

fn measure(bare: &Bare, mongod: &Mongod, trial: Trial, blocks: u64, next: &mut Next) -> Forms {
    let Trial { size, new, connections } = trial;
    let name = if new { format!("new{}", next.number()) } else { "existing".to_owned() };
    let namespace = format!("bench.{name}");
    let database = mongod.named_database("bench");
    if new {
        database.run(doc! { "create": &name });
    }
    let each = (BLOCK / size).clamp(1, 16);
    let mut sessions: Vec<ClientSession> = (0..connections)
        .map(|_| bare.runtime.block_on(async { bare.client.start_session().await }))
        .collect::<Result<_, _>>()
        .expect("sessions");
    let mut forms = Forms::default();
    // The first round opens connections and starts sessions, and is not counted.
    for round in 0..=blocks {
        for step in 0..3 {
            let form = (round + step) as usize % 3;
            let mut batches: Vec<Vec<(i64, Vec<u8>)>> = vec![Vec::new(); connections];
            for _ in 0..each {
                for batches in &mut batches {
                    let bytes = users(&namespace, next.documents(trial), round).bytes;
                    batches.push((next.number(), bytes));
                }
            }
            let before = cpu::of_process(mongod.pid());
            let start = Instant::now();
            let sends = batches
                .into_iter()
                .zip(&mut sessions)
                .map(|(commands, session)| Box::pin(send(bare, form, commands, session, size)));
            bare.runtime.block_on(crate::bare::all(sends.collect()));
            let wall = start.elapsed();
            let server = cpu::of_process(mongod.pid()).saturating_sub(before);
            let us = |time: std::time::Duration| {
                time.as_secs_f64() * 1e6 / (each * connections as u64 * size) as f64
            };
            if round > 0 {
                forms.0[form].push((us(wall), us(server)));
            }
        }
    }
    if new {
        database.run(doc! { "drop": &name });
    }
    forms
}

/// Sends commands of `size` operations one after the other in one session.
async fn send(
    bare: &Bare,
    form: usize,
    commands: Vec<(i64, Vec<u8>)>,
    session: &mut ClientSession,
    size: u64,
) {
    let (bench, admin) = (bare.client.database("bench"), bare.client.database("admin"));
    let complete = |mut bytes: Vec<u8>, place| {
        bare.options.complete(&mut bytes, place, bare.options.within);
        RawDocumentBuf::from_bytes(bytes).expect("BSON")
    };
    for (number, bytes) in commands {
        let place = [
            TxnPosition::NoSession,
            TxnPosition::RetryableWrite(number),
            TxnPosition::Start(number),
        ][form];
        let run = bench.run_raw_command(complete(bytes, place));
        let reply = match form {
            PLAIN => run.await,
            _ => run.session(&mut *session).await,
        };
        applied(&reply.expect("reply"), size);
        if form == TRANSACTION {
            let commit = complete(command::commit(), TxnPosition::Commit(number));
            let reply = admin.run_raw_command(commit).session(&mut *session).await;
            assert!(!reply.expect("reply").contains_key("writeConcernError"));
        }
    }
}
