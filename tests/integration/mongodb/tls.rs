//! MongoDB with TLS: its certificate, the client's certificate, and the errors when they do not
//! fit.

use crate::mongodb::authentication::{link_error_names, writes_succeed};
use testkit::mongod::certificates::Certificates;
use testkit::mongod::users::{Guarded, PASSWORD};
use testkit::mongod::{Mongod, MongodSetup};
use testkit::redis_server::Setup;

fn server(certificates: &Certificates) -> Mongod {
    MongodSetup::replica_set().tls(certificates).start()
}

#[test]
fn a_server_with_a_certificate_of_the_given_authority_is_written_to() {
    let certificates = Certificates::new();
    let mongod = server(&certificates);
    let uri = format!("{}&tls=true&tlsCAFile={}", mongod.uri(), certificates.ca());
    writes_succeed(&Setup::new(&uri).start(), &mongod.database());
}

#[test]
fn the_client_certificate_authenticates_the_user() {
    let certificates = Certificates::new();
    let guarded = Guarded::with_tls(&certificates);
    let (ca, client) = (certificates.ca(), certificates.client());
    let options = format!("&tls=true&tlsCAFile={ca}&tlsCertificateKeyFile={client}");
    let x509 = "&authMechanism=MONGODB-X509&authSource=$external";
    let uri = guarded.mongod.uri() + &options + x509;
    writes_succeed(&Setup::new(&uri).start(), &guarded.mongod.database());
    // And with a password in addition to the certificate.
    guarded.add_user("ann", PASSWORD);
    let uri = guarded.uri("ann", PASSWORD) + &options;
    let redis = Setup::default().environment("WRITEBEHIND_MONGODB_URI", &uri).start();
    writes_succeed(&redis, &guarded.mongod.database());
}

#[test]
fn an_unknown_authority_is_reported() {
    let certificates = Certificates::new();
    let mongod = server(&certificates);
    let uri = format!("{}&tls=true&tlsCAFile={}", mongod.uri(), certificates.other_ca());
    link_error_names(
        &Setup::new(&uri).start(),
        &["TLS certificate", "unknown issuer", "tlsCAFile"],
    );
}

#[test]
fn a_missing_certificate_file_is_reported() {
    let uri = format!("{}&tls=true&tlsCAFile=/nowhere/ca.pem", Mongod::shared().uri());
    link_error_names(&Setup::new(&uri).start(), &["TLS", "file"]);
}

#[test]
fn a_plain_connection_to_a_tls_server_is_reported() {
    let mongod = server(&Certificates::new());
    link_error_names(&Setup::new(&mongod.uri()).start(), &["TLS"]);
}

#[test]
fn tls_to_a_server_without_tls_is_reported() {
    let uri = Mongod::shared().uri() + "&tls=true";
    link_error_names(&Setup::new(&uri).start(), &["does not speak TLS"]);
}
