//! The figures of the three writers, and the goals of the module's.

use std::time::Duration;

use super::documents::{Changed, Size};
use super::meter::Used;
use crate::report::{Goal, Report, number};
use crate::sample::{median, paired, quantile};

/// What changes all documents in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    Module,
    Replacements,
    /// `$set` of the changed fields.
    Sets,
}

impl Writer {
    pub const EACH: [Writer; 3] = [Writer::Module, Writer::Replacements, Writer::Sets];
}

/// The runs of each writer, in the order of [`Writer::EACH`].
pub type AllRuns = [Runs; 3];

/// The figures of a writer for each run.
#[derive(Default)]
pub struct Runs {
    cpu_us: Vec<f64>,
    oplog_bytes: Vec<f64>,
    journal_bytes: Vec<f64>,
    rate: Vec<f64>,
    /// Documents in a transaction.
    batch: Vec<f64>,
}

impl Runs {
    pub fn add(&mut self, used: Used, took: Duration, documents: u64) {
        let documents = documents as f64;
        self.cpu_us.push(used.cpu.as_secs_f64() * 1e6 / documents);
        self.oplog_bytes.push(used.oplog_bytes / documents);
        self.journal_bytes.push(used.journal_bytes / documents);
        self.rate.push(documents / took.as_secs_f64());
        self.batch.push(documents / used.transactions);
    }
}

/// What was measured.
pub struct Case {
    pub size: Size,
    pub changed: Changed,
    pub indexes: usize,
}

impl Case {
    fn name(&self) -> String {
        let (size, changed) = (self.size.name, self.changed.name());
        match self.indexes {
            0 => format!("{size}, {changed}"),
            indexes => format!("{size}, {changed}, {indexes} indexes"),
        }
    }

    /// The goals for the CPU time, the oplog and the rate.
    fn goals(&self) -> [Goal; 3] {
        match (self.size.name, self.changed, self.indexes) {
            (_, Changed::All, _) => [Goal::AtMost(1.25), Goal::None, Goal::None],
            ("1 KB", Changed::Fields(1), 0) => [Goal::AtMost(0.8), Goal::AtMost(0.2), Goal::None],
            ("10 KB", Changed::Fields(1), 0) => {
                [Goal::AtMost(0.45), Goal::AtMost(0.05), Goal::None]
            }
            ("1 KB", Changed::Fields(1), 5) => [Goal::None, Goal::None, Goal::AtLeast(2.5)],
            _ => [Goal::None; 3],
        }
    }

    /// Reports the figures of the module against those of the replacements; the notes have those of
    /// `$set`.
    pub fn report(&self, report: &mut Report, runs: &AllRuns) {
        let [cpu, oplog, rate] = self.goals();
        type Figures = fn(&Runs) -> &Vec<f64>;
        let rows: [(&str, Figures, &'static str, Goal); 4] = [
            ("CPU of mongod's connections", |runs| &runs.cpu_us, "µs", cpu),
            ("oplog", |runs| &runs.oplog_bytes, "B", oplog),
            ("journal", |runs| &runs.journal_bytes, "B", Goal::None),
            ("documents", |runs| &runs.rate, "/s", rate),
        ];
        let [batch, others, _] = runs.each_ref().map(|runs| median(&runs.batch));
        if batch != others {
            let (batch, others) = (number(batch), number(others));
            report.progress(&format!("{batch} documents in a transaction instead of {others}"));
        }
        for (what, of, unit, goal) in rows {
            let [ours, plain, sets] = runs.each_ref().map(of);
            let ratios: Vec<f64> =
                ours.iter().zip(plain).map(|(ours, plain)| ours / plain).collect();
            let spread = [0.0, 1.0].map(|share| number(quantile(&ratios, share)));
            let note = format!("{} to {}; $set {}", spread[0], spread[1], number(median(sets)));
            let what = format!("{}: {what}", self.name());
            let (ours, plain) = (median(ours), median(plain));
            report.value(&what, ours, plain, unit, median(&ratios), goal, note);
        }
    }
}

/// The CPU times of all writers against those of the replacements.
pub fn against_replacements(runs: &AllRuns) -> Vec<f64> {
    let plain = &runs[Writer::Replacements as usize].cpu_us;
    runs.iter().map(|runs| paired(&runs.cpu_us, plain)).collect()
}
