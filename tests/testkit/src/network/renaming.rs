//! A proxy to a mongod that reports itself under an unknown host name, as one in a container does.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::spawn;

/// A name that never resolves (RFC 6761), with the length of the address that it replaces.
const NAME: &[u8; 9] = b"a.invalid";
const ADDRESS: &[u8; 9] = b"127.0.0.1";

/// Forwards mongod's replies with the name in place of its address. Its threads end with their
/// connections.
pub struct Renaming {
    port: u16,
}

impl Renaming {
    /// A proxy to the mongod on that port.
    pub fn start(mongod: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let port = listener.local_addr().expect("port").port();
        spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", mongod)) else { continue };
                let back =
                    (server.try_clone().expect("socket"), client.try_clone().expect("socket"));
                spawn(move || forward(client, server, false));
                spawn(move || forward(back.0, back.1, true));
            }
        });
        Self { port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, rename: bool) {
    // The reply to `hello` fits into it.
    let mut bytes = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        let bytes = &mut bytes[..length];
        if rename {
            for at in 0..length.saturating_sub(ADDRESS.len()) {
                if bytes[at..].starts_with(ADDRESS) {
                    bytes[at..at + NAME.len()].copy_from_slice(NAME);
                }
            }
        }
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    from.shutdown(std::net::Shutdown::Both).ok();
    to.shutdown(std::net::Shutdown::Both).ok();
}
