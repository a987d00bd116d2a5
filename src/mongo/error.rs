//! Why MongoDB cannot be used: errors of the driver, and codes that concern more than a namespace.

use mongodb::error::{Error, ErrorKind};

use super::codes::{Meaning, UNANSWERED, meaning};
use crate::sink::{Failure, LinkError};

/// What more than the namespace's own state keeps a command from being written, if `code` says so.
pub fn failure_by(code: i32) -> Option<Failure> {
    let broken = broken_by(code)?;
    Some(match meaning(code) {
        Meaning::Part(_) => Failure::Part(broken),
        _ => Failure::Link(broken),
    })
}

fn broken_by(code: i32) -> Option<LinkError> {
    let broken = |why| LinkError::transient(format!("MongoDB: {}", coded(why, code)));
    match meaning(code) {
        Meaning::Link(why) | Meaning::Part(why) => {
            Some(LinkError { unanswered: UNANSWERED.contains(&code), ..broken(why) })
        }
        Meaning::Permanent(why) => Some(LinkError { permanent: true, ..broken(why) }),
        _ => None,
    }
}

/// Why there is no link: by the kind of error, and where the driver tells more only in its text,
/// by what that text contains. The text itself is not shown.
pub fn broken(error: &Error) -> LinkError {
    let transient = |why: &str| LinkError::transient(format!("MongoDB cannot be used: {why}"));
    let permanent = |why: &str| LinkError { permanent: true, ..transient(why) };
    let unanswered = |why: &str| LinkError { unanswered: true, ..transient(why) };
    match &*error.kind {
        ErrorKind::Command(error) => broken_by(error.code).unwrap_or_else(|| {
            LinkError::transient(format!("MongoDB refuses even a greeting (code {})", error.code))
        }),
        ErrorKind::Io(error) => {
            LinkError::unanswered(format!("the connection to MongoDB broke: {}", error.kind()))
        }
        ErrorKind::ConnectionPoolCleared { .. } => unanswered("the server stopped answering"),
        ErrorKind::Authentication { .. } => permanent(AUTHENTICATION),
        ErrorKind::ServerSelection { message, .. } => no_server(message),
        ErrorKind::InvalidTlsConfig { .. } => permanent(
            "a file that tlsCAFile or tlsCertificateKeyFile names holds no usable certificate and key",
        ),
        ErrorKind::DnsResolve { .. } => transient("the name of mongodb+srv has no usable record"),
        ErrorKind::IncompatibleServer { message, .. } if message.contains(LOAD_BALANCING) => {
            permanent(
                "loadBalanced=true takes a load balancer, and this is a server; remove the option",
            )
        }
        ErrorKind::IncompatibleServer { .. } => permanent(TOO_OLD),
        ErrorKind::InvalidArgument { .. } => {
            permanent("the connection string's options are not usable with it")
        }
        ErrorKind::Shutdown => unanswered("the client was closed because the settings changed"),
        _ => unanswered("the server's answer cannot be understood"),
    }
}

const AUTHENTICATION: &str = "authentication failed; check user, password and authSource";
const TOO_OLD: &str = "the server is too old, 4.4 or newer is needed";
/// In the driver's text when `loadBalanced=true` meets a server.
const LOAD_BALANCING: &str = "load balancing mode";
const NO_PRIMARY: &str = "the replica set has no primary at the moment";

/// What the driver's text of a failed server selection contains, the cause that it stands for,
/// and whether the operator must see to it.
const SELECTION: [(&str, &str, bool); 16] = [
    ("SCRAM failure", AUTHENTICATION, true),
    ("uthentication", AUTHENTICATION, true),
    ("Connection refused", "connection refused; is it running, and are host and port right", false),
    ("failed to lookup address", "the host's name is unknown", false),
    ("UnknownIssuer", "its TLS certificate is from an unknown issuer; set tlsCAFile", true),
    ("invalid peer certificate", "its TLS certificate is not valid for this host", true),
    ("tls handshake eof", "the server does not speak TLS", true),
    ("unexpected end of file", "the server hangs up; does it want TLS", false),
    ("Connection reset", "the server closed the connection; does it still run", false),
    ("Servers: [ ]", "no server of this replica set found; check replicaSet", true),
    ("ReplicaSetNoPrimary", NO_PRIMARY, false),
    ("RSSecondary", NO_PRIMARY, false),
    ("RSOther", NO_PRIMARY, false),
    ("RSGhost", "the replica set is not initiated", false),
    ("timed out", "no server answers", false),
    ("wire version", TOO_OLD, true),
];

/// Why no server takes writes, as the driver's text about the topology has it.
pub fn no_server(topology: &str) -> LinkError {
    let (why, permanent) = selection(topology);
    LinkError { permanent, ..LinkError::transient(format!("MongoDB cannot be used: {why}")) }
}

fn selection(message: &str) -> (&'static str, bool) {
    if message.contains("ReplicaSetNoPrimary") && !message.contains("Servers: [") {
        return ("none of the servers belongs to the replica set; check replicaSet", true);
    }
    let known = SELECTION.iter().find(|(text, _, _)| message.contains(text));
    known.map_or(("no server that takes writes answers", false), |(_, why, lasts)| (why, *lasts))
}

/// A sentence with the code behind it.
pub fn coded(sentence: &str, code: i32) -> String {
    format!("{sentence} (code {code})")
}

#[cfg(test)]
mod tests {
    use super::selection;

    #[test]
    fn what_somebody_must_see_to_does_not_pass_by_itself() {
        assert!(selection("SCRAM failure: Authentication failed.").1);
        assert!(!selection("Connection refused (os error 111)").1);
    }

    #[test]
    fn the_cause_of_a_failed_search_is_told_in_our_words() {
        for (text, told) in [
            ("Error: Kind: I/O error: Connection refused (os error 111)", "connection refused"),
            ("Error: Kind: SCRAM failure: Authentication failed.", "authentication failed"),
            ("failed to lookup address information", "name is unknown"),
            ("Type: ReplicaSetNoPrimary, Servers: [ { Type: RSSecondary }", "no primary"),
            ("Type: ReplicaSetNoPrimary, Set Name: nope }", "check replicaSet"),
            ("something else, secret value 42", "no server that takes writes"),
        ] {
            assert!(selection(text).0.contains(told), "{text}");
        }
    }
}
