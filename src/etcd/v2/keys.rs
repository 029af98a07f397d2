//! Requests to etcd's v2 keys API, each about one key.

use awc::http::Method;
use bytes::Bytes;
use futures_util::stream::LocalBoxStream;
use highhock_actors::{StoreError, StoreErrorKind};
use url::form_urlencoded::Serializer;

use super::wire::{self, KeyResponse, UnexpectedResponse};
use crate::etcd::credentials::LoadedCredentials;
use crate::etcd::http::{Body, HttpClient, HttpError, Member, Request, StreamResponse};

/// The longest value that is handled, in bytes. A delete must carry it in its
/// URL, where a byte may take three and awc ends at 64 KiB; what could not be
/// withdrawn must not be put either.
const VALUE_BYTES_MAX: usize = 16 << 10;

/// How much longer than for one key a listing may take: it can be megabytes.
const LISTING_TIMEOUT_FACTOR: u32 = 5;

/// The keys API of one etcd.
pub(super) struct KeysApi {
    http: HttpClient,
    credentials: Option<LoadedCredentials>,
}

/// An answer that has begun, and ends when something has changed.
pub(super) struct LongPoll {
    pub chunks: LocalBoxStream<'static, Result<Bytes, HttpError>>,
    pub member: Member,
}

/// A request about one key: what is being done, for messages, and the key.
#[derive(Clone, Copy)]
pub(super) struct KeyRequest<'a> {
    pub action: &'static str,
    pub key: &'a str,
}

/// What must be there for a write, as etcd can compare it.
#[derive(Clone, Copy)]
pub(super) struct Comparison<'a> {
    pub value: &'a str,
    pub version: Option<u64>,
}

impl KeysApi {
    pub(super) fn new(http: HttpClient, credentials: Option<LoadedCredentials>) -> Self {
        Self { http, credentials }
    }

    /// Reads the key, by a read that needs a quorum.
    pub(super) async fn get(&self, key_request: KeyRequest<'_>) -> Result<KeyResponse, StoreError> {
        self.call(key_request, Method::GET, "quorum=true", None, 1).await
    }

    /// Reads the key and everything below it, by a read that needs a quorum.
    pub(super) async fn list(
        &self,
        key_request: KeyRequest<'_>,
    ) -> Result<KeyResponse, StoreError> {
        let query = "quorum=true&recursive=true";
        self.call(key_request, Method::GET, query, None, LISTING_TIMEOUT_FACTOR).await
    }

    /// Puts a value where nothing is.
    pub(super) async fn create(
        &self,
        key_request: KeyRequest<'_>,
        value: &str,
        ttl: u64,
    ) -> Result<KeyResponse, StoreError> {
        self.check_length(key_request, value)?;
        let mut form = Serializer::new(String::new());
        form.append_pair("value", value).append_pair("ttl", &ttl.to_string());
        self.call(key_request, Method::PUT, "prevExist=false", Some(form.finish()), 1).await
    }

    /// Puts a value in place of another.
    pub(super) async fn swap(
        &self,
        key_request: KeyRequest<'_>,
        expected: Comparison<'_>,
        value: &str,
        ttl: u64,
    ) -> Result<KeyResponse, StoreError> {
        self.check_length(key_request, value)?;
        let mut form = self.compare_params(key_request, expected)?;
        form.append_pair("value", value).append_pair("ttl", &ttl.to_string());
        self.call(key_request, Method::PUT, "prevExist=true", Some(form.finish()), 1).await
    }

    /// Gives the value there another `ttl`, without a word to watchers.
    pub(super) async fn refresh(
        &self,
        key_request: KeyRequest<'_>,
        value: &str,
        ttl: u64,
    ) -> Result<KeyResponse, StoreError> {
        let mut form = self.compare_params(key_request, Comparison { value, version: None })?;
        form.append_pair("ttl", &ttl.to_string());
        let query = "refresh=true&prevExist=true";
        self.call(key_request, Method::PUT, query, Some(form.finish()), 1).await
    }

