//! Connection strings: which ones are taken, and what of them may be shown.

use mongodb::options::{Acknowledgment, ConnectionString, HostInfo};

/// Most members a write concern can name; a replica set has no more.
const MOST_MEMBERS: u32 = 50;
/// What people are told about a password in `mongodb-uri`.
const PASSWORD: &str = "mongodb-uri takes no password, because a setting can be read by others; \
     put the whole connection string into a file and name it with mongodb-uri-file, or set the \
     environment variable WRITEBEHIND_MONGODB_URI";

/// Checks a connection string for `CONFIG SET writebehind.mongodb-uri`. Looks up no name.
///
/// # Errors
/// One sentence when it is malformed, holds a password, or asks for writes that nobody
/// acknowledges. It never repeats the connection string.
pub fn validate_setting(uri: &str) -> Result<(), String> {
    let parsed = parse(uri)?;
    if has_password(uri, &parsed) {
        return Err(PASSWORD.to_owned());
    }
    Ok(())
}

/// Checks a connection string that may hold credentials: from `mongodb-uri-file` or the
/// environment. Looks up no name.
///
/// # Errors
/// As [`validate_setting`], but a password is taken.
pub fn validate_secret(uri: &str) -> Result<(), String> {
    parse(uri).map(drop)
}

/// The hosts that `uri` names, for logs: no user, no password, no options.
pub fn hosts(uri: &str) -> String {
    match ConnectionString::parse(uri).map(|parsed| parsed.host_info) {
        Ok(HostInfo::HostIdentifiers(hosts)) => {
            hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        }
        Ok(HostInfo::DnsRecord(name)) => name,
        // The driver may name places in other ways some day; a malformed one names none.
        _ => "(unknown)".to_owned(),
    }
}

/// Parses `uri` and checks its write concern.
pub(super) fn parse(uri: &str) -> Result<ConnectionString, String> {
    let parsed = ConnectionString::parse(uri).map_err(|_| malformed(uri))?;
    match parsed.write_concern.as_ref().and_then(|concern| concern.w.as_ref()) {
        Some(Acknowledgment::Nodes(0)) => Err("the MongoDB connection string asks for w=0, with \
             which nobody would know what is written; take w=majority or a number from 1 to 50"
            .to_owned()),
        Some(Acknowledgment::Nodes(n)) if *n > MOST_MEMBERS => Err("the MongoDB connection \
             string asks for more than w=50, the most members a replica set can have"
            .to_owned()),
        _ => Ok(parsed),
    }
}

/// Why `uri` is malformed, without repeating anything that could be a secret.
fn malformed(uri: &str) -> String {
    let why = match uri.split_once("://") {
        Some(("mongodb" | "mongodb+srv", rest)) => match bad_option(uri, rest) {
            Some(option) => format!("its option {option} is unknown or has a wrong value"),
            None => "special characters in user and password must be percent-encoded, and \
                 mongodb+srv takes one name without a port"
                .to_owned(),
        },
        _ => "it must begin with mongodb:// or mongodb+srv://".to_owned(),
    };
    format!("the MongoDB connection string is malformed: {why}")
}

/// The name of the first option that the driver refuses by itself. Not when there could be
/// credentials: a password that is not encoded can look like an option.
fn bad_option<'u>(uri: &str, rest: &'u str) -> Option<&'u str> {
    let options = rest.split_once('?').map(|(_, options)| options)?;
    if uri.contains('@') {
        return None;
    }
    options.split('&').find_map(|pair| {
        let (name, _) = pair.split_once('=')?;
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic());
        let alone = format!("mongodb://localhost/?{pair}");
        (plain && ConnectionString::parse(alone).is_err()).then_some(name)
    })
}

fn has_password(uri: &str, parsed: &ConnectionString) -> bool {
    let credential = parsed.credential.as_ref();
    let secret_option = uri.to_ascii_lowercase();
    credential.is_some_and(|credential| credential.password.is_some())
        || ["password=", "aws_session_token"].iter().any(|name| secret_option.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_connection_strings_are_taken() {
        for uri in [
            "mongodb://127.0.0.1:27017",
            "mongodb://a,b:27018/?replicaSet=rs0&w=majority&journal=true",
            "mongodb+srv://cluster0.example.net/?retryWrites=false",
            "mongodb://user@host/?authMechanism=MONGODB-X509&tls=true",
            "mongodb://[::1]:27017/?w=2",
        ] {
            assert_eq!(validate_setting(uri), Ok(()), "{uri}");
        }
    }

    #[test]
    fn a_password_is_refused_with_the_way_out_and_taken_from_a_file() {
        for uri in ["mongodb://u:hunter2@h", "mongodb+srv://u:hunter2@h.example.net/?w=1"] {
            let error = validate_setting(uri).unwrap_err();
            assert!(error.contains("mongodb-uri-file") && !error.contains("hunter2"), "{error}");
            assert_eq!(validate_secret(uri), Ok(()));
        }
    }

    #[test]
    fn a_malformed_one_is_refused_without_being_repeated() {
        for uri in [
            "",
            "hunter2",
            "redis://hunter2",
            "mongodb://",
            "mongodb://u:hun@ter2@h",
            "mongodb://u:hun/ter2@h",
            "mongodb://u:hun?ter2=1@h",
            "mongodb://h/?hunter2",
            "mongodb://h:hunter2/",
            "mongodb+srv://h.example.net:27017",
            "mongodb://h/?maxPoolSize=hunter2",
        ] {
            let error = validate_setting(uri).expect_err(uri);
            assert!(!error.contains("hun") && !error.contains("ter2"), "{uri}: {error}");
        }
    }

    #[test]
    fn a_wrong_option_is_named_when_no_credentials_can_be_mistaken_for_it() {
        let error = validate_setting("mongodb://h/?w=1&maxPoolSize=many").unwrap_err();
        assert!(error.contains("maxPoolSize"), "{error}");
        let error = validate_secret("mongodb://u:a?hunter=1@h/?maxPoolSize=many").unwrap_err();
        assert!(!error.contains("hunter"), "{error}");
    }

    #[test]
    fn writes_that_nobody_acknowledges_are_refused() {
        assert!(validate_setting("mongodb://h/?w=0").unwrap_err().contains("w=0"));
        assert!(validate_setting("mongodb://h/?w=51").is_err());
    }

    #[test]
    fn logs_show_hosts_and_nothing_else() {
        assert_eq!(hosts("mongodb://u:hunter2@a,b:1/db?w=1"), "a:27017,b:1");
        assert_eq!(hosts("mongodb+srv://u:hunter2@c.example.net"), "c.example.net");
        assert_eq!(hosts("mongodb://u:hun@ter2@h"), "(unknown)");
    }
}
