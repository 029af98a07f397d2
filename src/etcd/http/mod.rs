//! HTTP requests to the members of a cluster, on top of awc.
//!
//! Each request is sent once, to the current member. After a failure the next request goes to the
//! next member. This module knows nothing about the content of requests.

mod connect;
mod error;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use awc::ClientResponse;
use awc::http::Method;
use awc::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::LocalBoxStream;
use highhock_actors::StoreErrorKind;
use slog::Logger;
use tokio::time::Instant;
use url::Url;

use super::cluster::{Cluster, ClusterError};
use crate::credentials::secret::Secret;
use crate::tls::Tls;

pub(super) use error::HttpError;

use self::error::ClosedHint;

/// The longest response that is read, in bytes: a listing of some 200,000 records.
const BODY_BYTES_MAX: usize = 64 << 20;

/// A client of a cluster, with its kept-alive connections. It belongs to the thread that created
/// it.
///
/// All requests go to one member until one of them fails. The next request then goes to the next
/// member. Requests in flight are not moved.
pub(super) struct HttpClient {
    connections: RefCell<Connections>,
    tls: Option<Rc<Tls>>,
    members: Vec<MemberEndpoint>,
    current: Cell<usize>,
    timeout: Duration,
    log: Logger,
}

/// The kept-alive connections that were created with one version of the TLS files.
struct Connections {
    client: awc::Client,
    generation: u64,
}

struct MemberEndpoint {
    /// The scheme and authority, without user name, password or trailing slash.
    display_url: String,
    /// The base of URLs for awc, with the scheme `http`, because [`connect`] handles TLS.
    base_url: String,
    is_https: bool,
    /// `true` after the first response of this member.
    has_responded: Cell<bool>,
}

/// A member of the cluster, as an index of its URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member(usize);

/// An HTTP request.
#[derive(Clone)]
pub(super) struct Request<'a> {
    pub method: Method,
    /// The path, percent-encoded.
    pub path: &'a str,
    /// The query, percent-encoded and without the question mark. May be empty.
    pub query: &'a str,
    pub body: Body,
    /// The time limit, from connecting to the last byte of the response. For a stream it covers the
    /// response head only. See [`HttpClient::default_timeout`].
    pub timeout: Duration,
    /// The complete value of the `Authorization` header.
    pub authorization: Option<Secret>,
}

/// The body of a request. It is cheap to clone.
#[derive(Clone)]
pub(super) enum Body {
    None,
    /// Form-encoded.
    Form(Bytes),
    Json(Bytes),
}

/// A complete response.
#[derive(Debug)]
pub(super) struct HttpResponse {
    pub status: u16,
    pub body: Vec<u8>,
    pub headers: HeaderMap,
    /// The member that responded.
    pub member: Member,
}

impl HttpResponse {
    /// Returns the value of a header, if it is present and is text. `name` is in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The response to a request for a stream.
pub(super) enum StreamResponse {
    /// The status is a success. `chunks` is the body as it arrives. It ends after an error, or when
    /// the server ends it. Dropping it closes the connection.
    Stream { chunks: LocalBoxStream<'static, Result<Bytes, HttpError>>, member: Member },
    /// The status is not a success. The response is complete.
    Other(HttpResponse),
}

impl HttpClient {
    /// Returns a client of the cluster. No request is sent yet.
    ///
    /// # Errors
    /// Returns an error if the settings do not describe a usable cluster.
    pub(super) fn new(cluster: &Cluster, log: Logger) -> Result<Self, ClusterError> {
        cluster.check()?;
        let tls = if cluster.is_https() {
            Some(Rc::new(Tls::new(cluster.tls.clone(), "etcd", log.clone())?))
        } else {
            None
        };
        let connections = Connections {
            client: connect::client(tls.clone(), cluster.timeout),
            generation: tls.as_ref().map_or(0, |tls| tls.generation()),
        };
        Ok(Self {
            connections: RefCell::new(connections),
            tls,
            members: cluster.urls.iter().map(MemberEndpoint::new).collect(),
            current: Cell::new(0),
            timeout: cluster.timeout,
            log,
        })
    }

    /// Returns the client with the current TLS files. After a change of the files, the old
    /// connections only finish their requests. A response can report that etcd rejects a
    /// certificate while the connection stays open, so waiting for a failed connection would not
    /// suffice.
    fn client(&self) -> awc::Client {
        let mut connections = self.connections.borrow_mut();
        if let Some(tls) = &self.tls
            && tls.generation() != connections.generation
        {
            let client = connect::client(Some(Rc::clone(tls)), self.timeout);
            *connections = Connections { client, generation: tls.generation() };
        }
        connections.client.clone()
    }

    /// Returns the time limit of a request for one key.
    pub(super) fn default_timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns the number of members.
    pub(super) fn member_count(&self) -> usize {
        self.members.len()
    }

    /// Returns the member that receives the next request.
    pub(super) fn current(&self) -> Member {
        Member(self.current.get())
    }

    /// Returns the URL of a member for messages.
    pub(super) fn member_url(&self, member: Member) -> &str {
        self.members.get(member.0).map_or("", |endpoint| &endpoint.display_url)
    }

    /// Returns the URLs of all members for messages, separated by commas.
    pub(super) fn urls(&self) -> String {
        let urls = self.members.iter().map(|endpoint| endpoint.display_url.as_str());
        urls.collect::<Vec<_>>().join(",")
    }