    /// Takes the value away. etcd reads a delete's comparison from the URL only.
    pub(super) async fn delete(
        &self,
        key_request: KeyRequest<'_>,
        expected: Comparison<'_>,
    ) -> Result<KeyResponse, StoreError> {
        self.check_length(key_request, expected.value)?;
        let query = self.compare_params(key_request, expected)?.finish();
        self.call(key_request, Method::DELETE, &query, None, 1).await
    }

    /// Removes a directory where it is empty. Where a *value* is, etcd removes
    /// that: the caller makes sure that there is none.
    pub(super) async fn remove_directory(
        &self,
        key_request: KeyRequest<'_>,
    ) -> Result<KeyResponse, StoreError> {
        self.call(key_request, Method::DELETE, "dir=true", None, 1).await
    }

    /// An error in doing this.
    pub(super) fn error(
        &self,
        key_request: KeyRequest<'_>,
        kind: StoreErrorKind,
        message: &str,
    ) -> StoreError {
        self.url_error(&self.http.urls(), key_request, kind, message)
    }

    fn member_error(
        &self,
        member: Member,
        key_request: KeyRequest<'_>,
        kind: StoreErrorKind,
        message: &str,
    ) -> StoreError {
        self.url_error(self.http.member_url(member), key_request, kind, message)
    }

    fn url_error(
        &self,
        url: &str,
        key_request: KeyRequest<'_>,
        kind: StoreErrorKind,
        message: &str,
    ) -> StoreError {
        let KeyRequest { action, key } = key_request;
        StoreError::new(kind, format!("{action} {key} in etcd at {url}: {message}"))
    }

    /// The error for an answer that doesn't fit the question.
    pub(super) fn unexpected_response(
        &self,
        key_request: KeyRequest<'_>,
        response: &KeyResponse,
    ) -> StoreError {
        let message = format!("etcd answers what it should not to this: {}", response.name());
        self.error(key_request, StoreErrorKind::Malformed, &message)
    }

