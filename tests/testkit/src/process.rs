//! A server process that never outlives this one.

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::wait::became;

/// Kills the server and removes its folder when this process's end of the pipe closes, however this
/// process ended.
const LIFELINE: &str = r#"read -r _; kill -s KILL "$0"; rm -rf "$1""#;

/// A running server, its folder and its log. Dropping it kills it.
pub struct Process {
    child: Child,
    lifeline: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the server in `folder`; its output goes to the file `log` there.
    pub fn start(command: &mut Command, folder: &Path) -> Self {
        let log = folder.join("log");
        let output = OpenOptions::new().create(true).append(true).open(&log).expect("log file");
        let child = command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("log file"))
            .stderr(output)
            // Ctrl-C goes to this process only: the lifeline then kills the server.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
        let lifeline = Command::new("sh")
            .args(["-c", LIFELINE, &child.id().to_string()])
            .arg(folder)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh");
        Self { child, lifeline, log }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signal");
    }

    /// Stops it (SIGSTOP) and returns when all its threads are stopped: threads on other processors
    /// get the signal a moment later.
    #[track_caller]
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.pid());
        let is_stopped = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = task.and_then(|task| std::fs::read_to_string(task.path().join("stat")));
            // The state follows the name, which may itself contain parentheses.
            stat.is_ok_and(|stat| {
                stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T"))
            })
        };
        let stopped = || std::fs::read_dir(&tasks).is_ok_and(|mut tasks| tasks.all(is_stopped));
        assert!(became(Duration::from_secs(20), stopped), "it is not stopped");
    }

    /// The exit status, if the process has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait")
    }

    /// Waits for the process to end after the caller has stopped it in another way.
    #[track_caller]
    pub fn wait_for_end(&mut self, within: Duration) -> ExitStatus {
        assert!(
            became(within, || self.ended().is_some()),
            "still running after {within:?}:\n{}",
            self.log()
        );
        self.cut_lifeline();
        self.ended().expect("ended")
    }

    pub fn kill(&mut self) {
        self.cut_lifeline();
        // An error: it has already ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Lets the process outlive this one.
    pub fn release(mut self) {
        self.cut_lifeline();
        std::mem::forget(self);
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Must run before the server's pid can be reused by another process.
    fn cut_lifeline(&mut self) {
        self.lifeline.kill().ok();
        self.lifeline.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- {}\n{}", self.log.display(), last_lines(&self.log(), 60));
        }
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A port without a listener, below the range of outgoing connections.
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Concurrent test processes start at different ports.
    let offset = (std::process::id() % u32::from(COUNT)) as u16;
    loop {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (offset.wrapping_mul(37).wrapping_add(turn)) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
