//! Requests to etcd's v2 keys API, each about one key.

use awc::http::Method;
use bytes::Bytes;
use futures_util::stream::LocalBoxStream;
use highhock_actors::{StoreError, StoreErrorKind};
use url::form_urlencoded::Serializer;

use super::wire::{self, Answer, Unfit};
use crate::etcd::credentials::Login;
use crate::etcd::http::{Body, Failure, Http, Member, Opened, Request};

/// The longest value that is handled, in bytes. A delete must carry it in its
/// URL, where a byte may take three and awc ends at 64 KiB; what could not be
/// withdrawn must not be put either.
const MAX_VALUE: usize = 16 << 10;

/// How much longer than for one key a listing may take: it can be megabytes.
const PATIENCE_FOR_LISTING: u32 = 5;

/// The keys API of one etcd.
pub(super) struct KeysApi {
    http: Http,
    login: Option<Login>,
}

/// An answer that has begun, and ends when something has changed.
pub(super) struct Waiting {
    pub chunks: LocalBoxStream<'static, Result<Bytes, Failure>>,
    pub member: Member,
}

/// A request about one key: what is being done, for messages, and the key.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub doing: &'static str,
    pub key: &'a str,
}

/// What must be there for a write, as etcd can compare it.
#[derive(Clone, Copy)]
pub(super) struct Expected<'a> {
    pub value: &'a str,
    pub version: Option<u64>,
}

impl KeysApi {
    pub(super) fn new(http: Http, login: Option<Login>) -> Self {
        Self { http, login }
    }

    /// Reads the key, by a read that needs a quorum.
    pub(super) async fn get(&self, subject: Subject<'_>) -> Result<Answer, StoreError> {
        self.call(subject, Method::GET, "quorum=true", None, 1).await
    }

    /// Reads the key and everything below it, by a read that needs a quorum.
    pub(super) async fn list(&self, subject: Subject<'_>) -> Result<Answer, StoreError> {
        let query = "quorum=true&recursive=true";
        self.call(subject, Method::GET, query, None, PATIENCE_FOR_LISTING).await
    }

    /// Puts a value where nothing is.
    pub(super) async fn create(
        &self,
        subject: Subject<'_>,
        value: &str,
        ttl: u64,
    ) -> Result<Answer, StoreError> {
        self.check_length(subject, value)?;
        let mut form = Serializer::new(String::new());
        form.append_pair("value", value).append_pair("ttl", &ttl.to_string());
        self.call(subject, Method::PUT, "prevExist=false", Some(form.finish()), 1).await
    }

    /// Puts a value in place of another.
    pub(super) async fn swap(
        &self,
        subject: Subject<'_>,
        expected: Expected<'_>,
        value: &str,
        ttl: u64,
    ) -> Result<Answer, StoreError> {
        self.check_length(subject, value)?;
        let mut form = self.comparison(subject, expected)?;
        form.append_pair("value", value).append_pair("ttl", &ttl.to_string());
        self.call(subject, Method::PUT, "prevExist=true", Some(form.finish()), 1).await
    }

    /// Gives the value there another `ttl`, without a word to watchers.
    pub(super) async fn refresh(
        &self,
        subject: Subject<'_>,
        value: &str,
        ttl: u64,
    ) -> Result<Answer, StoreError> {
        let mut form = self.comparison(subject, Expected { value, version: None })?;
        form.append_pair("ttl", &ttl.to_string());
        let query = "refresh=true&prevExist=true";
        self.call(subject, Method::PUT, query, Some(form.finish()), 1).await
    }

    /// Takes the value away. etcd reads a delete's comparison from the URL only.
    pub(super) async fn delete(
        &self,
        subject: Subject<'_>,
        expected: Expected<'_>,
    ) -> Result<Answer, StoreError> {
        self.check_length(subject, expected.value)?;
        let query = self.comparison(subject, expected)?.finish();
        self.call(subject, Method::DELETE, &query, None, 1).await
    }

    /// Removes a directory where it is empty. Where a *value* is, etcd removes
    /// that: the caller makes sure that there is none.
    pub(super) async fn remove_directory(
        &self,
        subject: Subject<'_>,
    ) -> Result<Answer, StoreError> {
        self.call(subject, Method::DELETE, "dir=true", None, 1).await
    }

    /// An error in doing this.
    pub(super) fn error(
        &self,
        subject: Subject<'_>,
        kind: StoreErrorKind,
        what: &str,
    ) -> StoreError {
        self.error_at(&self.http.urls(), subject, kind, what)
    }

    fn error_of(
        &self,
        member: Member,
        subject: Subject<'_>,
        kind: StoreErrorKind,
        what: &str,
    ) -> StoreError {
        self.error_at(self.http.url_of(member), subject, kind, what)
    }

    fn error_at(
        &self,
        url: &str,
        subject: Subject<'_>,
        kind: StoreErrorKind,
        what: &str,
    ) -> StoreError {
        let Subject { doing, key } = subject;
        StoreError::new(kind, format!("{doing} {key} in etcd at {url}: {what}"))
    }

    /// The error for an answer that doesn't fit the question.
    pub(super) fn out_of_place(&self, subject: Subject<'_>, answer: &Answer) -> StoreError {
        let what = format!("etcd answers what it should not to this: {}", answer.name());
        self.error(subject, StoreErrorKind::Malformed, &what)
    }

