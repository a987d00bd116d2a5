//! CPU time of threads and processes, from the scheduler: other programs on the machine affect it
//! far less than wall-clock time.

use std::collections::BTreeMap;
use std::time::Duration;

/// CPU time of one thread so far.
pub fn of_thread(pid: u32, thread: u32) -> Duration {
    let path = format!("/proc/{pid}/task/{thread}/schedstat");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// CPU time of the main thread so far; in Redis, the one that runs commands.
pub fn of_main_thread(pid: u32) -> Duration {
    of_thread(pid, pid)
}

/// CPU time of all existing threads.
pub fn of_process(pid: u32) -> Duration {
    threads(pid).map(|(thread, _)| of_thread(pid, thread)).sum()
}

/// CPU time of the threads with this name.
pub fn of_threads_named(pid: u32, name: &str) -> Duration {
    threads(pid).filter(|(_, other)| other == name).map(|(thread, _)| of_thread(pid, thread)).sum()
}

/// CPU time of each existing thread whose name `is_meant`, by thread id.
pub fn of_each_thread(pid: u32, is_meant: impl Fn(&str) -> bool) -> BTreeMap<u32, Duration> {
    let meant = threads(pid).filter(|(_, name)| is_meant(name));
    meant.map(|(thread, _)| (thread, of_thread(pid, thread))).collect()
}

fn threads(pid: u32) -> impl Iterator<Item = (u32, String)> {
    let folder = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    folder.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
        Some((entry.file_name().to_str()?.parse().ok()?, name.trim().to_owned()))
    })
}
