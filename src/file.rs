//! Reads the files that settings name: connection strings, registrations, certificates.
//!
//! Opening a file may block indefinitely: a FIFO waits for a writer, a dead network mount for its
//! server. So only regular files are opened, and always on a thread that may hang.

use std::collections::HashMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

/// Maximum number of threads that read one path at a time. All of them hang if its file system
/// does.
const MAX_READERS: usize = 4;
/// The mode bit of a file that users other than its owner and its group may read.
const READABLE_BY_ALL: u32 = 0o004;
/// Stack size of a thread that reads a file.
const STACK_BYTES: usize = 128 * 1024;

/// The number of threads that read each path.
static READERS: Mutex<Option<HashMap<PathBuf, usize>>> = Mutex::new(None);

/// Reads `path` on a thread of its own, which is left running when it takes longer than `limit`.
/// The thread inherits the caller's signal mask.
///
/// # Errors
/// As [`read`], and when the file system does not answer in time.
pub fn read_within(path: &Path, max_bytes: u64, limit: Duration) -> io::Result<Vec<u8>> {
    let path = path.to_owned();
    within(limit, move || read(&path, max_bytes))
}

/// True if every user of the machine may read `path`, checked on a thread of its own.
///
/// # Errors
/// When there is no such file, and when the file system does not answer in time.
pub fn is_readable_by_all(path: &Path, limit: Duration) -> io::Result<bool> {
    let path = path.to_owned();
    within(limit, move || Ok(std::fs::metadata(path)?.permissions().mode() & READABLE_BY_ALL != 0))
}

fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (done, result) = bounded(1);
    std::thread::Builder::new().name("wb-file".to_owned()).stack_size(STACK_BYTES).spawn(
        // Fails when the caller no longer waits.
        move || drop(done.send(work())),
    )?;
    result.recv_timeout(limit).unwrap_or_else(|error| {
        Err(io::Error::other(match error {
            RecvTimeoutError::Timeout => "the file system does not answer",
            RecvTimeoutError::Disconnected => "the thread that read it has ended",
        }))
    })
}

/// Reads a regular file. It may hang with the file system, so neither the server thread nor the
/// worker thread may call it.
///
/// # Errors
/// When the file is not a regular file, longer than `max_bytes` or cannot be read, or when several
/// threads hang in it already. No error repeats its content.
pub fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let _reader = FileReader::begin(path)?;
    let mut bytes = Vec::new();
    open(path)?.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::other(format!("it is longer than {} KiB", max_bytes / 1024)));
    }
    Ok(bytes)
}

/// Opens a regular file without waiting for a writer. Any other file is not even opened, because
/// opening some devices has side effects.
fn open(path: &Path) -> io::Result<File> {
    is_regular(&std::fs::metadata(path)?)?;
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    // The path may be another file by now.
    is_regular(&file.metadata()?)?;
    Ok(file)
}

fn is_regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() { Ok(()) } else { Err(io::Error::other("it is not a regular file")) }
}

/// Counts one reader of its path until it is dropped.
struct FileReader(PathBuf);

impl FileReader {
    fn begin(path: &Path) -> io::Result<FileReader> {
        let mut readers = READERS.lock().unwrap_or_else(PoisonError::into_inner);
        let count = readers.get_or_insert_default().entry(path.to_owned()).or_insert(0);
        if *count >= MAX_READERS {
            return Err(io::Error::other("the file system has not answered for some time"));
        }
        *count += 1;
        Ok(FileReader(path.to_owned()))
    }
}

impl Drop for FileReader {
    fn drop(&mut self) {
        let mut readers = READERS.lock().unwrap_or_else(PoisonError::into_inner);
        let readers = readers.get_or_insert_default();
        if let Some(count) = readers.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                readers.remove(&self.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_thread_on_a_hanging_file_system_is_left_running() {
        let (release, released) = bounded::<()>(0);
        let start = Instant::now();
        let error = within(Duration::from_millis(50), move || Ok(released.recv().is_ok()));
        assert!(error.unwrap_err().to_string().contains("does not answer"));
        assert!(start.elapsed() < Duration::from_secs(5));
        drop(release);
        assert_eq!(within(Duration::from_secs(20), || Ok(7)).unwrap(), 7);
    }

    #[test]
    fn at_most_a_few_threads_hang_in_one_path() {
        let path = Path::new("/a path of this test");
        let hanging: Vec<FileReader> =
            (0..MAX_READERS).map(|_| FileReader::begin(path).unwrap()).collect();
        assert!(read(path, 10).unwrap_err().to_string().contains("has not answered"));
        drop(hanging);
        assert_eq!(read(path, 10).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_that_is_not_regular_is_refused_and_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&fifo, &link).unwrap();
        for path in [fifo.as_path(), &link, folder.path(), Path::new("/dev/zero")] {
            let error = read_within(path, 10, Duration::from_secs(20)).unwrap_err();
            assert!(error.to_string().contains("not a regular file"), "{path:?}: {error}");
        }
    }

    #[test]
    fn a_regular_file_is_read_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [b'x'; 2048]).unwrap();
        assert_eq!(read(&path, 2048).unwrap().len(), 2048);
        assert!(read(&path, 2047).unwrap_err().to_string().contains("longer than 1 KiB"));
    }
}
