//! Errors of TLS, each in one line that names the remedy.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
use time::OffsetDateTime;
use time::macros::format_description;

use super::TlsFiles;

/// The largest number of a certificate's names in a message.
const NAMES_MAX: usize = 5;

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
                format!("no common TLS version or cipher with the server: {error:?}")
            }
            other => format!("TLS failed: {other}"),
        })
    }
}

/// Describes an error of the server's certificate.
fn certificate_message(error: &CertificateError, files: &TlsFiles, section: &str) -> String {
    match error {
        CertificateError::Expired => {
            "the server's certificate has expired; renew it on the server".to_owned()
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            let since = format_day(not_after.as_secs());
            format!("the server's certificate has expired on {since}; renew it on the server")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet; are the clocks of both machines correct?"
                .to_owned()
        }
        CertificateError::NotValidForName => {
            format!(
                "the server's certificate is for another name; does {section}.url use that name?"
            )
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let presented_names = match presented.as_slice() {
                [] => "without a name".to_owned(),
                names => {
                    let names: Vec<_> =
                        names.iter().take(NAMES_MAX).map(|name| unwrap_name(name)).collect();
                    format!("for {}", names.join(", "))
                }
            };
            format!(
                "the server's certificate is not for {} but {presented_names}; use that name in \
                 {section}.url, or add the name of the URL to the certificate as a subject \
                 alternative name",
                expected.to_str()
            )
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => match &files.ca {
            Some(path) => format!(
                "the server's certificate is issued by a CA that is not in {section}.ca ({}); add \
                 the CA's certificate to the file",
                path.display()
            ),
            None => format!(
                "the server's certificate is issued by a CA that this system does not trust; name \
                 the CA's file in {section}.ca"
            ),
        },
        CertificateError::Revoked => {
            "the server's certificate was revoked; renew it on the server".to_owned()
        }
        other => format!("the server's certificate cannot be used: {other}"),
    }
}

/// Returns a name without the wrapping that rustls adds, as in `DnsName("etcd.example")`, and
/// without control characters.
fn unwrap_name(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').replace(char::is_control, "?")
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
    match &files.identity {
        Some(identity) if concerns_certificate => format!(
            "the server refuses the client certificate in {} ({alert:?}); is it issued by the \
             server's client CA and still valid? see {section}.cert",
            identity.cert.display()
        ),
        None if concerns_certificate => format!(
            "the server requires a client certificate ({alert:?}); set {section}.cert and \
             {section}.key"
        ),
        _ => format!("the server ended the TLS connection: {alert:?}"),
    }
}

/// Formats a day as `2023-11-14`.
fn format_day(seconds_since_1970: u64) -> String {
    let at = i64::try_from(seconds_since_1970).ok();
    let at = at.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let day = at.and_then(|at| at.format(format_description!("[year]-[month]-[day]")).ok());
    day.unwrap_or_else(|| "an unknown day".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::pki_types::UnixTime;

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
        ] {
            let line = TlsError::new(error, files, "etcd").to_string();
            assert!(line.contains(part), "{line}");
            assert!(!line.contains('\n'), "{line}");
        }
    }
}
