//! MongoDB behind TLS: its certificate, ours, and what is told when they do not fit.

use crate::mongodb::authentication::{is_told, writes_arrive};
use testkit::mongod::certificates::Certificates;
use testkit::mongod::users::{Guarded, PASSWORD};
use testkit::mongod::{Mongod, MongodSetup};
use testkit::redis_server::Setup;

fn server(certificates: &Certificates) -> Mongod {
    MongodSetup::replica_set().tls(certificates).start()
}

#[test]
fn a_server_whose_authority_is_given_is_written_to() {
    let certificates = Certificates::new();
    let mongod = server(&certificates);
    let uri = format!("{}&tls=true&tlsCAFile={}", mongod.uri(), certificates.ca());
    writes_arrive(&Setup::new(&uri).start(), &mongod.database());
}

#[test]
fn a_certificate_of_ours_is_who_we_are() {
    let certificates = Certificates::new();
    let guarded = Guarded::with_tls(&certificates);
    let (ca, client) = (certificates.ca(), certificates.client());
    let options = format!("&tls=true&tlsCAFile={ca}&tlsCertificateKeyFile={client}");
    let x509 = "&authMechanism=MONGODB-X509&authSource=$external";
    let uri = guarded.mongod.uri() + &options + x509;
    writes_arrive(&Setup::new(&uri).start(), &guarded.mongod.database());
    // And with a password, as a certificate is no login by itself.
    guarded.add_user("ann", PASSWORD);
    let uri = guarded.uri("ann", PASSWORD) + &options;
    let redis = Setup::default().environment("WRITEBEHIND_MONGODB_URI", &uri).start();
    writes_arrive(&redis, &guarded.mongod.database());
}

#[test]
fn an_unknown_authority_is_told() {
    let certificates = Certificates::new();
    let mongod = server(&certificates);
    let uri = format!("{}&tls=true&tlsCAFile={}", mongod.uri(), certificates.other_ca());
    is_told(&Setup::new(&uri).start(), &["TLS certificate", "unknown issuer", "tlsCAFile"]);
}

#[test]
fn a_missing_file_of_certificates_is_told() {
    let uri = format!("{}&tls=true&tlsCAFile=/nowhere/ca.pem", Mongod::shared().uri());
    is_told(&Setup::new(&uri).start(), &["TLS", "file"]);
}

#[test]
fn plain_text_to_a_server_that_speaks_tls_is_told() {
    let mongod = server(&Certificates::new());
    is_told(&Setup::new(&mongod.uri()).start(), &["TLS"]);
}

#[test]
fn tls_to_a_server_that_does_not_speak_it_is_told() {
    let uri = Mongod::shared().uri() + "&tls=true";
    is_told(&Setup::new(&uri).start(), &["does not speak TLS"]);
}
