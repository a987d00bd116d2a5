//! How the two threads wake each other: without a lock, and without a system call unless the other
//! thread sleeps.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// The server's end of the worker's doorbell.
#[derive(Debug)]
pub struct Ringer {
    sleeping: Arc<AtomicBool>,
    socket: UnixStream,
}

/// The worker's end of its doorbell.
#[derive(Debug)]
pub struct Doorbell {
    sleeping: Arc<AtomicBool>,
    socket: UnixStream,
}

/// A doorbell: [`Ringer::ring`] on the server thread ends the worker's sleep.
///
/// No ring is lost. The worker announces its sleep and then checks its channels a last time; the
/// server sends to a channel and then reads the announcement. All four steps are ordered by
/// `SeqCst` fences, so at least one of the two sees the other's step: either the worker finds the
/// message, or the server finds it asleep and writes a byte, which stays readable.
///
/// # Errors
/// When the process has no file descriptors left.
pub fn doorbell() -> io::Result<(Ringer, Doorbell)> {
    let (ringing, listening) = UnixStream::pair()?;
    ringing.set_nonblocking(true)?;
    listening.set_nonblocking(true)?;
    let sleeping = Arc::new(AtomicBool::new(false));
    Ok((
        Ringer { sleeping: Arc::clone(&sleeping), socket: ringing },
        Doorbell { sleeping, socket: listening },
    ))
}

impl Ringer {
    /// Ends the worker's sleep, or its next attempt to sleep. To be called after the message is in
    /// its channel. Never blocks.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.sleeping.swap(false, Ordering::SeqCst) {
            // If the socket is full, the worker already has bytes to wake it up.
            let _ = (&self.socket).write(&[1]);
        }
    }
}

impl Doorbell {
    /// Listens on the current runtime.
    ///
    /// # Errors
    /// When the process has no file descriptors left.
    pub fn listen(&self) -> io::Result<Listener> {
        let socket = tokio::net::UnixStream::from_std(self.socket.try_clone()?)?;
        Ok(Listener { sleeping: Arc::clone(&self.sleeping), socket })
    }
}

/// The worker's doorbell on one runtime.
#[derive(Debug)]
pub struct Listener {
    sleeping: Arc<AtomicBool>,
    socket: tokio::net::UnixStream,
}

impl Listener {
    /// Announces sleep. The caller checks for messages once more before [`rung`](Self::rung).
    pub fn announce_sleep(&self) {
        self.sleeping.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Waits for a ring since the last [`awake`](Self::awake).
    pub async fn rung(&self) {
        // An error counts as a ring: an extra check for messages is harmless.
        let _ = self.socket.readable().await;
    }

    /// Withdraws the announcement and discards the rings so far. The caller checks for messages
    /// afterwards.
    pub fn awake(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
        let mut rings = [0; 16];
        while matches!(self.socket.try_read(&mut rings), Ok(n) if n > 0) {}
    }
}

/// Asks the server thread to drain the reports, at most once until it does.
///
/// No request is lost. The worker reports and then sets the flag; the server clears the flag and
/// then drains. When the worker finds the flag set, the server has yet to clear it; that is a swap
/// which reads the worker's swap, so the drain after it sees the report.
#[derive(Debug, Default)]
pub struct Asked(AtomicBool);

impl Asked {
    /// On the worker, after reports were sent: true if the server must be woken.
    pub fn ask(&self) -> bool {
        !self.0.swap(true, Ordering::SeqCst)
    }

    /// On the server thread, before it drains the reports: clears the flag.
    pub fn answer(&self) {
        self.0.swap(false, Ordering::SeqCst);
    }
}
