use super::*;
use crate::mongo::client::connect;

/// Values of every kind, valid and invalid.
const VALUES: [&str; 22] = [
    "",
    "0",
    "1",
    "-1",
    "2",
    "51",
    "100",
    "500",
    "30000",
    "2147483647",
    "2147483648",
    "18446744073709551615",
    "true",
    "false",
    "majority",
    "auto",
    "PLAIN",
    "GSSAPI",
    "MONGODB-AWS",
    "snappy",
    "ENVIRONMENT:k8s",
    "hunter2",
];

#[test]
fn plain_connection_strings_are_accepted() {
    for uri in [
        "mongodb://127.0.0.1:27017",
        "mongodb://a,b:27018/?replicaSet=rs0&w=majority&journal=true",
        "mongodb+srv://cluster0.example.net/?retryWrites=false",
        "mongodb://user@host/?authMechanism=MONGODB-X509&tls=true",
        "mongodb://[::1]:27017/?w=2",
        "mongodb://%2Ftmp%2Fmongodb-27017.sock",
        "mongodb://h/?w=1&",
        "mongodb://h?appname=my%20app",
    ] {
        assert_eq!(validate_setting(uri), Ok(Vec::new()), "{uri}");
    }
}

#[test]
fn a_password_is_refused_with_the_alternative_and_accepted_from_a_file() {
    for uri in ["mongodb://u:hunter2@h", "mongodb+srv://u:hunter2@h.example.net/?w=1"] {
        let error = validate_setting(uri).unwrap_err();
        assert!(error.contains("mongodb-uri-file") && !error.contains("hunter2"), "{error}");
        assert_eq!(validate_secret(uri), Ok(Vec::new()));
    }
}

#[test]
fn a_malformed_connection_string_is_refused_without_being_repeated() {
    for uri in [
        "",
        "hunter2",
        "redis://hunter2",
        "mongodb://",
        "mongodb://u:hun@ter2@h",
        "mongodb://u:hun/ter2@h",
        "mongodb://u:hun?ter2=1@h",
        "mongodb://u:1234?w=hunter2@h",
        "mongodb://u:hun%ter2@h",
        "mongodb://u:%aünter2@h",
        "mongodb://@hunter2",
        "mongodb://:hunter2@h",
        "mongodb://h/?hunter2",
        "mongodb://h:hunter2/",
        "mongodb://h/hun$ter2",
        "mongodb://[hunter2]",
        "mongodb+srv://h.example.net:27017",
        "mongodb+srv://a.example.net,b.example.net",
        "mongodb://h/?maxPoolSize=hunter2",
        "mongodb://h/?replicaSet=hunter2\nmongodb://h2",
    ] {
        let error = validate_secret(uri).expect_err(uri);
        assert!(!error.contains("hun") && !error.contains("ter2"), "{uri}: {error}");
    }
}

#[test]
fn a_port_out_of_range_is_reported() {
    for uri in ["mongodb://h:99999", "mongodb://a,b:0", "mongodb://h:", "mongodb://fe80::1:27017"] {
        let error = validate_setting(uri).unwrap_err();
        assert!(error.contains("the port of a host is no number from 1 to 65535"), "{error}");
    }
}

#[test]
fn an_invalid_option_is_named_also_next_to_a_password() {
    for (options, words) in [
        ("w=1&maxPoolSize=many", "maxPoolSize takes a whole number from 1"),
        ("maxpoolsize=0", "maxPoolSize takes a whole number from 1"),
        (
            "heartbeatFrequencyMS=100",
            "heartbeatFrequencyMS takes milliseconds, a whole number from 500",
        ),
        ("tz_aware=true", "no option tz_aware that MongoDB knows"),
        ("w=0", "w must not be 0"),
        ("w=51", "w takes majority, a tag, or a number from 1 to 50"),
        ("tls=true&ssl=false", "ssl is there twice"),
        ("tls=false&tlsCAFile=/ca", "its options on TLS take tls=true"),
        ("loadBalanced=true&replicaSet=rs", "loadBalanced=true takes no replicaSet"),
        ("srvMaxHosts=1", "srvMaxHosts takes mongodb+srv"),
        ("authMechanism=GSSAPI", "authMechanism takes one of SCRAM-SHA-256"),
        ("compressors", "compressors has no value"),
        ("proxyHost=p", "proxyHost is not supported"),
    ] {
        let error = validate_secret(&format!("mongodb://u:hunter2@h/?{options}")).unwrap_err();
        assert!(error.contains(words) && !error.contains("hunter2"), "{options}: {error}");
    }
    let error = validate_setting("mongodb://a,b/?directConnection=true").unwrap_err();
    assert!(error.contains("directConnection=true takes one host"), "{error}");
}

