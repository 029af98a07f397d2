//! What stands in the files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::{ClientIdentity, TlsFiles};

/// A file that can't be used, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFileError {
    /// It can't be read, or doesn't hold what it should.
    #[error("{key}: {}: {reason}", path.display())]
    File {
        /// The setting that names it.
        key: String,
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No CA is named, and the system knows none.
    #[error(
        "no CA is known to this system ({reason}), so no server can be trusted; install \
         ca-certificates, or name the CA's file in {section}.ca"
    )]
    NoSystemCa {
        /// The section that could name one.
        section: &'static str,
        /// What was tried.
        reason: String,
    },
}

/// A configuration by what the files hold now.
pub(super) fn client_config(
    files: &TlsFiles,
    section: &'static str,
) -> Result<ClientConfig, TlsFileError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| file_error(&format!("{section}.ca"), Path::new(""), &error))?;
    let roots = match &files.ca {
        Some(path) => roots_from_file(path, &format!("{section}.ca"))?,
        None => system_roots(section)?,
    };
    let builder = builder.with_root_certificates(roots);
    let Some(ClientIdentity { cert, key }) = &files.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let (cert_setting, key_setting) = (format!("{section}.cert"), format!("{section}.key"));
    let certificates = certificates(cert, &cert_setting)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| file_error(&key_setting, key, &pem_message(error, "private key")))?;
    builder.with_client_auth_cert(certificates, private).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            let reason = format!("is not the key of the certificate in {}", cert.display());
            file_error(&key_setting, key, &reason)
        }
        other => file_error(&cert_setting, cert, &other),
    })
}

fn roots_from_file(path: &Path, key: &str) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, key)? {
        roots.add(certificate).map_err(|error| file_error(key, path, &error))?;
    }
    Ok(roots)
}

fn system_roots(section: &'static str) -> Result<RootCertStore, TlsFileError> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A system's collection may hold one that is too odd to be used.
    roots.add_parsable_certificates(loaded.certs);
    if !roots.is_empty() {
        return Ok(roots);
    }
    let reason =
        loaded.errors.first().map_or("it has no collection of them".into(), ToString::to_string);
    Err(TlsFileError::NoSystemCa { section, reason })
}

fn certificates(path: &Path, key: &str) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let all = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| file_error(key, path, &pem_message(error, "certificate")))?;
    if all.is_empty() {
        Err(file_error(key, path, &pem_message(pem::Error::NoItemsFound, "certificate")))
    } else {
        Ok(all)
    }
}

fn pem_message(error: pem::Error, wanted: &str) -> String {
    match error {
        pem::Error::Io(error) => format!("can't be read: {error}"),
        pem::Error::NoItemsFound => format!("holds no {wanted} in PEM"),
        other => format!("is no sound PEM file: {other}"),
    }
}

fn file_error(key: &str, path: &Path, reason: &dyn std::fmt::Display) -> TlsFileError {
    TlsFileError::File { key: key.to_owned(), path: path.to_owned(), reason: reason.to_string() }
}
