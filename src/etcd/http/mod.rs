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

use super::cluster::{Cluster, UnusableCluster};
use crate::credentials::secret::Secret;
use crate::tls::Tls;

pub(super) use error::Failure;

/// The longest answer that is read, in bytes: a listing of some 200,000 records.
const MAX_BODY: usize = 64 << 20;

/// A client of a cluster, with its kept-alive connections. Belongs to the thread
/// that it was made in.
///
/// All requests go to one member until that fails one; the next request then goes
/// to the next member. Those under way stay where they are.
pub(super) struct Http {
    connections: RefCell<Connections>,
    tls: Option<Rc<Tls>>,
    members: Vec<Place>,
    current: Cell<usize>,
    usual: Duration,
    log: Logger,
}

/// The kept-alive connections that were made with the same files.
struct Connections {
    client: awc::Client,
    generation: u64,
}

struct Place {
    /// Scheme and authority, without user name, password or trailing slash.
    shown: String,
    /// The same for awc, which is not to know of TLS: see [`connect`].
    base: String,
    is_https: bool,
    /// Whether it has ever answered.
    answered: Cell<bool>,
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
    /// its answer's head). See [`Http::usual_limit`].
    pub limit: Duration,
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
pub(super) struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub headers: HeaderMap,
    /// Who answered.
    pub member: Member,
}

impl Answer {
    /// A header's value, where it is there and text. The name is in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// An answer that comes bit by bit.
pub(super) enum Opened {
    /// A success; its body, as it comes, for as long as it takes. It ends with a
    /// failure, or without one where the server ends it. To drop it closes the
    /// connection.
    Stream { chunks: LocalBoxStream<'static, Result<Bytes, Failure>>, member: Member },
    /// No success; the whole answer.
    Other(Answer),
}

impl Http {
    /// A client of the cluster. Nothing is sent yet.
    ///
    /// # Errors
    /// Where the cluster can't be spoken to as it says.
    pub(super) fn new(cluster: &Cluster, log: Logger) -> Result<Self, UnusableCluster> {
        cluster.check()?;
        let tls = match cluster.is_https() {
            true => Some(Rc::new(Tls::new(cluster.tls.clone(), "etcd", log.clone())?)),
            false => None,
        };
        let connections = Connections {
            client: connect::client(tls.clone(), cluster.timeout),
            generation: tls.as_ref().map_or(0, |tls| tls.generation()),
        };
        Ok(Self {
            connections: RefCell::new(connections),
            tls,
            members: cluster.urls.iter().map(Place::new).collect(),
            current: Cell::new(0),
            usual: cluster.timeout,
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
            let client = connect::client(Some(Rc::clone(tls)), self.usual);
            *connections = Connections { client, generation: tls.generation() };
        }
        connections.client.clone()
    }

    /// How long a request for one key may take.
    pub(super) fn usual_limit(&self) -> Duration {
        self.usual
    }

    /// The member that the next request goes to.
    pub(super) fn current(&self) -> Member {
        Member(self.current.get())
    }

    /// A member's URL as an operator may see it.
    pub(super) fn url_of(&self, member: Member) -> &str {
        self.members.get(member.0).map_or("", |place| &place.shown)
    }

    /// All members' URLs as an operator may see them, separated by commas.
    pub(super) fn urls(&self) -> String {
        let urls = self.members.iter().map(|place| place.shown.as_str());
        urls.collect::<Vec<_>>().join(",")
    }

    /// Lets the next request go to another member than this, which failed one or
    /// answered what says that it can't do its work. Said already: nothing changes.
    pub(super) fn distrust(&self, member: Member) {
        if self.current() != member || self.members.len() < 2 {
            return;
        }
        let next = Member((member.0 + 1) % self.members.len());
        self.current.set(next.0);
        info!(self.log, "turning to another etcd member";
            "from" => self.url_of(member), "to" => self.url_of(next));
    }

    /// Sends one request, once, and reads its answer. A member that fails it, or
    /// answers with 5xx, is not asked next.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<Answer, Failure> {
        let member = self.current();
        self.watched(&request, member, async {
            let response = self.head(&request, member).await?;
            self.whole(response, member).await
        })
        .await
    }

