//! Classifies why MongoDB cannot be used: errors of the driver, and error codes that affect more
//! than a namespace.

use mongodb::error::{Error, ErrorKind};

use super::codes::{Meaning, UNANSWERED, meaning};
use crate::sink::{Failure, LinkError};

/// The failure beyond the namespace that `code` reports; nothing for a code of the namespace or of
/// an operation.
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

/// Why there is no link: by the kind of error, and where the driver gives the cause only in its
/// message, by what the message contains. The message itself is not shown.
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
/// Part of the driver's message when `loadBalanced=true` is used with a server that is no load
/// balancer.
const LOAD_BALANCING: &str = "load balancing mode";
const NO_PRIMARY: &str = "the replica set has no primary at the moment";

/// Parts of the driver's message of a failed server selection: the text, its cause, and whether the
/// error is permanent, so that the operator must act.
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

/// Why no server accepts writes, from the driver's description of the topology.
pub fn no_server(topology: &str) -> LinkError {
    let (why, permanent) = selection(topology);
    LinkError { permanent, ..LinkError::transient(format!("MongoDB cannot be used: {why}")) }
}

fn selection(message: &str) -> (&'static str, bool) {
    if message.contains("ReplicaSetNoPrimary") && !message.contains("Servers: [") {
        return ("none of the servers belongs to the replica set; check replicaSet", true);
    }
    let known = SELECTION.iter().find(|(text, _, _)| message.contains(text));
    known.map_or(("no server that takes writes answers", false), |(_, why, permanent)| {
        (why, *permanent)
    })
}

/// The sentence, followed by the code.
pub fn coded(sentence: &str, code: i32) -> String {
    format!("{sentence} (code {code})")
}

#[cfg(test)]
mod tests {
    use super::selection;

    #[test]
    fn errors_that_the_operator_must_fix_are_permanent() {
        assert!(selection("SCRAM failure: Authentication failed.").1);
        assert!(!selection("Connection refused (os error 111)").1);
    }

    #[test]
    fn the_cause_of_a_failed_server_selection_is_reported_in_own_words() {
        for (text, reason) in [
            ("Error: Kind: I/O error: Connection refused (os error 111)", "connection refused"),
            ("Error: Kind: SCRAM failure: Authentication failed.", "authentication failed"),
            ("failed to lookup address information", "name is unknown"),
            ("Type: ReplicaSetNoPrimary, Servers: [ { Type: RSSecondary }", "no primary"),
            ("Type: ReplicaSetNoPrimary, Set Name: nope }", "check replicaSet"),
            ("something else, secret value 42", "no server that takes writes"),
        ] {
            assert!(selection(text).0.contains(reason), "{text}");
        }
    }
}
