//! Connection strings: which ones are accepted, and which parts of them may be shown.
//!
//! Everything that the driver refuses, when it parses the string or creates a client, is refused
//! here first, because its own errors repeat values and occur late. Options that have no effect on
//! this module are not passed to the driver, and noted.

mod options;
mod parts;

use mongodb::options::ConnectionString;

use options::Fate;
use parts::Parts;

/// The error for a password in `mongodb-uri`.
const PASSWORD: &str = "mongodb-uri takes no password, because a setting can be read by others; \
     put the whole connection string into a file and name it with mongodb-uri-file, or set the \
     environment variable WRITEBEHIND_MONGODB_URI";

/// Checks a connection string for `CONFIG SET writebehind.mongodb-uri`. Resolves no name. Returns a
/// note on each option that has no effect.
///
/// # Errors
/// One sentence when it is malformed, contains a password, or has an unacceptable option. It names
/// the option and never repeats the connection string.
pub fn validate_setting(uri: &str) -> Result<Vec<String>, String> {
    let checked = check(uri)?;
    if has_password(uri, &checked.parts) {
        return Err(PASSWORD.to_owned());
    }
    check_credentials(&checked).map_err(refused)?;
    Ok(checked.notes)
}

/// Checks a connection string that may hold credentials: from `mongodb-uri-file` or the
/// environment. Resolves no name. Returns a note on each option that has no effect.
///
/// # Errors
/// As [`validate_setting`], but a password is accepted.
pub fn validate_secret(uri: &str) -> Result<Vec<String>, String> {
    let checked = check(uri)?;
    check_credentials(&checked).map_err(refused)?;
    Ok(checked.notes)
}

/// True if `uri` contains a password or another secret.
pub fn is_secret(uri: &str) -> bool {
    check(uri).is_ok_and(|checked| has_password(uri, &checked.parts))
}

/// Checks `uri` and parses the parts that are passed to the driver.
pub(super) fn parse(uri: &str) -> Result<ConnectionString, String> {
    let checked = check(uri)?;
    check_credentials(&checked).map_err(refused)?;
    // The driver's own error is not used: it may repeat a value.
    ConnectionString::parse(&checked.plain).map_err(|_| {
        refused(
            "the driver does not take it; check authMechanismProperties and host names".to_owned(),
        )
    })
}

/// A connection string whose options are valid, each by itself and all together.
struct Checked<'u> {
    parts: Parts<'u>,
    /// The connection string that is passed to the driver.
    plain: String,
    notes: Vec<String>,
}

impl Checked<'_> {
    fn option(&self, name: &str) -> Option<String> {
        let found = self.parts.options.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| *value).map(parts::decoded)
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.option(name).is_some_and(|given| given == value)
    }
}

fn refused(why: String) -> String {
    format!("the MongoDB connection string cannot be used: {why}")
}

fn check(uri: &str) -> Result<Checked<'_>, String> {
    let parts = parts::split(uri).map_err(refused)?;
    let (mut plain, mut notes) = (parts.before_options.to_owned(), Vec::new());
    let mut seen: Vec<&str> = Vec::new();
    for (given, value) in &parts.options {
        let Some((name, takes)) = options::find(given) else {
            return Err(refused(unknown(given, value.is_some())));
        };
        let fate = match value {
            Some(value) => options::check(name, takes, value),
            None => Err("has no value; it takes the form name=value".to_owned()),
        };
        match fate.map_err(|why| refused(format!("its option {name} {why}")))? {
            Fate::Dropped(why) => notes.extend(why.map(|why| {
                format!("the option {name} of the connection string has no effect: {why}")
            })),
            Fate::Kept(kept) if seen.contains(&kept) => {
                return Err(refused(format!("its option {name} is there twice")));
            }
            Fate::Kept(kept) => {
                plain.push(if seen.is_empty() { '?' } else { '&' });
                plain.push_str(kept);
                plain.push('=');
                plain.push_str(value.unwrap_or_default());
                seen.push(kept);
            }
        }
    }
    let checked = Checked { parts, plain, notes };
    check_together(&checked).map_err(refused)?;
    Ok(checked)
}

