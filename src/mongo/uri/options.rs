//! The options of a connection string: each one in MongoDB's manual or of the driver, with its
//! allowed values and how it is handled.

use super::parts::decoded;

/// The greatest number that MongoDB's drivers accept.
const MAX: u32 = i32::MAX as u32;
/// Maximum `w` of a write concern: a replica set has no more members.
const MAX_MEMBERS: u32 = 50;
/// Maximum length of `appName`, bytes: the server refuses the `hello` of a client with a longer
/// one.
const APP_NAME_BYTES: usize = 128;
/// Minimum `heartbeatFrequencyMS` of the driver.
const MIN_HEARTBEAT_MS: u32 = 500;

/// The allowed values of an option, or why it is left out or refused.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// `true` or `false`.
    Bool,
    /// A whole number, from its minimum to its maximum.
    Number(u32, u32),
    /// A whole number of milliseconds, with its minimum.
    Milliseconds(u32),
    /// Text that is not empty, with its maximum length, bytes.
    Text(usize),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// `name:value` pairs.
    Properties,
    /// A number of members, `majority` or a tag.
    WriteConcern,
    /// An alias of another option.
    AsIn(&'static str),
    /// The option has no effect on this module and is left out, with a note that gives the reason.
    Nothing(&'static str),
    /// The module implements only this value; others are refused.
    Only(&'static str, &'static str),
    /// The module does not support the option.
    Unsupported(&'static str),
}

use Takes::{
    AsIn, Bool, Milliseconds, Nothing, Number, OneOf, Only, Properties, Text, Unsupported,
    WriteConcern,
};

const TIMEOUT: &str = "write-timeout-ms limits each command";
const WRITES_ONLY: &str = "the module does not read by it";
const COMPRESSION: &str = "the module sends its messages uncompressed";
const REVOCATION: &str = "the revocation of certificates is not checked";
const OBSOLETE: &str = "it is obsolete";
const PROXY: &str = "the module connects without a proxy";
const KERBEROS: &str = "Kerberos is not built in";

/// Every option by its name in MongoDB's manual, with deprecated names that are still in use.
pub const OPTIONS: [(&str, Takes); 56] = [
    ("appName", Text(APP_NAME_BYTES)),
    (
        "authMechanism",
        OneOf(&["SCRAM-SHA-256", "SCRAM-SHA-1", "MONGODB-X509", "PLAIN", "MONGODB-OIDC"]),
    ),
    ("authMechanismProperties", Properties),
    ("authSource", Text(usize::MAX)),
    ("compressors", Nothing(COMPRESSION)),
    ("connectTimeoutMS", Milliseconds(0)),
    ("directConnection", Bool),
    ("enableOverloadRetargeting", Bool),
    ("gssapiServiceName", Unsupported(KERBEROS)),
    ("heartbeatFrequencyMS", Milliseconds(MIN_HEARTBEAT_MS)),
    ("j", AsIn("journal")),
    ("journal", Bool),
    ("loadBalanced", Bool),
    ("localThresholdMS", Milliseconds(0)),
    ("maxAdaptiveRetries", Number(0, MAX)),
    ("maxConnecting", Number(1, MAX)),
    ("maxIdleTimeMS", Milliseconds(0)),
    ("maxPoolSize", Number(1, MAX)),
    ("maxStalenessSeconds", Nothing(WRITES_ONLY)),
    ("minPoolSize", Number(0, MAX)),
    ("proxyHost", Unsupported(PROXY)),
    ("proxyPassword", Unsupported(PROXY)),
    ("proxyPort", Unsupported(PROXY)),
    ("proxyUsername", Unsupported(PROXY)),
    ("readConcernLevel", Nothing(WRITES_ONLY)),
    ("readPreference", Nothing(WRITES_ONLY)),
    ("readPreferenceTags", Nothing(WRITES_ONLY)),
    ("replicaSet", Text(usize::MAX)),
    ("retryReads", Bool),
    ("retryWrites", Bool),
    ("safe", Nothing(OBSOLETE)),
    ("serverMonitoringMode", OneOf(&["auto", "stream", "poll"])),
    ("serverSelectionTimeoutMS", Milliseconds(1)),
    ("serverSelectionTryOnce", Nothing(OBSOLETE)),
    ("slaveOk", Nothing(WRITES_ONLY)),
    ("socketTimeoutMS", Nothing(TIMEOUT)),
    ("srvMaxHosts", Number(0, MAX)),
    ("srvServiceName", Text(usize::MAX)),
    ("ssl", AsIn("tls")),
    ("timeoutMS", Nothing(TIMEOUT)),
    ("tls", Bool),
    ("tlsAllowInvalidCertificates", Bool),
    (
        "tlsAllowInvalidHostnames",
        Only(
            "false",
            "tlsAllowInvalidCertificates=true takes any certificate, also one of another host",
        ),
    ),
    ("tlsCAFile", Text(usize::MAX)),
    ("tlsCertificateKeyFile", Text(usize::MAX)),
    (
        "tlsCertificateKeyFilePassword",
        Unsupported("name a key file without a passphrase, which Redis alone can read"),
    ),
    ("tlsDisableCertificateRevocationCheck", Nothing(REVOCATION)),
    ("tlsDisableOCSPEndpointCheck", Nothing(REVOCATION)),
    ("tlsInsecure", Bool),
    ("uuidRepresentation", Nothing("AS UUID and SCHEMA write the standard representation")),
    ("w", WriteConcern),
    ("waitQueueMultiple", Nothing(OBSOLETE)),
    ("waitQueueTimeoutMS", Nothing(TIMEOUT)),
    ("wtimeout", AsIn("wtimeoutMS")),
    ("wtimeoutMS", Milliseconds(0)),
    ("zlibCompressionLevel", Nothing(COMPRESSION)),
];

/// How an option with an allowed value is handled.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is passed to the driver under this name.
    Kept(&'static str),
    /// It is left out, with a note that gives the reason.
    Dropped(Option<&'static str>),
}

/// The option `name`, in upper or lower case.
pub fn find(name: &str) -> Option<(&'static str, Takes)> {
    OPTIONS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
}

/// Checks the value of an option; neither the result nor an error repeats the value.
///
/// # Errors
/// The allowed values of the option.
pub fn check(name: &'static str, takes: Takes, value: &str) -> Result<Fate, String> {
    let value = decoded(value);
    let allowed = match takes {
        AsIn(other) => {
            let (other, takes) = find(other).unwrap_or((name, Bool));
            return check(other, takes, &value);
        }
        Nothing(why) => return Ok(Fate::Dropped(Some(why))),
        Unsupported(why) => return Err(format!("is not supported: {why}")),
        Only(only, _) if value == only => return Ok(Fate::Dropped(None)),
        Only(only, instead) => return Err(format!("takes {only} only: {instead}")),
        Bool => matches!(&*value, "true" | "false"),
        Number(min, max) => is_number(&value, min, max),
        Milliseconds(min) => is_number(&value, min, MAX),
        Text(most) => !value.is_empty() && value.len() <= most,
        OneOf(words) => words.contains(&&*value),
        Properties => value.split(',').all(|property| property.contains(':')),
        WriteConcern => return write_concern(&value).map(|()| Fate::Kept(name)),
    };
    if allowed { Ok(Fate::Kept(name)) } else { Err(format!("takes {}", allowed_values(takes))) }
}

fn is_number(value: &str, min: u32, max: u32) -> bool {
    value.bytes().all(|byte| byte.is_ascii_digit())
        && value.parse().is_ok_and(|number: u32| (min..=max).contains(&number))
}

fn allowed_values(takes: Takes) -> String {
    match takes {
        Bool => "true or false".to_owned(),
        Number(min, max) => format!("a whole number from {min} to {max}"),
        Milliseconds(min) => format!("milliseconds, a whole number from {min} to {MAX}"),
        Text(usize::MAX) => "a text that is not empty".to_owned(),
        Text(most) => format!("a text of 1 to {most} bytes"),
        OneOf(words) => format!("one of {}", words.join(", ")),
        _ => "name:value pairs with commas between them".to_owned(),
    }
}

fn write_concern(value: &str) -> Result<(), String> {
    match value.parse::<i64>() {
        Ok(0) => {
            Err("must not be 0, with which MongoDB would acknowledge nothing; take w=majority \
                      or a number from 1 to 50"
                .to_owned())
        }
        Ok(members) if !(1..=i64::from(MAX_MEMBERS)).contains(&members) => {
            Err(format!("takes majority, a tag, or a number from 1 to {MAX_MEMBERS}"))
        }
        Err(_) if value.is_empty() => {
            Err(format!("takes majority, a tag, or a number from 1 to {MAX_MEMBERS}"))
        }
        _ => Ok(()),
    }
}
