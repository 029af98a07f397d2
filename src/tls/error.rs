//! Errors of TLS, each in one line that names the remedy.

use std::io;

use rustls::{AlertDescription, Error, InvalidMessage};

use super::TlsFiles;
use super::certificate_error::certificate_message;
use crate::text::enum_words::enum_words;

/// A failed TLS handshake. No request was sent, or the server rejected the connection before it
/// handled a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

impl TlsError {
    /// Returns the TLS error inside an I/O error, if there is one.
    pub fn find_in(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Creates the error of a server that closed the connection during the handshake.
    pub(super) fn connection_closed(section: &str) -> Self {
        Self(format!(
            "the connection was closed during the TLS handshake; should {section}.url be http://?"
        ))
    }

    pub(super) fn new(cause: &Error, files: &TlsFiles, section: &str) -> Self {
        Self(match cause {
            Error::InvalidCertificate(error) => certificate_message(error, files, section),
            Error::AlertReceived(alert) => alert_message(*alert, files, section),
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                format!("the server does not use TLS; should {section}.url be http://?")
            }
            Error::PeerIncompatible(error) => {
                let reason = enum_words(error);
                format!("no common TLS version or cipher with the server: {reason}")
            }
            Error::PeerMisbehaved(error) => {
                format!("the server violates the TLS protocol: {}", enum_words(error))
            }
            Error::InvalidMessage(error) => {
                format!("the server sent an invalid TLS message: {}", enum_words(error))
            }
            other => format!("TLS failed: {other}"),
        })
    }
}

/// Describes an alert that the server sent.
fn alert_message(alert: AlertDescription, files: &TlsFiles, section: &str) -> String {
    use AlertDescription as Alert;
    let concerns_certificate = matches!(
        alert,
        Alert::AccessDenied
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRequired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::DecryptError
            | Alert::NoCertificate
            | Alert::UnknownCA
            | Alert::UnsupportedCertificate
    );
    let name = enum_words(&alert);
    match &files.identity {
        Some(identity) if concerns_certificate => format!(
            "the server refuses the client certificate in {} ({name}); is it issued by the \
             server's client CA and still valid? see {section}.cert",
            identity.cert.display()
        ),
        None if concerns_certificate => format!(
            "the server requires a client certificate ({name}); set {section}.cert and \
             {section}.key"
        ),
        _ => format!("the server ended the TLS connection: {name}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::pki_types::UnixTime;
    use rustls::{CertificateError, PeerIncompatible};

    use super::*;
    use crate::tls::ClientIdentity;

    fn configured_files() -> TlsFiles {
        let identity = ClientIdentity { cert: "/my.pem".into(), key: "/my.key".into() };
        TlsFiles { ca: Some("/ca.pem".into()), identity: Some(identity) }
    }

    #[test]
    fn each_error_names_the_setting_to_change() {
        let none = TlsFiles::default();
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let expired = Error::InvalidCertificate(CertificateError::ExpiredContext {
            time: at(1_800_000_000),
            not_after: at(1_700_000_000),
        });
        let required = Error::AlertReceived(AlertDescription::CertificateRequired);
        let bad = Error::AlertReceived(AlertDescription::BadCertificate);
        for (error, files, part) in [
            (&unknown, &configured_files(), "etcd.ca (/ca.pem)"),
            (&unknown, &none, "name the CA's file in etcd.ca"),
            (&expired, &configured_files(), "expired on 2023-11-14"),
            (&required, &none, "set etcd.cert and etcd.key"),
            (&bad, &none, "set etcd.cert and etcd.key"),
            (&bad, &configured_files(), "refuses the client certificate in /my.pem"),
            (&Error::InvalidMessage(InvalidMessage::InvalidContentType), &none, "http://"),
            (&Error::InvalidMessage(InvalidMessage::MissingData("X")), &none, "missing data"),
            (
                &Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
                &none,
                "no cipher suites in common",
            ),
        ] {
            let line = TlsError::new(error, files, "etcd").to_string();
            assert!(line.contains(part), "{line}");
            assert!(!line.contains('\n'), "{line}");
        }
    }
}
