//! CAs of the test's own, and certificates by them, as PEM files.

use std::fs;
use std::path::{Path, PathBuf};

use highhock::tls::{ClientIdentity, TlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, date_time_ymd,
};

/// A CA.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// What a certificate is like, beside being for 127.0.0.1 and both sides.
#[derive(Clone, Copy, Debug, Default)]
pub struct CertificateOptions {
    /// Its subject's common name; without one it has none.
    pub common_name: Option<&'static str>,
    /// Whether it ended long ago.
    pub expired: bool,
    /// Whether it is for another host.
    pub other_host: bool,
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

    /// Writes its own certificate to this file.
    pub fn write(&self, path: &Path) -> PathBuf {
        fs::write(path, &self.pem).unwrap();
        path.to_owned()
    }

    /// Writes a certificate and its key to `<name>.pem` and `<name>.key` in the folder,
    /// over what was there.
    pub fn issue(&self, folder: &Path, name: &str, options: CertificateOptions) -> ClientIdentity {
        let host = if options.other_host { "elsewhere.example" } else { "127.0.0.1" };
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        if let Some(common_name) = options.common_name {
            params.distinguished_name.push(DnType::CommonName, common_name);
        }
        if options.expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 2, 3);
        }
        // For both sides: etcd's gateway is a client of etcd.
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

    /// Files of a client that trusts this CA, and has a certificate by it, called
    /// `client`, where that is wanted.
    pub fn client(&self, folder: &Path, options: Option<CertificateOptions>) -> TlsFiles {
        TlsFiles {
            ca: Some(self.write(&folder.join("ca.pem"))),
            identity: options.map(|options| self.issue(folder, "client", options)),
        }
    }
}
