//! The members of an etcd cluster, and the settings for connections to them.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use highhock_actors::StoreError;
use url::{Position, Url};

use crate::credentials::secret::Credentials;
use crate::tls::{TlsFileError, TlsFiles};

/// The default time limit of a request.
///
/// A request is sent once, and the next request goes to another member after a failure. Writes
/// therefore continue about two seconds after the death of a leader. A longer time-out only extends
/// this time.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// The members of an etcd cluster, with certificates and credentials.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The client URLs of the members. There is at least one, and all have the scheme `http` or all
    /// `https`. A URL consists of a host and an optional port only.
    pub urls: Vec<Url>,
    /// The certificates for `https`.
    pub tls: TlsFiles,
    /// The user for an etcd with authentication.
    pub credentials: Option<Credentials>,
    /// The time limit of one request for one key, from connecting to the last byte of the response.
    /// It is greater than 0. Connecting may take half of it.
    pub timeout: Duration,
}

impl Cluster {
    /// Returns a cluster without certificates and credentials, with the default time-out.
    pub fn new(urls: Vec<Url>) -> Self {
        Self { urls, tls: TlsFiles::default(), credentials: None, timeout: DEFAULT_TIMEOUT }
    }

    /// Runs `request` until it succeeds, at most once per member. `request` uses a store for this
    /// cluster, which moves to the next member after an outage.
    ///
    /// # Errors
    /// Returns the last error if no member is reachable. Returns the first error that is not an
    /// outage.
    pub async fn try_members<T>(
        &self,
        request: impl AsyncFn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        try_each_member(self.urls.len(), request).await
    }

    /// Returns `true` if connections use TLS.
    pub(super) fn is_https(&self) -> bool {
        self.urls.iter().any(|url| url.scheme() == "https")
    }

    /// Checks the URLs.
    pub(super) fn check(&self) -> Result<(), ClusterError> {
        let Some(first) = self.urls.first() else { return Err(ClusterError::NoMember) };
        self.urls.iter().try_for_each(check)?;
        if self.urls.iter().all(|url| url.scheme() == first.scheme()) {
            Ok(())
        } else {
            Err(ClusterError::SchemesDiffer)
        }
    }
}

/// Repeats `request` after each outage, at most `members` times in all. The store behind it moves
/// to the next member after an outage.
pub(super) async fn try_each_member<T>(
    members: usize,
    request: impl AsyncFn() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut result = request().await;
    for _ in 1..members {
        match &result {
            Err(error) if error.kind.is_outage() => result = request().await,
            _ => break,
        }
    }
    result
}

/// The reason why the settings do not describe a usable cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no URL.
    #[error("etcd.url is empty; set the URL of at least one member")]
    NoMember,
    /// The scheme is neither `http` nor `https`.
    #[error("etcd.url has the scheme {0}://; use http:// or https://")]
    Scheme(String),
    /// Some URLs have the scheme `http`, and some `https`.
    #[error("etcd.url mixes http:// and https://; use one scheme for all members")]
    SchemesDiffer,
    /// The URL contains a user name or a password.
    #[error("etcd.url contains a user name or password; use etcd.username and etcd.password")]
    Credentials,
    /// The URL contains a path, query or fragment.
    #[error("etcd.url contains {0} after host and port; remove it")]
    Path(String),
    /// A PEM file is missing or invalid.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    /// The file with the password is not readable.
    #[error("etcd.passwordFile: {}: cannot be read: {error}", path.display())]
    PasswordFile {
        /// The path in the settings.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
}

fn check(url: &Url) -> Result<(), ClusterError> {
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(ClusterError::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ClusterError::Credentials);
    }
    let path_and_query = &url[Position::BeforePath..];
    if !matches!(path_and_query, "" | "/") {
        return Err(ClusterError::Path(path_and_query.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use highhock_actors::StoreErrorKind;

    use super::*;

    fn check_urls(urls: &str) -> Result<(), ClusterError> {
        Cluster::new(urls.split(',').map(|url| url.parse().unwrap()).collect()).check()
    }

    #[actix_rt::test]
    async fn tries_each_member_at_most_once() {
        let cluster = Cluster::new(["http://a", "http://b"].map(|it| it.parse().unwrap()).into());
        let unavailable = || StoreError::new(StoreErrorKind::Unavailable, "away");
        let refused = || StoreError::new(StoreErrorKind::Refused, "no");
        for (mut responses, expected_requests, succeeds) in [
            (vec![Ok(1), Ok(2)], 1, true),
            (vec![Err(unavailable()), Ok(2)], 2, true),
            (vec![Err(unavailable()), Err(unavailable()), Ok(3)], 2, false),
            (vec![Err(refused()), Ok(2)], 1, false),
        ] {
            responses.reverse();
            let responses = RefCell::new(responses);
            let before = responses.borrow().len();
            let result = cluster.try_members(async || responses.borrow_mut().pop().unwrap()).await;
            assert_eq!(before - responses.borrow().len(), expected_requests);
            assert_eq!(result.is_ok(), succeeds);
        }
    }

    #[test]
    fn accepts_only_scheme_host_and_port() {
        for good in [
            "http://127.0.0.1:4001/",
            "http://[::1]:4001",
            "https://etcd.example",
            "http://a,http://b",
        ] {
            assert!(check_urls(good).is_ok(), "{good}");
        }
        for (bad, expected) in [
            ("ftp://etcd:4001", ClusterError::Scheme("ftp".into())),
            ("http://me:secret@etcd:4001", ClusterError::Credentials),
            ("http://a,http://etcd:4001/v2/keys", ClusterError::Path("/v2/keys".into())),
            ("http://etcd:4001/?a=b", ClusterError::Path("/?a=b".into())),
            ("http://a,https://b", ClusterError::SchemesDiffer),
        ] {
            let error = check_urls(bad).unwrap_err();
            assert_eq!(format!("{error:?}"), format!("{expected:?}"), "{bad}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