    /// Sends one request, once, whose answer comes bit by bit.
    pub(super) async fn open_stream(&self, request: Request<'_>) -> Result<Opened, Failure> {
        let member = self.current();
        self.watched(&request, member, async {
            let response = self.head(&request, member).await?;
            if !response.status().is_success() {
                return self.whole(response, member).await.map(Opened::Other);
            }
            let chunks = response
                .map(move |chunk| chunk.map_err(|error| Failure::to_read(error, MAX_BODY, member)));
            Ok(Opened::Stream { chunks: chunks.boxed_local(), member })
        })
        .await
    }

    /// Sees to a request's limit, its line in the log and what it says of the
    /// member.
    async fn watched<T: Outcome>(
        &self,
        request: &Request<'_>,
        member: Member,
        exchange: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let started = Instant::now();
        let limit = request.limit;
        let outcome = tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_| {
            let what = format!("no answer within {} s", limit.as_secs_f32());
            Err(Failure::new(StoreErrorKind::Unknown, what, member))
        });
        let ms = started.elapsed().as_millis();
        let (method, path, url) = (&request.method, request.path, self.url_of(member));
        let blamed = match &outcome {
            Ok(answer) => {
                let status = answer.status();
                debug!(self.log, "request to etcd"; "method" => %method, "member" => url,
                    "path" => path, "status" => status, "ms" => ms);
                status >= 500
            }
            Err(failure) => {
                debug!(self.log, "request to etcd failed"; "method" => %method,
                    "member" => url, "path" => path, "error" => &failure.what, "ms" => ms);
                failure.kind.is_outage()
            }
        };
        if blamed {
            self.distrust(member);
        }
        outcome
    }

    async fn head(&self, request: &Request<'_>, member: Member) -> Result<Response, Failure> {
        let base = self.members.get(member.0).map_or("", |place| &place.base);
        let separator = if request.query.is_empty() { "" } else { "?" };
        let url = format!("{base}{}{separator}{}", request.path, request.query);
        let mut call = self.client().request(request.method.clone(), url);
        if let Some(secret) = &request.authorization {
            let mut value = HeaderValue::from_str(secret.reveal()).map_err(|_| {
                let what = "the credentials can't be sent: a character that HTTP doesn't allow";
                Failure::new(StoreErrorKind::Refused, what, member)
            })?;
            value.set_sensitive(true);
            call = call.insert_header((AUTHORIZATION, value));
        }
        let sent = match &request.body {
            Body::None => call.send(),
            Body::Form(form) => call
                .insert_header((CONTENT_TYPE, "application/x-www-form-urlencoded"))
                .send_body(form.clone()),
            Body::Json(json) => {
                call.insert_header((CONTENT_TYPE, "application/json")).send_body(json.clone())
            }
        };
        match (sent.await, self.members.get(member.0)) {
            (Ok(response), place) => {
                place.inspect(|place| place.answered.set(true));
                Ok(response)
            }
            (Err(error), place) => {
                let may_be_tls =
                    place.is_some_and(|place| !place.is_https && !place.answered.get());
                Err(Failure::to_send(error, may_be_tls, member))
            }
        }
    }

    async fn whole(&self, mut response: Response, member: Member) -> Result<Answer, Failure> {
        let body = response.body().limit(MAX_BODY).await;
        let body = Vec::from(body.map_err(|error| Failure::to_read(error, MAX_BODY, member))?);
        let status = response.status().as_u16();
        error::check_scheme(status, &body, member)?;
        Ok(Answer { status, body, headers: response.headers().clone(), member })
    }
}

type Response = ClientResponse;

/// What an exchange ended with.
trait Outcome {
    fn status(&self) -> u16;
}

impl Outcome for Answer {
    fn status(&self) -> u16 {
        self.status
    }
}

impl Outcome for Opened {
    fn status(&self) -> u16 {
        match self {
            Self::Stream { .. } => 200,
            Self::Other(answer) => answer.status,
        }
    }
}

impl Place {
    fn new(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(80);
        Self {
            shown: url.origin().ascii_serialization(),
            base: format!("http://{host}:{port}"),
            is_https: url.scheme() == "https",
            answered: Cell::new(false),
        }
    }
}
