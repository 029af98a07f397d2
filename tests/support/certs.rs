//! Certificate authorities and certificates of a test, as PEM files.

use std::fs;
use std::path::{Path, PathBuf};

use highhock::tls::{ClientIdentity, TlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, date_time_ymd,
};

/// A certificate authority.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// The properties of a certificate. Every certificate is for 127.0.0.1, and for clients and
/// servers.
#[derive(Clone, Copy, Debug, Default)]
pub struct CertificateOptions {
    /// The common name of the subject; `None`: no common name.
    pub common_name: Option<&'static str>,
    /// Expired long ago.
    pub expired: bool,
    /// Issued for another host.
    pub other_host: bool,
    /// A certificate of a CA, which is not valid for a server.
    pub is_ca: bool,
}

impl CertificateAuthority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes the CA certificate to this file.
    pub fn write(&self, path: &Path) -> PathBuf {
        fs::write(path, &self.pem).unwrap();
        path.to_owned()
    }

    /// Writes a certificate and its key to `<name>.pem` and `<name>.key` in the folder, and
    /// replaces existing files.
    pub fn issue(&self, folder: &Path, name: &str, options: CertificateOptions) -> ClientIdentity {
        let host = if options.other_host { "elsewhere.example" } else { "127.0.0.1" };
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        if let Some(common_name) = options.common_name {
            params.distinguished_name.push(DnType::CommonName, common_name);
        }
        if options.is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        if options.expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 2, 3);
        }
        // For clients and servers: etcd's gateway is a client of etcd.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let at = |ending: &str| folder.join(format!("{name}.{ending}"));
        let identity = ClientIdentity { cert: at("pem"), key: at("key") };
        fs::write(&identity.cert, certificate.pem()).unwrap();
        fs::write(&identity.key, key.serialize_pem()).unwrap();
        identity
    }

    /// The TLS files of a client that trusts this CA. With `options`, the client has a
    /// certificate named `client`.
    pub fn client(&self, folder: &Path, options: Option<CertificateOptions>) -> TlsFiles {
        TlsFiles {
            ca: Some(self.write(&folder.join("ca.pem"))),
            identity: options.map(|options| self.issue(folder, "client", options)),
        }
    }
}
