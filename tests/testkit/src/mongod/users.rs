//! A mongod with authentication, and its users.

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;

use mongodb::bson::{Document, doc};
use tempfile::TempDir;

use crate::mongod::certificates::{CLIENT, Certificates};
use crate::mongod::server::Mongod;
use crate::mongod::setup::MongodSetup;

/// A password of characters that break wrong quoting, encoding or formatting.
pub const PASSWORD: &str = "p%40:/@ %s%n&=?#+\u{e4}{}$'\"\\end";

/// A mongod with authentication.
pub struct Guarded {
    pub mongod: Mongod,
    // The key file for the internal authentication of the set's members.
    _key: TempDir,
}

impl Guarded {
    /// A replica set of one member; `add_user` creates its users.
    pub fn start() -> Self {
        Self::with(MongodSetup::replica_set())
    }

    /// The same with TLS; the subject of the client's certificate is a user that may read and
    /// write.
    pub fn with_tls(certificates: &Certificates) -> Self {
        let guarded = Self::with(MongodSetup::replica_set().tls(certificates));
        let user = doc! { "createUser": CLIENT, "roles": roles() };
        guarded.mongod.named_database("$external").run(user);
        guarded
    }

    fn with(setup: MongodSetup) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("key");
        std::fs::write(&file, "0123456789abcdef").expect("key file");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("key file");
        let key = ["--keyFile", file.to_str().expect("path")];
        // The localhost exception: without users, a local client may initiate the set and create
        // the first.
        let mut mongod = setup.arguments(&key).start();
        mongod.admin(doc! { "createUser": "root", "pwd": "root", "roles": ["root"] });
        mongod.log_in("root:root@");
        Self { mongod, _key: folder }
    }

    /// A user that may read and write everything.
    pub fn add_user(&self, name: &str, password: &str) {
        self.mongod.admin(doc! { "createUser": name, "pwd": password, "roles": roles() });
    }

    /// A user that may only read.
    pub fn add_reader(&self, name: &str, password: &str) {
        let roles = ["readAnyDatabase"];
        self.mongod.admin(doc! { "createUser": name, "pwd": password, "roles": roles });
    }

    pub fn set_password(&self, name: &str, password: &str) {
        self.mongod.admin(doc! { "updateUser": name, "pwd": password });
    }

    /// The module's connection string with that user and password.
    pub fn uri(&self, name: &str, password: &str) -> String {
        let login = format!("mongodb://{}:{}@", percent_encoded(name), percent_encoded(password));
        self.mongod.uri().replace("mongodb://", &login) + "&authSource=admin"
    }
}

fn roles() -> Vec<Document> {
    vec![doc! { "role": "readWriteAnyDatabase", "db": "admin" }]
}

/// Encodes every byte but ASCII letters and digits as `%XX`.
pub fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string");
        }
        encoded
    })
}