    /// The comparison as the start of a form. etcd can't compare with an empty
    /// value, only with a version.
    fn comparison(
        &self,
        subject: Subject<'_>,
        expected: Expected<'_>,
    ) -> Result<Serializer<'static, String>, StoreError> {
        let mut form = Serializer::new(String::new());
        if !expected.value.is_empty() {
            form.append_pair("prevValue", expected.value);
        } else if expected.version.is_none() {
            let what = "there is an empty value, which etcd v2 can't compare with";
            return Err(self.error(subject, StoreErrorKind::Refused, what));
        }
        if let Some(version) = expected.version {
            form.append_pair("prevIndex", &version.to_string());
        }
        Ok(form)
    }

    fn check_length(&self, subject: Subject<'_>, value: &str) -> Result<(), StoreError> {
        if value.len() <= MAX_VALUE {
            return Ok(());
        }
        let what = format!(
            "the value has {} bytes, and {MAX_VALUE} is the most; shorten the service's text",
            value.len()
        );
        Err(self.error(subject, StoreErrorKind::Refused, &what))
    }

    async fn call(
        &self,
        subject: Subject<'_>,
        method: Method,
        query: &str,
        form: Option<String>,
        patience: u32,
    ) -> Result<Answer, StoreError> {
        self.exchange(subject, method, query, form, patience).await.map(|(answer, _)| answer)
    }

    /// As a call; and etcd's index at that moment.
    async fn exchange(
        &self,
        subject: Subject<'_>,
        method: Method,
        query: &str,
        form: Option<String>,
        patience: u32,
    ) -> Result<(Answer, Option<u64>), StoreError> {
        let path = self.path(subject)?;
        let is_write = method != Method::GET;
        let request = Request {
            method,
            path: &path,
            query,
            body: form.map_or(Body::None, |form| Body::Form(form.into())),
            limit: self.http.usual_limit() * patience,
            authorization: self.login.as_ref().map(Login::basic),
        };
        let answer = self.http.send(request).await;
        let answer = answer.map_err(|failure| self.failed(subject, &failure, is_write))?;
        let index = answer.header("x-etcd-index").and_then(|index| index.parse().ok());
        let read = wire::read(answer.status, &answer.body);
        Ok((read.map_err(|unfit| self.unfit(subject, answer.member, &unfit))?, index))
    }

    /// etcd's index, as of now.
    pub(super) async fn index(&self, subject: Subject<'_>) -> Result<u64, StoreError> {
        let (answer, index) = self.exchange(subject, Method::GET, "quorum=true", None, 1).await?;
        index.ok_or_else(|| self.out_of_place(subject, &answer))
    }

    /// Waits for the first change at the key or below it from this index on: an
    /// answer that begins now and ends with that.
    pub(super) async fn wait(
        &self,
        subject: Subject<'_>,
        index: u64,
    ) -> Result<Waiting, StoreError> {
        let path = self.path(subject)?;
        let query = format!("wait=true&recursive=true&waitIndex={index}");
        let request = Request {
            method: Method::GET,
            path: &path,
            query: &query,
            body: Body::None,
            limit: self.http.usual_limit(),
            authorization: self.login.as_ref().map(Login::basic),
        };
        match self.http.open_stream(request).await {
            Ok(Opened::Stream { chunks, member }) => Ok(Waiting { chunks, member }),
            Ok(Opened::Other(answer)) => Err(match wire::read(answer.status, &answer.body) {
                Ok(answer) => self.out_of_place(subject, &answer),
                Err(unfit) => self.unfit(subject, answer.member, &unfit),
            }),
            Err(failure) => Err(self.failed(subject, &failure, false)),
        }
    }

    fn path(&self, subject: Subject<'_>) -> Result<String, StoreError> {
        path_of(subject.key).ok_or_else(|| {
            let what = "a key's parts can't be empty, `.` or `..`";
            self.error(subject, StoreErrorKind::Refused, what)
        })
    }

    pub(super) fn failed(
        &self,
        subject: Subject<'_>,
        failure: &Failure,
        is_write: bool,
    ) -> StoreError {
        let hint = match failure.kind {
            StoreErrorKind::Unknown if is_write => "; whether it was done is not known",
            _ => "",
        };
        self.error_of(failure.member, subject, failure.kind, &format!("{}{hint}", failure.what))
    }

    /// The error for an answer that tells nothing of the key; a member that can't
    /// do its work is not asked next.
    pub(super) fn unfit(&self, subject: Subject<'_>, member: Member, unfit: &Unfit) -> StoreError {
        if unfit.kind.is_outage() {
            self.http.distrust(member);
        }
        self.error_of(member, subject, unfit.kind, &unfit.what)
    }
}

/// The key's path in a URL; `None` where etcd would take it for another key.
fn path_of(key: &str) -> Option<String> {
    let mut path = String::from("/v2/keys");
    for part in key.split('/') {
        if matches!(part, "" | "." | "..") {
            return None;
        }
        path.push('/');
        for &byte in part.as_bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    path.push(char::from(byte));
                }
                _ => path.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_a_url_would_take_for_something_else() {
        assert_eq!(path_of("skydns/local/a-b_1.x").unwrap(), "/v2/keys/skydns/local/a-b_1.x");
        assert_eq!(path_of("a b/50%?#&+/ü").unwrap(), "/v2/keys/a%20b/50%25%3F%23%26%2B/%C3%BC");
    }

    #[test]
    fn refuses_what_etcd_would_take_for_another_key() {
        for key in ["", "a//b", "a/", "a/../b", "./a"] {
            assert_eq!(path_of(key), None, "{key:?}");
        }
    }
}