    /// The comparison as the start of a form. etcd can't compare with an empty
    /// value, only with a version.
    fn compare_params(
        &self,
        key_request: KeyRequest<'_>,
        expected: Comparison<'_>,
    ) -> Result<Serializer<'static, String>, StoreError> {
        let mut form = Serializer::new(String::new());
        if !expected.value.is_empty() {
            form.append_pair("prevValue", expected.value);
        } else if expected.version.is_none() {
            let message = "there is an empty value, which etcd v2 can't compare with";
            return Err(self.error(key_request, StoreErrorKind::Refused, message));
        }
        if let Some(version) = expected.version {
            form.append_pair("prevIndex", &version.to_string());
        }
        Ok(form)
    }

    fn check_length(&self, key_request: KeyRequest<'_>, value: &str) -> Result<(), StoreError> {
        if value.len() <= VALUE_BYTES_MAX {
            return Ok(());
        }
        let message = format!(
            "the value has {} bytes, and {VALUE_BYTES_MAX} is the most; shorten the service's text",
            value.len()
        );
        Err(self.error(key_request, StoreErrorKind::Refused, &message))
    }

    async fn call(
        &self,
        key_request: KeyRequest<'_>,
        method: Method,
        query: &str,
        form: Option<String>,
        timeout_factor: u32,
    ) -> Result<KeyResponse, StoreError> {
        self.exchange(key_request, method, query, form, timeout_factor)
            .await
            .map(|(response, _)| response)
    }

    /// As a call; and etcd's index at that moment.
    async fn exchange(
        &self,
        key_request: KeyRequest<'_>,
        method: Method,
        query: &str,
        form: Option<String>,
        timeout_factor: u32,
    ) -> Result<(KeyResponse, Option<u64>), StoreError> {
        let path = self.path(key_request)?;
        let is_write = method != Method::GET;
        let request = Request {
            method,
            path: &path,
            query,
            body: form.map_or(Body::None, |form| Body::Form(form.into())),
            timeout: self.http.default_timeout() * timeout_factor,
            authorization: self.credentials.as_ref().map(LoadedCredentials::basic_auth),
        };
        let response = self.http.send(request).await;
        let response =
            response.map_err(|failure| self.http_error(key_request, &failure, is_write))?;
        let index = response.header("x-etcd-index").and_then(|index| index.parse().ok());
        let read = wire::read(response.status, &response.body);
        Ok((
            read.map_err(|unexpected| {
                self.response_error(key_request, response.member, &unexpected)
            })?,
            index,
        ))
    }

    /// etcd's index, as of now.
    pub(super) async fn current_index(
        &self,
        key_request: KeyRequest<'_>,
    ) -> Result<u64, StoreError> {
        let (response, index) =
            self.exchange(key_request, Method::GET, "quorum=true", None, 1).await?;
        index.ok_or_else(|| self.unexpected_response(key_request, &response))
    }

    /// Waits for the first change at the key or below it from this index on: an
    /// answer that begins now and ends with that.
    pub(super) async fn long_poll(
        &self,
        key_request: KeyRequest<'_>,
        index: u64,
    ) -> Result<LongPoll, StoreError> {
        let path = self.path(key_request)?;
        let query = format!("wait=true&recursive=true&waitIndex={index}");
        let request = Request {
            method: Method::GET,
            path: &path,
            query: &query,
            body: Body::None,
            timeout: self.http.default_timeout(),
            authorization: self.credentials.as_ref().map(LoadedCredentials::basic_auth),
        };
        match self.http.open_stream(request).await {
            Ok(StreamResponse::Stream { chunks, member }) => Ok(LongPoll { chunks, member }),
            Ok(StreamResponse::Other(response)) => {
                Err(match wire::read(response.status, &response.body) {
                    Ok(response) => self.unexpected_response(key_request, &response),
                    Err(unexpected) => {
                        self.response_error(key_request, response.member, &unexpected)
                    }
                })
            }
            Err(failure) => Err(self.http_error(key_request, &failure, false)),
        }
    }

    fn path(&self, key_request: KeyRequest<'_>) -> Result<String, StoreError> {
        key_path(key_request.key).ok_or_else(|| {
            let message = "a key's parts can't be empty, `.` or `..`";
            self.error(key_request, StoreErrorKind::Refused, message)
        })
    }

    pub(super) fn http_error(
        &self,
        key_request: KeyRequest<'_>,
        failure: &HttpError,
        is_write: bool,
    ) -> StoreError {
        let hint = match failure.kind {
            StoreErrorKind::Unknown if is_write => "; whether it was done is not known",
            _ => "",
        };
        self.member_error(
            failure.member,
            key_request,
            failure.kind,
            &format!("{}{hint}", failure.message),
        )
    }

    /// The error for an answer that tells nothing of the key; a member that can't
    /// do its work is not asked next.
    pub(super) fn response_error(
        &self,
        key_request: KeyRequest<'_>,
        member: Member,
        unexpected: &UnexpectedResponse,
    ) -> StoreError {
        if unexpected.kind.is_outage() {
            self.http.mark_failed(member);
        }
        self.member_error(member, key_request, unexpected.kind, &unexpected.message)
    }
}

/// The key's path in a URL; `None` where etcd would take it for another key.
fn key_path(key: &str) -> Option<String> {
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
    fn percent_encodes_reserved_characters() {
        assert_eq!(key_path("skydns/local/a-b_1.x").unwrap(), "/v2/keys/skydns/local/a-b_1.x");
        assert_eq!(key_path("a b/50%?#&+/ü").unwrap(), "/v2/keys/a%20b/50%25%3F%23%26%2B/%C3%BC");
    }

    #[test]
    fn rejects_ambiguous_keys() {
        for key in ["", "a//b", "a/", "a/../b", "./a"] {
            assert_eq!(key_path(key), None, "{key:?}");
        }
    }
}
