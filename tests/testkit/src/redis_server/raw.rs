//! A connection on which the bytes of each reply are seen.

use std::io::{BufRead, BufReader, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A client that waits for so long is never answered: no timeout of a test is longer.
const NEVER: Duration = Duration::from_secs(120);

/// A connection without a client library.
pub struct RawClient {
    reader: BufReader<TcpStream>,
}

impl RawClient {
    /// Connects, and selects the protocol: 2 or 3.
    #[track_caller]
    pub fn new(port: u16, protocol: &str) -> Self {
        let mut client = Self::connect(port).expect("connect");
        if protocol != "2" {
            client.reply(&["HELLO", protocol]);
        }
        client
    }

    /// Connects with RESP2.
    ///
    /// # Errors
    /// If the server does not answer.
    pub fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(NEVER))?;
        Ok(RawClient { reader: BufReader::new(stream) })
    }

    /// Sends a command without waiting for its reply.
    ///
    /// # Errors
    /// If the connection is closed.
    pub fn send(&mut self, words: &[&str]) -> Result<()> {
        let mut line = format!("*{}\r\n", words.len());
        for word in words {
            line.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.reader.get_mut().write_all(line.as_bytes())
    }

    /// The bytes of the next reply.
    ///
    /// # Errors
    /// If the connection is closed.
    pub fn read(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut expected = 1;
        while expected > 0 {
            let start = bytes.len();
            let line = self.reader.read_until(b'\n', &mut bytes).inspect_err(|error| {
                let is_late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(!is_late, "no reply within {NEVER:?}");
            })?;
            if line == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            expected -= 1;
            let number = || String::from_utf8_lossy(&bytes[start + 1..]).trim().parse::<i64>();
            let number = || number().expect("a length");
            match bytes[start] {
                b'*' | b'~' | b'>' => expected += number().max(0),
                b'%' => expected += 2 * number(),
                b'$' | b'=' if number() >= 0 => {
                    let len = usize::try_from(number()).expect("a length") + 2;
                    let at = bytes.len();
                    bytes.resize(at + len, 0);
                    self.reader.read_exact(&mut bytes[at..])?;
                }
                _ => {}
            }
        }
        Ok(bytes)
    }

    /// The bytes of the reply to a command.
    #[track_caller]
    pub fn reply(&mut self, words: &[&str]) -> Vec<u8> {
        self.send(words).expect("write");
        self.read().expect("read")
    }

    /// The same as text.
    #[track_caller]
    pub fn text(&mut self, words: &[&str]) -> String {
        String::from_utf8_lossy(&self.reply(words)).into_owned()
    }

    /// True if a reply arrives within `time`; it is not read.
    #[track_caller]
    pub fn has_reply(&mut self, time: Duration) -> bool {
        self.reader.get_ref().set_read_timeout(Some(time)).expect("timeout");
        let has = self.reader.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        self.reader.get_ref().set_read_timeout(Some(NEVER)).expect("timeout");
        has
    }
}
