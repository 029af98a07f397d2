//! Requests of the v2 keys API, each for one key.
//!
//! The endpoint is `/v2/keys/KEY`. `GET` reads, `PUT` with a form body writes, and `DELETE`
//! deletes. Preconditions are the parameters `prevValue`, `prevIndex` and `prevExist`. `wait=true`
//! turns a `GET` into a long poll.

use awc::http::Method;
use bytes::Bytes;
use futures_util::stream::LocalBoxStream;
use highhock_actors::{StoreError, StoreErrorKind};
use url::form_urlencoded::Serializer;

use super::wire::{self, KeyResponse, UnexpectedResponse};
use crate::etcd::credentials::LoadedCredentials;
use crate::etcd::http::{Body, HttpClient, HttpError, Member, Request, StreamResponse};

/// The longest value that is written, in bytes.
///
/// A delete carries the expected value in its URL, where a byte may need three characters, and awc
/// limits a URL to 64 KiB. A longer value could be written but never withdrawn.
const VALUE_BYTES_MAX: usize = 16 << 10;

/// The time limit of a listing, as a multiple of the limit for one key. A listing may have
/// megabytes.
const LISTING_TIMEOUT_FACTOR: u32 = 5;

/// The keys API of one cluster.
pub(super) struct KeysApi {
    http: HttpClient,
    credentials: Option<LoadedCredentials>,
}

/// A response that has begun, and ends with the next change.
pub(super) struct LongPoll {
    pub chunks: LocalBoxStream<'static, Result<Bytes, HttpError>>,
    pub member: Member,
}

/// The key of a request, and a description of the action for messages.
#[derive(Clone, Copy)]
pub(super) struct KeyRequest<'a> {
    pub action: &'static str,
    pub key: &'a str,
}

/// The expected content of a key, as far as etcd v2 can compare it.
#[derive(Clone, Copy)]
pub(super) struct Comparison<'a> {
    pub value: &'a str,
    pub version: Option<u64>,
}

impl KeysApi {
    pub(super) fn new(http: HttpClient, credentials: Option<LoadedCredentials>) -> Self {
        Self { http, credentials }
    }

    /// Reads the key with a quorum.
    pub(super) async fn get(&self, key_request: KeyRequest<'_>) -> Result<KeyResponse, StoreError> {
        self.call(key_request, Method::GET, "quorum=true", None, 1).await
    }

    /// Reads the key and all keys below it with a quorum.
    pub(super) async fn list(
        &self,
        key_request: KeyRequest<'_>,
    ) -> Result<KeyResponse, StoreError> {
        let query = "quorum=true&recursive=true";
        self.call(key_request, Method::GET, query, None, LISTING_TIMEOUT_FACTOR).await
    }

    /// Writes a value if the key does not exist.
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

    /// Replaces the expected value by another one.
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

    /// Sets a new `ttl` for the value, without an event for watchers.
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

    /// Deletes the expected value. etcd reads the comparison of a delete from the URL only.
    pub(super) async fn delete(
        &self,
        key_request: KeyRequest<'_>,
        expected: Comparison<'_>,
    ) -> Result<KeyResponse, StoreError> {
        self.check_length(key_request, expected.value)?;
        let query = self.compare_params(key_request, expected)?.finish();
        self.call(key_request, Method::DELETE, &query, None, 1).await
    }

    /// Removes an empty directory. etcd would also remove a *value*: the caller must check that
    /// there is none.
    pub(super) async fn remove_directory(
        &self,
        key_request: KeyRequest<'_>,
    ) -> Result<KeyResponse, StoreError> {
        self.call(key_request, Method::DELETE, "dir=true", None, 1).await
    }

    /// Returns an error about this request, with the URLs of all members.
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

    /// Returns the error for a response that does not fit the request.
    pub(super) fn unexpected_response(
        &self,
        key_request: KeyRequest<'_>,
        response: &KeyResponse,
    ) -> StoreError {
        let message = format!("unexpected response: {}", response.name());
        self.error(key_request, StoreErrorKind::Malformed, &message)
    }

    /// Returns a form that starts with the comparison. etcd cannot compare with an empty value,
    /// only with a version.
    fn compare_params(
        &self,
        key_request: KeyRequest<'_>,
        expected: Comparison<'_>,
    ) -> Result<Serializer<'static, String>, StoreError> {
        let mut form = Serializer::new(String::new());
        if !expected.value.is_empty() {
            form.append_pair("prevValue", expected.value);
        } else if expected.version.is_none() {
            let message = "the value is empty, and etcd v2 cannot compare empty values";
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
            "the value has {} bytes, more than {VALUE_BYTES_MAX}; shorten the service's text",
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

    /// Like [`Self::call`], and also returns etcd's current index from the header `X-Etcd-Index`.
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

    /// Reads the key with a quorum, and returns etcd's current index. Returns `None` if the
    /// response has no header `X-Etcd-Index`.
    pub(super) async fn current_index(
        &self,
        key_request: KeyRequest<'_>,
    ) -> Result<Option<u64>, StoreError> {
        self.exchange(key_request, Method::GET, "quorum=true", None, 1)
            .await
            .map(|(_, index)| index)
    }

    /// Waits for the first change at the key or below it, starting at `index`. The response begins
    /// at once and ends with the change.
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
            let message = "invalid key: a part is empty, `.` or `..`";
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
            StoreErrorKind::Unknown if is_write => "; it is unknown whether the write was applied",
            _ => "",
        };
        self.member_error(
            failure.member,
            key_request,
            failure.kind,
            &format!("{}{hint}", failure.message),
        )
    }

    /// Returns the error for an [`UnexpectedResponse`]. If the member cannot serve, later requests
    /// go to the next one.
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

/// Returns the path of a key in a URL, or `None` if etcd would take it for another key.
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
