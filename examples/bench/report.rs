//! The results of the sections: a table for people, JSON for programs.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

/// The goal of a figure.
#[derive(Clone, Copy)]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// No goal.
    None,
}

/// One figure.
pub struct Row {
    pub section: String,
    pub what: String,
    /// Measured with the module.
    pub ours: f64,
    /// Measured without it, or a limit to compare with.
    pub plain: f64,
    pub unit: &'static str,
    /// The value that the goal applies to, mostly `ours / plain`.
    pub ratio: f64,
    pub goal: Goal,
    /// The spread, and other explanations.
    pub note: String,
}

impl Row {
    fn met(&self) -> Option<bool> {
        match self.goal {
            Goal::AtMost(max) => Some(self.ratio <= max),
            Goal::AtLeast(min) => Some(self.ratio >= min),
            Goal::None => None,
        }
    }

    fn goal_text(&self) -> String {
        match self.goal {
            Goal::AtMost(max) => format!("≤ {}", number(max)),
            Goal::AtLeast(min) => format!("≥ {}", number(min)),
            Goal::None => String::new(),
        }
    }
}

/// All figures of a run, and the folder of its files.
pub struct Report {
    /// 1 for the full size.
    pub scale: f64,
    folder: PathBuf,
    section: String,
    rows: Vec<Row>,
    start: Instant,
}

impl Report {
    /// An empty report; its files go into `folder`.
    pub fn new(folder: &Path, scale: f64) -> Self {
        std::fs::create_dir_all(folder).expect("folder of the report");
        let (folder, section) = (folder.to_owned(), String::new());
        Report { scale, folder, section, rows: Vec::new(), start: Instant::now() }
    }

    /// `full` times the scale, but at least `least`.
    pub fn scaled(&self, full: u64, least: u64) -> u64 {
        ((full as f64 * self.scale) as u64).max(least)
    }

    /// Starts a section, to which the following rows belong.
    pub fn begin(&mut self, section: &str) {
        section.clone_into(&mut self.section);
        self.progress("...");
    }

    /// Prints progress.
    pub fn progress(&self, what: &str) {
        eprintln!("{:>5.0} s  {}: {what}", self.start.elapsed().as_secs_f64(), self.section);
    }

    /// The path of a file of the report.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Adds a figure whose goal applies to `ours / plain`.
    pub fn ratio(&mut self, what: &str, ours: f64, plain: f64, unit: &'static str, goal: Goal) {
        self.value(what, ours, plain, unit, ours / plain, goal, String::new());
    }

    /// Adds a figure whose goal applies to `ratio`.
    #[allow(clippy::too_many_arguments, reason = "the columns of the table")]
    pub fn value(
        &mut self,
        what: &str,
        ours: f64,
        plain: f64,
        unit: &'static str,
        ratio: f64,
        goal: Goal,
        note: String,
    ) {
        let (section, what) = (self.section.clone(), what.to_owned());
        let row = Row { section, what, ours, plain, unit, ratio, goal, note };
        self.progress(&line(&row));
        self.rows.push(row);
    }

    /// Prints the table and writes the JSON.
    pub fn finish(&self) {
        println!("\n| section | what | ours | plain | unit | ratio | goal | met | note |");
        println!("| --- | --- | ---: | ---: | --- | ---: | --- | --- | --- |");
        for row in &self.rows {
            let met = row.met().map_or("", |met| if met { "yes" } else { "NO" });
            println!(
                "| {} | {} | {} | {} | {} | {} | {} | {met} | {} |",
                row.section,
                row.what,
                number(row.ours),
                number(row.plain),
                row.unit,
                number(row.ratio),
                row.goal_text(),
                row.note
            );
        }
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "section": row.section, "what": row.what, "ours": row.ours,
                    "plain": row.plain, "unit": row.unit, "ratio": row.ratio,
                    "goal": row.goal_text(), "met": row.met(), "note": row.note,
                })
            })
            .collect();
        let text = serde_json::to_string_pretty(&rows).expect("JSON");
        std::fs::write(self.file("bench.json"), text).expect("bench.json");
        println!("\nAlso in {}", self.folder.display());
    }
}

fn line(row: &Row) -> String {
    let Row { what, ours, plain, unit, ratio, note, .. } = row;
    let goal = row.goal_text();
    format!(
        "{what}: {} against {} {unit}, {} {goal} {note}",
        number(*ours),
        number(*plain),
        number(*ratio)
    )
}

/// A number with about three significant digits.
pub fn number(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "-".to_owned(),
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
