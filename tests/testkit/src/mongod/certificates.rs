//! A certificate authority, and the certificates that it issues to mongod and its clients.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;

/// The subject of the client's certificate, which is also the name of its MongoDB user.
pub const CLIENT: &str = "CN=writer,OU=clients,O=writebehind";

/// PEM files in a temporary folder.
pub struct Certificates {
    dir: TempDir,
}

impl Certificates {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("folder");
        let issuer = authority("the right one");
        write(dir.path(), "ca.pem", &issuer.pem());
        write(dir.path(), "other-ca.pem", &authority("another one").pem());
        let server = params("127.0.0.1", "servers", ExtendedKeyUsagePurpose::ServerAuth);
        write(dir.path(), "server.pem", &issue(&server, &issuer));
        let client = params("writer", "clients", ExtendedKeyUsagePurpose::ClientAuth);
        write(dir.path(), "client.pem", &issue(&client, &issuer));
        Self { dir }
    }

    /// The certificate authority.
    pub fn ca(&self) -> String {
        self.path("ca.pem")
    }

    /// A certificate authority that issued none of the certificates.
    pub fn other_ca(&self) -> String {
        self.path("other-ca.pem")
    }

    /// mongod's certificate and key, for 127.0.0.1.
    pub fn server(&self) -> String {
        self.path("server.pem")
    }

    /// The client's certificate and key.
    pub fn client(&self) -> String {
        self.path("client.pem")
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().expect("path").to_owned()
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(name, "authorities");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, key()).expect("certificate")
}

fn params(name: &str, unit: &str, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = subject(name, unit);
    params.extended_key_usages = vec![usage];
    params
}

/// Certificate and key in one file, as MongoDB and its drivers expect them.
fn issue(params: &CertificateParams, issuer: &CertifiedIssuer<'static, KeyPair>) -> String {
    let key = key();
    let certificate = params.signed_by(&key, issuer).expect("certificate");
    certificate.pem() + &key.serialize_pem()
}

/// MongoDB lists the attributes in the reverse order.
fn subject(name: &str, unit: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "writebehind");
    subject.push(DnType::OrganizationalUnitName, unit);
    subject.push(DnType::CommonName, name);
    subject
}

fn key() -> KeyPair {
    KeyPair::generate().expect("key")
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).expect("certificate file");
}