/// The error for an unknown option. A name that could be part of a password is not repeated.
fn unknown(name: &str, has_value: bool) -> String {
    let plain =
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if has_value && plain && (1..=40).contains(&name.len()) {
        return format!("it has no option {name} that MongoDB knows; correct or remove it");
    }
    "the text after the ? must be options of the form name=value, with & between them".to_owned()
}

/// Checks for options that exclude each other, or do not fit the form of the connection string.
fn check_together(uri: &Checked<'_>) -> Result<(), String> {
    let parts = &uri.parts;
    let has = |name| uri.option(name).is_some();
    let is_true = |name| uri.is(name, "true");
    let some_hosts = uri.option("srvMaxHosts").is_some_and(|most| most.parse() != Ok(0));
    let tls_off = uri.is("tls", "false") || uri.is("ssl", "false");
    let tls = ["tlsCAFile", "tlsCertificateKeyFile", "tlsInsecure", "tlsAllowInvalidCertificates"];
    let rules = [
        (is_true("directConnection") && parts.hosts > 1, "directConnection=true takes one host"),
        (is_true("directConnection") && parts.srv, "directConnection=true takes no mongodb+srv"),
        (is_true("loadBalanced") && parts.hosts > 1, "loadBalanced=true takes one host"),
        (is_true("loadBalanced") && has("replicaSet"), "loadBalanced=true takes no replicaSet"),
        (
            is_true("loadBalanced") && is_true("directConnection"),
            "loadBalanced=true takes no directConnection=true",
        ),
        (has("srvServiceName") && !parts.srv, "srvServiceName takes mongodb+srv"),
        (has("srvMaxHosts") && !parts.srv, "srvMaxHosts takes mongodb+srv"),
        (some_hosts && has("replicaSet"), "srvMaxHosts takes no replicaSet"),
        (some_hosts && is_true("loadBalanced"), "srvMaxHosts takes no loadBalanced=true"),
        (
            has("tlsInsecure") && has("tlsAllowInvalidCertificates"),
            "of tlsInsecure and tlsAllowInvalidCertificates it takes one",
        ),
        (tls_off && tls.into_iter().any(has), "its options on TLS take tls=true"),
    ];
    match rules.into_iter().find(|(broken, _)| *broken) {
        Some((_, rule)) => Err(rule.to_owned()),
        None => Ok(()),
    }
}

/// Checks that authentication can succeed at all with the given credentials.
fn check_credentials(uri: &Checked<'_>) -> Result<(), String> {
    let mechanism = uri.option("authMechanism");
    let mechanism = mechanism.as_deref();
    let password = uri.parts.user.is_some_and(|(_, password)| password.is_some());
    let source = uri.option("authSource");
    let external = source.is_none_or(|source| source == "$external");
    let why = match (mechanism, uri.parts.user) {
        (None, Some(_)) if !password => {
            "it names a user without a password; authentication without \
             one takes authMechanism=MONGODB-X509"
        }
        (Some("SCRAM-SHA-256" | "SCRAM-SHA-1" | "PLAIN"), _) if !password => {
            "its option authMechanism takes a user and a password in front of the hosts"
        }
        (Some("MONGODB-X509"), _) if password => {
            "its option authMechanism=MONGODB-X509 takes no password"
        }
        (Some("MONGODB-X509" | "MONGODB-OIDC"), _) if !external => {
            "its option authSource takes $external with this authMechanism"
        }
        (Some("MONGODB-OIDC"), _)
            if !uri
                .option("authMechanismProperties")
                .is_some_and(|of| of.contains("ENVIRONMENT:")) =>
        {
            "its option authMechanism=MONGODB-OIDC takes authMechanismProperties=ENVIRONMENT:..."
        }
        _ => return Ok(()),
    };
    Err(why.to_owned())
}

fn has_password(uri: &str, parts: &Parts<'_>) -> bool {
    let lower = uri.to_ascii_lowercase();
    parts.user.is_some_and(|(_, password)| password.is_some())
        || ["password=", "aws_session_token"].iter().any(|name| lower.contains(name))
}

#[cfg(test)]
mod tests;
