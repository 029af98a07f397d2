//! HTTP requests to a cluster's members, on awc: one try a request, to the member
//! whose turn it is, and what can become of it.

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

/// The longest answer that is read, in bytes: a listing of some 200,000 records.
const BODY_BYTES_MAX: usize = 64 << 20;

/// A client of a cluster, with its kept-alive connections. Belongs to the thread
/// that it was made in.
///
/// All requests go to one member until that fails one; the next request then goes
/// to the next member. Those under way stay where they are.
pub(super) struct HttpClient {
    connections: RefCell<Connections>,
    tls: Option<Rc<Tls>>,
    members: Vec<MemberEndpoint>,
    current: Cell<usize>,
    timeout: Duration,
    log: Logger,
}

/// The kept-alive connections that were made with the same files.
struct Connections {
    client: awc::Client,
    generation: u64,
}

struct MemberEndpoint {
    /// Scheme and authority, without user name, password or trailing slash.
    display_url: String,
    /// The same for awc, which is not to know of TLS: see [`connect`].
    base_url: String,
    is_https: bool,
    /// Whether it has ever answered.
    has_responded: Cell<bool>,
}

/// One of the cluster's members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member(usize);

/// A request to make.
#[derive(Clone)]
pub(super) struct Request<'a> {
    pub method: Method,
    /// The path, percent-encoded.
    pub path: &'a str,
    /// The query, percent-encoded, without its question mark; may be empty.
    pub query: &'a str,
    pub body: Body,
    /// How long it may take, to the end of its answer (of a stream: to the end of
    /// its answer's head). See [`HttpClient::default_timeout`].
    pub timeout: Duration,
    /// The `Authorization` header's value, in whole.
    pub authorization: Option<Secret>,
}

/// What a request carries; cheap to clone.
#[derive(Clone)]
pub(super) enum Body {
    None,
    /// Form-encoded.
    Form(Bytes),
    Json(Bytes),
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct HttpResponse {
    pub status: u16,
    pub body: Vec<u8>,
    pub headers: HeaderMap,
    /// Who answered.
    pub member: Member,
}

impl HttpResponse {
    /// A header's value, where it is there and text. The name is in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// An answer that comes bit by bit.
pub(super) enum StreamResponse {
    /// A success; its body, as it comes, for as long as it takes. It ends with a
    /// failure, or without one where the server ends it. To drop it closes the
    /// connection.
    Stream { chunks: LocalBoxStream<'static, Result<Bytes, HttpError>>, member: Member },
    /// No success; the whole answer.
    Other(HttpResponse),
}

impl HttpClient {
    /// A client of the cluster. Nothing is sent yet.
    ///
    /// # Errors
    /// Where the cluster can't be spoken to as it says.
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

    /// With the newest files: a connection with replaced ones is left to what is
    /// under way on it. A certificate that etcd takes offence at can be told by
    /// answers, while its connection stays.
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

    /// How long a request for one key may take.
    pub(super) fn default_timeout(&self) -> Duration {
        self.timeout
    }

    /// The member that the next request goes to.
    pub(super) fn current(&self) -> Member {
        Member(self.current.get())
    }

    /// A member's URL as an operator may see it.
    pub(super) fn member_url(&self, member: Member) -> &str {
        self.members.get(member.0).map_or("", |endpoint| &endpoint.display_url)
    }

    /// All members' URLs as an operator may see them, separated by commas.
    pub(super) fn urls(&self) -> String {
        let urls = self.members.iter().map(|endpoint| endpoint.display_url.as_str());
        urls.collect::<Vec<_>>().join(",")
    }

    /// Lets the next request go to another member than this, which failed one or
    /// answered what says that it can't do its work. Said already: nothing changes.
    pub(super) fn mark_failed(&self, member: Member) {
        if self.current() != member || self.members.len() < 2 {
            return;
        }
        let next = Member((member.0 + 1) % self.members.len());
        self.current.set(next.0);
        info!(self.log, "turning to another etcd member";
            "from" => self.member_url(member), "to" => self.member_url(next));
    }

    /// Sends one request, once, and reads its answer. A member that fails it, or
    /// answers with 5xx, is not asked next.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<HttpResponse, HttpError> {
        let member = self.current();
        self.with_timeout(&request, member, async {
            let response = self.send_head(&request, member).await?;
            self.read_response(response, member).await
        })
        .await
    }

    /// Sends one request, once, whose answer comes bit by bit.
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

    /// Sees to a request's limit, its line in the log and what it says of the
    /// member.
    async fn with_timeout<T: HasStatus>(
        &self,
        request: &Request<'_>,
        member: Member,
        exchange: impl Future<Output = Result<T, HttpError>>,
    ) -> Result<T, HttpError> {
        let started = Instant::now();
        let limit = request.timeout;
        let outcome = tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_| {
            let message = format!("no answer within {} s", limit.as_secs_f32());
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
                let message = "the credentials can't be sent: a character that HTTP doesn't allow";
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
                let may_be_tls = endpoint
                    .is_some_and(|endpoint| !endpoint.is_https && !endpoint.has_responded.get());
                Err(HttpError::from_send(error, may_be_tls, member))
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

/// What an exchange ended with.
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
}
