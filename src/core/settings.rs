//! The module's settings as a plain snapshot, with their defaults and limits.

/// Default of `mongodb-uri`.
pub const DEFAULT_URI: &str = "mongodb://127.0.0.1:27017";

/// A numeric setting: name, default, minimum and maximum.
#[derive(Clone, Copy, Debug)]
pub struct SettingLimits {
    /// Name without the module's prefix.
    pub name: &'static str,
    /// Default.
    pub default: i64,
    /// Minimum value.
    pub min: i64,
    /// Maximum value.
    pub max: i64,
}

const fn limits(name: &'static str, default: i64, min: i64, max: i64) -> SettingLimits {
    SettingLimits { name, default, min, max }
}

/// Longest time that a dirty key waits for coalescing, milliseconds; 0 sends immediately.
pub const FLUSH_INTERVAL_MS: SettingLimits = limits("flush-interval-ms", 100, 0, 86_400_000);
/// Maximum number of keys in one batch. MongoDB accepts at most 100,000 operations in one command.
pub const BATCH_MAX_KEYS: SettingLimits = limits("batch-max-keys", 1_000, 1, 100_000);
/// Maximum bytes of values in one batch; a larger value is sent in a batch of its own.
pub const BATCH_MAX_BYTES: SettingLimits = limits("batch-max-bytes", 8 << 20, 1 << 10, 64 << 20);
/// Maximum number of batches in flight at the same time.
pub const MAX_IN_FLIGHT_BATCHES: SettingLimits = limits("max-in-flight-batches", 2, 1, 64);
/// Longest time that the server thread reads values per event-loop iteration, microseconds.
pub const READ_SLICE_US: SettingLimits = limits("read-slice-us", 500, 10, 100_000);
/// Upper bound of the first pause before a retry, milliseconds.
pub const RETRY_BACKOFF_MIN_MS: SettingLimits = limits("retry-backoff-min-ms", 50, 1, 3_600_000);
/// Longest pause before a retry, milliseconds.
pub const RETRY_BACKOFF_MAX_MS: SettingLimits =
    limits("retry-backoff-max-ms", 10_000, 1, 3_600_000);
/// Time limit of one command to MongoDB, milliseconds.
pub const WRITE_TIMEOUT_MS: SettingLimits = limits("write-timeout-ms", 10_000, 100, 120_000);
/// Memory limit of the dirty state in bytes; 0 for no limit. Changes beyond the limit are found by
/// scanning the keys of the prefix.
pub const DIRTY_MAX_BYTES: SettingLimits = limits("dirty-max-bytes", 0, 0, 1 << 50);
/// How long SHUTDOWN waits for the backlog to be written, milliseconds.
pub const SHUTDOWN_DRAIN_MS: SettingLimits = limits("shutdown-drain-ms", 5_000, 0, 3_600_000);

/// Longest time that a client waits for MongoDB, milliseconds.
pub const THROUGH_TIMEOUT_MS: SettingLimits = limits("through-timeout-ms", 5_000, 1, 3_600_000);
/// Maximum number of keys that are being loaded for clients at a time; others wait.
pub const READ_MAX_LOADS: SettingLimits = limits("read-max-loads", 1_000, 1, 1_000_000);

/// How WRITE REPLACE reaches MongoDB: the setting `write-form`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteForm {
    /// In the form that lets the server store and replicate the changed fields only, where it pays.
    #[default]
    Difference,
    /// As whole documents.
    Document,
}

/// Name of the setting.
pub const WRITE_FORM: &str = "write-form";

impl WriteForm {
    /// Every form with its name, the default first.
    pub const ALL: [(&'static str, WriteForm); 2] =
        [("difference", WriteForm::Difference), ("document", WriteForm::Document)];
}

/// What clients of MODE THROUGH get while MongoDB is not reached: the setting `through-when-down`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenDown {
    /// They wait until their timeouts.
    #[default]
    Wait,
    /// An error at once.
    Fail,
}

/// Name of the setting.
pub const THROUGH_WHEN_DOWN: &str = "through-when-down";

impl WhenDown {
    /// Every choice with its name, the default first.
    pub const ALL: [(&'static str, WhenDown); 2] =
        [("wait", WhenDown::Wait), ("fail", WhenDown::Fail)];
}

/// What a MULTI does with keys of MODE THROUGH: the setting `through-multi`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InMulti {
    /// They are written as with MODE BEHIND.
    #[default]
    Behind,
    /// Their commands are refused when they are queued, and EXEC with them.
    Refuse,
}

/// Name of the setting.
pub const THROUGH_MULTI: &str = "through-multi";

impl InMulti {
    /// Every choice with its name, the default first.
    pub const ALL: [(&'static str, InMulti); 2] =
        [("behind", InMulti::Behind), ("refuse", InMulti::Refuse)];
}

/// A snapshot of all settings but texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// See [`FLUSH_INTERVAL_MS`].
    pub flush_interval_ms: i64,
    /// See [`BATCH_MAX_KEYS`].
    pub batch_max_keys: i64,
    /// See [`BATCH_MAX_BYTES`].
    pub batch_max_bytes: i64,
    /// See [`MAX_IN_FLIGHT_BATCHES`].
    pub max_in_flight_batches: i64,
    /// See [`READ_SLICE_US`].
    pub read_slice_us: i64,
    /// See [`RETRY_BACKOFF_MIN_MS`].
    pub retry_backoff_min_ms: i64,
    /// See [`RETRY_BACKOFF_MAX_MS`].
    pub retry_backoff_max_ms: i64,
    /// See [`WRITE_TIMEOUT_MS`].
    pub write_timeout_ms: i64,
    /// See [`DIRTY_MAX_BYTES`].
    pub dirty_max_bytes: i64,
    /// See [`SHUTDOWN_DRAIN_MS`].
    pub shutdown_drain_ms: i64,
    /// See [`THROUGH_TIMEOUT_MS`].
    pub through_timeout_ms: i64,
    /// See [`READ_MAX_LOADS`].
    pub read_max_loads: i64,
    /// See [`WriteForm`].
    pub write_form: WriteForm,
    /// See [`WhenDown`].
    pub through_when_down: WhenDown,
    /// See [`InMulti`].
    pub through_multi: InMulti,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            flush_interval_ms: FLUSH_INTERVAL_MS.default,
            batch_max_keys: BATCH_MAX_KEYS.default,
            batch_max_bytes: BATCH_MAX_BYTES.default,
            max_in_flight_batches: MAX_IN_FLIGHT_BATCHES.default,
            read_slice_us: READ_SLICE_US.default,
            retry_backoff_min_ms: RETRY_BACKOFF_MIN_MS.default,
            retry_backoff_max_ms: RETRY_BACKOFF_MAX_MS.default,
            write_timeout_ms: WRITE_TIMEOUT_MS.default,
            dirty_max_bytes: DIRTY_MAX_BYTES.default,
            shutdown_drain_ms: SHUTDOWN_DRAIN_MS.default,
            through_timeout_ms: THROUGH_TIMEOUT_MS.default,
            read_max_loads: READ_MAX_LOADS.default,
            write_form: WriteForm::default(),
            through_when_down: WhenDown::default(),
            through_multi: InMulti::default(),
        }
    }
}
