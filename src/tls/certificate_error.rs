//! Messages about certificates of servers, each with its remedy.

use rustls::CertificateError;
use time::OffsetDateTime;
use time::macros::format_description;

use super::TlsFiles;
use crate::text::enum_words::words;

/// The largest number of a certificate's names in a message.
const NAMES_MAX: usize = 5;

/// Describes an error of the server's certificate.
pub(super) fn certificate_message(
    error: &CertificateError,
    files: &TlsFiles,
    section: &str,
) -> String {
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
            other_name_message(&expected.to_str(), presented, section)
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            unknown_issuer_message(files, section)
        }
        CertificateError::Revoked => {
            "the server's certificate was revoked; renew it on the server".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not for servers; issue one with the extended key usage \
             serverAuth"
                .to_owned()
        }
        CertificateError::Other(other) => rule_message(&other.to_string()),
        other => rule_message(&format!("{other:?}")),
    }
}

fn other_name_message(expected: &str, presented: &[String], section: &str) -> String {
    let presented_names = match presented {
        [] => "without a name".to_owned(),
        names => {
            let names: Vec<_> =
                names.iter().take(NAMES_MAX).map(|name| unwrap_name(name)).collect();
            format!("for {}", names.join(", "))
        }
    };
    format!(
        "the server's certificate is not for {expected} but {presented_names}; use that name in \
         {section}.url, or add the name of the URL to the certificate as a subject alternative name"
    )
}

fn unknown_issuer_message(files: &TlsFiles, section: &str) -> String {
    match &files.ca {
        Some(path) => format!(
            "the server's certificate is issued by a CA that is not in {section}.ca ({}); add the \
             CA's certificate to the file",
            path.display()
        ),
        None => format!(
            "the server's certificate is issued by a CA that this system does not trust; name the \
             CA's file in {section}.ca"
        ),
    }
}

/// Describes a rule that a certificate breaks, by the rule's name in rustls or webpki.
fn rule_message(rule: &str) -> String {
    match rule {
        "CaUsedAsEndEntity" => {
            "the server's certificate is a CA certificate (CA:TRUE), which is not valid for a \
             server; issue one with the extension basicConstraints=CA:FALSE"
                .to_owned()
        }
        "EndEntityUsedAsCa" => {
            "the server's certificate is issued by a certificate that is no CA; issue it by a \
             certificate with the extension basicConstraints=CA:TRUE"
                .to_owned()
        }
        "UnsupportedCertVersion" => {
            "the server's certificate has an old version; issue one of X.509 version 3".to_owned()
        }
        other => {
            format!("the server's certificate cannot be used: {}; issue another one", words(other))
        }
    }
}

/// Returns a name without the wrapping that rustls adds, as in `DnsName("etcd.example")`, and
/// without control characters.
fn unwrap_name(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').replace(char::is_control, "?")
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
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::OtherError;
    use rustls::pki_types::UnixTime;

    use super::*;

    /// Returns the error that rustls makes of an error of webpki, which has no variant there.
    fn other(rule: &str) -> CertificateError {
        CertificateError::Other(OtherError(Arc::new(std::io::Error::other(rule.to_owned()))))
    }

    #[test]
    fn every_message_has_a_remedy_and_no_debug_output() {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        for (error, part) in [
            (other("CaUsedAsEndEntity"), "issue one with the extension basicConstraints=CA:FALSE"),
            (other("EndEntityUsedAsCa"), "basicConstraints=CA:TRUE"),
            (other("UnsupportedCertVersion"), "X.509 version 3"),
            (other("NameConstraintViolation"), "name constraint violation; issue another one"),
            (other("TrailingData(Extension)"), "cannot be used: trailing data; issue"),
            (CertificateError::BadEncoding, "cannot be used: bad encoding; issue another one"),
            (CertificateError::UnhandledCriticalExtension, "unhandled critical extension"),
            (CertificateError::UnknownRevocationStatus, "unknown revocation status"),
            (CertificateError::ExpiredRevocationList, "expired revocation list"),
            (
                CertificateError::ExpiredRevocationListContext { time: now, next_update: now },
                "expired revocation list",
            ),
            (CertificateError::InvalidOcspResponse, "invalid ocsp response"),
            (CertificateError::ApplicationVerificationFailure, "application verification failure"),
            (
                CertificateError::UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: vec![1, 2],
                    supported_algorithms: Vec::new(),
                },
                "unsupported signature algorithm; issue another one",
            ),
            (CertificateError::InvalidPurpose, "serverAuth"),
            (CertificateError::NotValidYet, "clocks"),
            (CertificateError::NotValidForName, "does etcd.url use that name?"),
            (CertificateError::Revoked, "renew it"),
            (CertificateError::Expired, "renew it"),
            (CertificateError::BadSignature, "name the CA's file in etcd.ca"),
        ] {
            let message = certificate_message(&error, &TlsFiles::default(), "etcd");
            assert!(message.contains(part), "{message}");
            assert!(!message.contains(['{', '[']) && !message.contains("Other("), "{message}");
        }
    }
}