#[test]
fn credentials_that_cannot_work_are_refused() {
    for (uri, words) in [
        ("mongodb://ann@h", "a user without a password"),
        ("mongodb://ann@h/?authMechanism=PLAIN", "takes a user and a password"),
        ("mongodb://ann@h/?authMechanism=MONGODB-OIDC", "ENVIRONMENT"),
        ("mongodb://ann@h/?authMechanism=MONGODB-X509&authSource=admin", "authSource"),
    ] {
        for error in [validate_setting(uri), validate_secret(uri)].map(Result::unwrap_err) {
            assert!(error.contains(words), "{uri}: {error}");
        }
    }
}

#[test]
fn an_option_without_effect_is_accepted_with_a_note_and_not_passed_to_the_driver() {
    let uri =
        "mongodb://h/?socketTimeoutMS=30000&w=1&readPreference=nearest&compressors=zstd&wtimeout=5";
    let notes = validate_setting(uri).unwrap();
    let named = ["socketTimeoutMS", "readPreference", "compressors"];
    assert_eq!(notes.len(), named.len());
    for (note, name) in notes.iter().zip(named) {
        assert!(note.contains(name), "{note}");
    }
    assert_eq!(check(uri).ok().unwrap().plain, "mongodb://h/?w=1&wtimeoutMS=5");
}

/// Every option value that is accepted must create a client; for every other one the error must
/// name the option.
#[tokio::test]
async fn the_driver_accepts_every_option_that_is_accepted_here() {
    let mut accepted = 0;
    for (name, _) in options::OPTIONS {
        // The files are read when the client is created.
        let is_file = matches!(name, "tlsCAFile" | "tlsCertificateKeyFile");
        for value in VALUES {
            let uri = format!("mongodb://u:p@h/?{name}={value}");
            match validate_secret(&uri) {
                Ok(_) if is_file => {}
                Ok(_) => {
                    accepted += 1;
                    assert_eq!(connect(&uri).await.err(), None, "{uri}");
                }
                Err(error) => assert!(error.contains(name), "{uri}: {error}"),
            }
        }
    }
    assert!(accepted > 300, "{accepted}");
}

#[test]
fn every_option_of_the_manual_is_known() {
    // https://www.mongodb.com/docs/manual/reference/connection-string-options/
    for name in [
        "replicaSet",
        "tls",
        "ssl",
        "tlsCertificateKeyFile",
        "tlsCertificateKeyFilePassword",
        "tlsCAFile",
        "tlsAllowInvalidCertificates",
        "tlsAllowInvalidHostnames",
        "tlsInsecure",
        "connectTimeoutMS",
        "socketTimeoutMS",
        "compressors",
        "zlibCompressionLevel",
        "maxPoolSize",
        "minPoolSize",
        "maxConnecting",
        "maxIdleTimeMS",
        "waitQueueMultiple",
        "waitQueueTimeoutMS",
        "w",
        "wtimeoutMS",
        "journal",
        "readConcernLevel",
        "readPreference",
        "maxStalenessSeconds",
        "readPreferenceTags",
        "authSource",
        "authMechanism",
        "authMechanismProperties",
        "gssapiServiceName",
        "localThresholdMS",
        "serverSelectionTimeoutMS",
        "serverSelectionTryOnce",
        "heartbeatFrequencyMS",
        "appName",
        "retryReads",
        "retryWrites",
        "uuidRepresentation",
        "loadBalanced",
        "srvMaxHosts",
        "srvServiceName",
        "directConnection",
        "timeoutMS",
        "serverMonitoringMode",
        "proxyHost",
        "proxyPort",
        "proxyUsername",
        "proxyPassword",
        "tlsDisableOCSPEndpointCheck",
        "tlsDisableCertificateRevocationCheck",
    ] {
        assert!(options::find(name).is_some(), "{name}");
    }
}