    /// Moves to the next member, after `member` failed a request or reported that it cannot serve.
    /// Does nothing if another request has already moved on.
    pub(super) fn mark_failed(&self, member: Member) {
        if self.current() != member || self.members.len() < 2 {
            return;
        }
        let next = Member((member.0 + 1) % self.members.len());
        self.current.set(next.0);
        info!(self.log, "switching to another etcd member";
            "from" => self.member_url(member), "to" => self.member_url(next));
    }

    /// Sends one request once, and reads the complete response. A failure, or a status of 500 or
    /// more, moves later requests to the next member.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<HttpResponse, HttpError> {
        let member = self.current();
        self.with_timeout(&request, member, async {
            let response = self.send_head(&request, member).await?;
            self.read_response(response, member).await
        })
        .await
    }

    /// Sends one request once, and returns its response as a stream.
    pub(super) async fn open_stream(
        &self,
        request: Request<'_>,
    ) -> Result<StreamResponse, HttpError> {
        let member = self.current();
        self.with_timeout(&request, member, async {
            let response = self.send_head(&request, member).await?;
            if !response.status().is_success() {
                return self.read_response(response, member).await.map(StreamResponse::Other);
            }
            let chunks = response.map(move |chunk| {
                chunk.map_err(|error| HttpError::from_read(error, BODY_BYTES_MAX, member))
            });
            Ok(StreamResponse::Stream { chunks: chunks.boxed_local(), member })
        })
        .await
    }

    /// Applies the time limit of a request, logs its result, and moves to the next member after a
    /// failure of this one.
    async fn with_timeout<T: HasStatus>(
        &self,
        request: &Request<'_>,
        member: Member,
        exchange: impl Future<Output = Result<T, HttpError>>,
    ) -> Result<T, HttpError> {
        let started = Instant::now();
        let limit = request.timeout;
        let outcome = tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_| {
            let message = format!("no response within {} s", limit.as_secs_f32());
            Err(HttpError::new(StoreErrorKind::Unknown, message, member))
        });
        let ms = started.elapsed().as_millis();
        let (method, path, url) = (&request.method, request.path, self.member_url(member));
        let is_member_fault = match &outcome {
            Ok(response) => {
                let status = response.status();
                debug!(self.log, "request to etcd"; "method" => %method, "member" => url,
                    "path" => path, "status" => status, "ms" => ms);
                status >= 500
            }
            Err(failure) => {
                debug!(self.log, "request to etcd failed"; "method" => %method,
                    "member" => url, "path" => path, "error" => &failure.message, "ms" => ms);
                failure.kind.is_outage()
            }
        };
        if is_member_fault {
            self.mark_failed(member);
        }
        outcome
    }

    async fn send_head(
        &self,
        request: &Request<'_>,
        member: Member,
    ) -> Result<RawResponse, HttpError> {
        let base_url = self.members.get(member.0).map_or("", |endpoint| &endpoint.base_url);
        let separator = if request.query.is_empty() { "" } else { "?" };
        let url = format!("{base_url}{}{separator}{}", request.path, request.query);
        let mut client_request = self.client().request(request.method.clone(), url);
        if let Some(secret) = &request.authorization {
            let mut value = HeaderValue::from_str(secret.reveal()).map_err(|_| {
                let message =
                    "cannot send the token: it contains a character that is invalid in HTTP";
                HttpError::new(StoreErrorKind::Refused, message, member)
            })?;
            value.set_sensitive(true);
            client_request = client_request.insert_header((AUTHORIZATION, value));
        }
        let sent = match &request.body {
            Body::None => client_request.send(),
            Body::Form(form) => client_request
                .insert_header((CONTENT_TYPE, "application/x-www-form-urlencoded"))
                .send_body(form.clone()),
            Body::Json(json) => client_request
                .insert_header((CONTENT_TYPE, "application/json"))
                .send_body(json.clone()),
        };
        match (sent.await, self.members.get(member.0)) {
            (Ok(response), endpoint) => {
                endpoint.inspect(|endpoint| endpoint.has_responded.set(true));
                Ok(response)
            }
            (Err(error), endpoint) => {
                let hint = endpoint.map_or(ClosedHint::None, MemberEndpoint::closed_hint);
                Err(HttpError::from_send(error, hint, member))
            }
        }
    }

    async fn read_response(
        &self,
        mut response: RawResponse,
        member: Member,
    ) -> Result<HttpResponse, HttpError> {
        let body = response.body().limit(BODY_BYTES_MAX).await;
        let body =
            Vec::from(body.map_err(|error| HttpError::from_read(error, BODY_BYTES_MAX, member))?);
        let status = response.status().as_u16();
        error::check_scheme(status, &body, member)?;
        Ok(HttpResponse { status, body, headers: response.headers().clone(), member })
    }
}

type RawResponse = ClientResponse;

/// A response with a status code.
trait HasStatus {
    fn status(&self) -> u16;
}

impl HasStatus for HttpResponse {
    fn status(&self) -> u16 {
        self.status
    }
}

impl HasStatus for StreamResponse {
    fn status(&self) -> u16 {
        match self {
            Self::Stream { .. } => 200,
            Self::Other(response) => response.status,
        }
    }
}

impl MemberEndpoint {
    fn new(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(80);
        Self {
            display_url: url.origin().ascii_serialization(),
            base_url: format!("http://{host}:{port}"),
            is_https: url.scheme() == "https",
            has_responded: Cell::new(false),
        }
    }

    fn closed_hint(&self) -> ClosedHint {
        match (self.has_responded.get(), self.is_https) {
            (true, _) => ClosedHint::None,
            (false, false) => ClosedHint::ExpectsTls,
            (false, true) => ClosedHint::ServesGrpc,
        }
    }
}
