//! What went wrong in TLS, in one line that says what to do.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
use time::OffsetDateTime;
use time::macros::format_description;

use super::TlsFiles;

/// How many of a certificate's names are told.
const NAMES_MAX: usize = 5;

/// A connection that TLS refused; nothing of a request was carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

impl TlsError {
    /// The one that an I/O error holds.
    pub fn find_in(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// The server ended the connection while TLS was being agreed on.
    pub(super) fn connection_closed(section: &str) -> Self {
        Self(format!(
            "the connection was closed before TLS was agreed on; is {section}.url to be http://?"
        ))
    }

    pub(super) fn new(cause: &Error, files: &TlsFiles, section: &str) -> Self {
        Self(match cause {
            Error::InvalidCertificate(error) => certificate_message(error, files, section),
            Error::AlertReceived(alert) => alert_message(*alert, files, section),
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                format!("what answers there doesn't speak TLS; is {section}.url to be http://?")
            }
            Error::PeerIncompatible(error) => {
                format!("the server speaks no TLS that this program does: {error:?}")
            }
            other => format!("TLS failed: {other}"),
        })
    }
}

/// What is wrong with the server's certificate.
fn certificate_message(error: &CertificateError, files: &TlsFiles, section: &str) -> String {
    match error {
        CertificateError::Expired => {
            "the server's certificate has expired: renew it there".to_owned()
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            let since = format_day(not_after.as_secs());
            format!("the server's certificate has expired on {since}: renew it there")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: are the clocks of both machines right?"
                .to_owned()
        }
        CertificateError::NotValidForName => {
            format!("the server's certificate is for another name: does {section}.url name it so?")
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let presented_names = match presented.as_slice() {
                [] => "for no name at all".to_owned(),
                names => {
                    let names: Vec<_> =
                        names.iter().take(NAMES_MAX).map(|name| unwrap_name(name)).collect();
                    format!("for {}", names.join(", "))
                }
            };
            format!(
                "the server's certificate is not for {} but {presented_names}: write {section}.url so, or \
                 give the server one with that subject alternative name",
                expected.to_str()
            )
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => match &files.ca {
            Some(path) => format!(
                "the server's certificate is by a CA that {section}.ca ({}) doesn't hold: put that \
                 CA's certificate there",
                path.display()
            ),
            None => format!(
                "the server's certificate is by a CA that this system doesn't trust: name the \
                 CA's file in {section}.ca"
            ),
        },
        CertificateError::Revoked => {
            "the server's certificate was revoked: renew it there".to_owned()
        }
        other => format!("the server's certificate can't be used: {other}"),
    }
}

/// A name without what a library puts around it, as in `DnsName("etcd.example")`,
/// and fit for a line.
fn unwrap_name(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').replace(char::is_control, "?")
}

/// What the server said against this client.
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
            "the server refuses the client certificate in {} ({alert:?}): is it by the server's \
             client CA, and still valid? see {section}.cert",
            identity.cert.display()
        ),
        None if concerns_certificate => format!(
            "the server asks for a client certificate ({alert:?}): set {section}.cert and \
             {section}.key"
        ),
        _ => format!("the server broke off TLS: {alert:?}"),
    }
}

/// A day, for people.
fn format_day(seconds_since_1970: u64) -> String {
    let at = i64::try_from(seconds_since_1970).ok();
    let at = at.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let day = at.and_then(|at| at.format(format_description!("[year]-[month]-[day]")).ok());
    day.unwrap_or_else(|| "a day long gone".to_owned())
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
        let wanted = Error::AlertReceived(AlertDescription::CertificateRequired);
        let bad = Error::AlertReceived(AlertDescription::BadCertificate);
        for (error, files, part) in [
            (&unknown, &configured_files(), "etcd.ca (/ca.pem)"),
            (&unknown, &none, "name the CA's file in etcd.ca"),
            (&expired, &configured_files(), "expired on 2023-11-14"),
            (&wanted, &none, "set etcd.cert and etcd.key"),
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
