//! Reads the PEM files, and builds a TLS configuration from them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::{ClientIdentity, TlsFiles};

/// A file that cannot be used. The message is for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFileError {
    /// The file cannot be read, or has the wrong content.
    #[error("{key}: {}: {reason}", path.display())]
    File {
        /// The setting that names the file.
        key: String,
        /// The path of the file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// No CA is configured, and the system has none.
    #[error(
        "this system has no CA certificates ({reason}), so no server can be trusted; install \
         ca-certificates, or name the CA's file in {section}.ca"
    )]
    NoSystemCa {
        /// The section of the setting that can name a CA file.
        section: &'static str,
        /// The reason why no CA was found.
        reason: String,
    },
}

/// Builds a TLS configuration from the current content of the files.
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
    // A system's collection may contain certificates that rustls cannot parse.
    roots.add_parsable_certificates(loaded.certs);
    if !roots.is_empty() {
        return Ok(roots);
    }
    let reason =
        loaded.errors.first().map_or("no certificate store found".into(), ToString::to_string);
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

fn pem_message(error: pem::Error, expected: &str) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot be read: {error}"),
        pem::Error::NoItemsFound => format!("contains no {expected} in PEM format"),
        other => format!("is not a valid PEM file: {other}"),
    }
}

fn file_error(key: &str, path: &Path, reason: &dyn std::fmt::Display) -> TlsFileError {
    TlsFileError::File { key: key.to_owned(), path: path.to_owned(), reason: reason.to_string() }
}
