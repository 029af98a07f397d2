//! Where an etcd cluster is, and how it is spoken to.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use highhock_actors::StoreError;
use url::{Position, Url};

use crate::credentials::secret::Credentials;
use crate::tls::{TlsFileError, TlsFiles};

/// How long a request may usually take to its answer's end. With one try a
/// request and another member for the next, writes go on some two seconds after
/// a leader's death; a longer time makes that longer, and gains nothing.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// An etcd cluster: where its members are, whom to trust and who to be there.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The members' client URLs, one at least, `http` or `https` for all: a host,
    /// perhaps a port; nothing else.
    pub urls: Vec<Url>,
    /// What `https` needs.
    pub tls: TlsFiles,
    /// Who to be, where etcd asks.
    pub credentials: Option<Credentials>,
    /// How long one request for one key may take to its answer's end, more than
    /// 0. Connecting may take half of it.
    pub timeout: Duration,
}

impl Cluster {
    /// A cluster without files and credentials, with the usual time-out.
    pub fn new(urls: Vec<Url>) -> Self {
        Self { urls, tls: TlsFiles::default(), credentials: None, timeout: DEFAULT_TIMEOUT }
    }

    /// Asks what a store that was just made for this cluster can tell, each member
    /// once at most: after an outage the store turns to the next.
    ///
    /// # Errors
    /// Where no member answers, or one says more than that it is away.
    pub async fn try_members<T>(
        &self,
        request: impl AsyncFn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        try_each_member(self.urls.len(), request).await
    }

    /// Whether TLS is spoken to it.
    pub(super) fn is_https(&self) -> bool {
        self.urls.iter().any(|url| url.scheme() == "https")
    }

    /// Whether the URLs are such as can be used.
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

/// Asks again after an outage, which turns a store to the next member, until each of so
/// many members was asked.
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

/// Why a cluster can't be spoken to as the settings say.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No URL.
    #[error("etcd.url names no member")]
    NoMember,
    /// Another scheme than `http` or `https`.
    #[error("etcd's URL must start with http:// or https://, not {0}://")]
    Scheme(String),
    /// `http` for one member, `https` for another.
    #[error("etcd.url must name all members with http:// or all with https://")]
    SchemesDiffer,
    /// A user name or password in it.
    #[error("etcd's URL can't hold a user name or password; set etcd.username and etcd.password")]
    Credentials,
    /// A path, query or fragment in it.
    #[error("etcd's URL must end after host and port; it goes on with {0}")]
    Path(String),
    /// A PEM file can't be used.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    /// The password's file can't be read.
    #[error("etcd.passwordFile: {}: can't be read: {error}", path.display())]
    PasswordFile {
        /// Where it should be.
        path: PathBuf,
        /// What came of reading it.
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

    fn check_urls(urls: &str) -> Result<(), String> {
        let urls = urls.split(',').map(|url| url.parse().unwrap()).collect();
        Cluster::new(urls).check().map_err(|error| error.to_string())
    }

    #[actix_rt::test]
    async fn tries_each_member_at_most_once() {
        let cluster = Cluster::new(["http://a", "http://b"].map(|it| it.parse().unwrap()).into());
        let unavailable = || StoreError::new(StoreErrorKind::Unavailable, "away");
        let refused = || StoreError::new(StoreErrorKind::Refused, "no");
        for (mut answers, expected_requests, good) in [
            (vec![Ok(1), Ok(2)], 1, true),
            (vec![Err(unavailable()), Ok(2)], 2, true),
            (vec![Err(unavailable()), Err(unavailable()), Ok(3)], 2, false),
            (vec![Err(refused()), Ok(2)], 1, false),
        ] {
            answers.reverse();
            let answers = RefCell::new(answers);
            let before = answers.borrow().len();
            let result = cluster.try_members(async || answers.borrow_mut().pop().unwrap()).await;
            assert_eq!(
                (before - answers.borrow().len(), result.is_ok()),
                (expected_requests, good)
            );
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
            assert_eq!(check_urls(good), Ok(()), "{good}");
        }
        for (bad, part) in [
            ("ftp://etcd:4001", "not ftp://"),
            ("http://me:secret@etcd:4001", "etcd.username"),
            ("http://a,http://etcd:4001/v2/keys", "it goes on with /v2/keys"),
            ("http://etcd:4001/?a=b", "it goes on with /?a=b"),
            ("http://a,https://b", "all with https://"),
        ] {
            let error = check_urls(bad).unwrap_err();
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
        }
    }
}
