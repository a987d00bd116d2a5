//! Prometheus' text format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write;

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, except when it begins at 0 again.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

/// The unit of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things, or 0 and 1.
    One,
    /// Milliseconds, shown as seconds.
    Ms,
    /// Microseconds, shown as seconds.
    Us,
}

/// The labels of a sample as they are printed, built once for all samples of one thing.
#[derive(Clone, Debug, Default)]
pub struct Labels(String);

impl Labels {
    /// The labels with these names and values; none for an empty list.
    pub fn new(labels: &[(&str, &str)]) -> Self {
        let mut text = String::new();
        for (label, value) in labels {
            text.push(if text.is_empty() { '{' } else { ',' });
            text.push_str(label);
            text.push_str("=\"");
            push_escaped(&mut text, value);
            text.push('"');
        }
        if !text.is_empty() {
            text.push('}');
        }
        Labels(text)
    }
}

/// A text in the making.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// An empty text with space for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Exposition { text: String::with_capacity(bytes) }
    }

    /// Begins the samples of a metric. `name` and `help` are those of the code: they need no escapes.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// One sample.
    pub fn sample(&mut self, name: &str, labels: &Labels, value: u64, unit: Unit) {
        self.text.push_str(name);
        self.text.push_str(&labels.0);
        self.text.push(' ');
        push_number(&mut self.text, value, unit);
        self.text.push('\n');
    }

    /// The samples of a histogram of microseconds: `buckets` are bounds and cumulative numbers.
    pub fn histogram(
        &mut self,
        name: &str,
        buckets: impl Iterator<Item = (u64, u64)>,
        sum_us: u64,
        count: u64,
    ) {
        let bucket = format!("{name}_bucket");
        for (bound_us, below) in buckets {
            let labels = Labels::new(&[("le", &bound(bound_us))]);
            self.sample(&bucket, &labels, below, Unit::One);
        }
        self.sample(&bucket, &Labels::new(&[("le", "+Inf")]), count, Unit::One);
        self.sample(&format!("{name}_sum"), &Labels::default(), sum_us, Unit::Us);
        self.sample(&format!("{name}_count"), &Labels::default(), count, Unit::One);
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(line);
        self.text.push('\n');
    }
}

/// The name, kind and unit of the metric for a figure of WB.STATUS. Times become seconds: `lag_p50_us`
/// is `writebehind_lag_p50_seconds`, `last_write_unix_ms` is `writebehind_last_write_timestamp_seconds`.
/// `scope` follows `writebehind_`.
pub fn metric_of(scope: &str, figure: &str) -> (String, Kind, Unit) {
    let (stem, kind) = match figure.strip_suffix("_total") {
        Some(stem) => (stem, Kind::Counter),
        None => (figure, Kind::Gauge),
    };
    let (stem, seconds, unit) = if let Some(stem) = stem.strip_suffix("_unix_ms") {
        (stem, "_timestamp_seconds", Unit::Ms)
    } else if let Some(stem) = stem.strip_suffix("_ms") {
        (stem, "_seconds", Unit::Ms)
    } else if let Some(stem) = stem.strip_suffix("_us") {
        (stem, "_seconds", Unit::Us)
    } else {
        (stem, "", Unit::One)
    };
    let total = if kind == Kind::Counter { "_total" } else { "" };
    (format!("writebehind_{scope}{stem}{seconds}{total}"), kind, unit)
}

/// Bytes as a label's value: text as it is, but `\` doubled and every byte that is not UTF-8 as `\xHH`,
/// so that different bytes give different values.
pub fn label_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

fn push_escaped(text: &mut String, value: &str) {
    if !value.contains(['\\', '"', '\n']) {
        return text.push_str(value);
    }
    for char in value.chars() {
        match char {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

fn push_number(text: &mut String, value: u64, unit: Unit) {
    // Writing to a string cannot fail.
    let _ = match unit {
        Unit::One => write!(text, "{value}"),
        Unit::Ms => write!(text, "{}.{:03}", value / 1_000, value % 1_000),
        Unit::Us => write!(text, "{}.{:06}", value / 1_000_000, value % 1_000_000),
    };
}

/// A bucket's bound in seconds without trailing zeros.
fn bound(bound_us: u64) -> String {
    let mut seconds = String::new();
    push_number(&mut seconds, bound_us, Unit::Us);
    seconds.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_has_help_type_and_samples() {
        let mut out = Exposition::default();
        out.family("a_total", Kind::Counter, "What it counts.");
        out.sample("a_total", &Labels::default(), 7, Unit::One);
        out.family("b_seconds", Kind::Gauge, "A time.");
        let labels = Labels::new(&[("db", "0"), ("prefix", "a\"b\\c\nd")]);
        out.sample("b_seconds", &labels, 1_005, Unit::Ms);
        let expected = "# HELP a_total What it counts.\n# TYPE a_total counter\na_total 7\n\
            # HELP b_seconds A time.\n# TYPE b_seconds gauge\n\
            b_seconds{db=\"0\",prefix=\"a\\\"b\\\\c\\nd\"} 1.005\n";
        assert_eq!(out.finish(), expected);
    }

    #[test]
    fn a_histogram_ends_with_all_its_sum_and_its_count() {
        let mut out = Exposition::default();
        let buckets = [(1_000, 1), (2_500, 3), (60_000_000, 4)];
        out.histogram("t_seconds", buckets.into_iter(), 75_000_001, 5);
        let expected = "t_seconds_bucket{le=\"0.001\"} 1\nt_seconds_bucket{le=\"0.0025\"} 3\n\
            t_seconds_bucket{le=\"60\"} 4\nt_seconds_bucket{le=\"+Inf\"} 5\n\
            t_seconds_sum 75.000001\nt_seconds_count 5\n";
        assert_eq!(out.finish(), expected);
    }

    #[test]
    fn times_become_seconds_in_name_and_value() {
        let of = |figure| metric_of("", figure);
        assert_eq!(of("dirty_keys"), ("writebehind_dirty_keys".into(), Kind::Gauge, Unit::One));
        let total = ("writebehind_written_total".into(), Kind::Counter, Unit::One);
        assert_eq!(of("written_total"), total);
        let down = ("writebehind_link_down_seconds_total".into(), Kind::Counter, Unit::Ms);
        assert_eq!(of("link_down_ms_total"), down);
        let lag = ("writebehind_prefix_lag_p50_seconds".into(), Kind::Gauge, Unit::Us);
        assert_eq!(metric_of("prefix_", "lag_p50_us"), lag);
        let last = ("writebehind_last_write_timestamp_seconds".into(), Kind::Gauge, Unit::Ms);
        assert_eq!(of("last_write_unix_ms"), last);
    }

    #[test]
    fn different_bytes_are_different_labels() {
        assert_eq!(label_text("Film é:".as_bytes()), "Film é:");
        assert_eq!(label_text(b"\xff:"), "\\xff:");
        assert_eq!(label_text(b"\\xff:"), "\\\\xff:");
    }
}
