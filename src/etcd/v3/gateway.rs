//! One request to etcd's v3 JSON gateway, and its answer as one of etcd's messages.

use std::time::Duration;

use awc::http::Method;
use bytes::Bytes;
use futures_util::stream::LocalBoxStream;
use highhock_actors::{StoreError, StoreErrorKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::auth::Authorized;
use super::error::{self, Reason, Refusal};
use super::wire::InStream;
use crate::etcd::http::{Answer, Body, Failure, Http, Member, Opened, Request};

/// The gateway of a cluster.
pub(super) struct Gateway(Authorized);

/// A call that failed.
#[derive(Clone, Debug)]
pub(super) struct CallError {
    /// What the caller may do something about.
    pub reason: Reason,
    pub error: StoreError,
}

/// What is sent: how it is called in errors, and where to.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    /// For instance `putting skydns/local/a`.
    pub doing: &'a str,
    pub path: &'a str,
    /// Whether something is not as it was when it was carried out.
    pub is_write: bool,
    /// How many times the usual limit it may take.
    pub patience: u32,
}

impl<'a> Call<'a> {
    pub(super) fn read(doing: &'a str, path: &'a str) -> Self {
        Self { doing, path, is_write: false, patience: 1 }
    }

    pub(super) fn write(doing: &'a str, path: &'a str) -> Self {
        Self { is_write: true, ..Self::read(doing, path) }
    }
}

/// A stream's raw bytes, and who sends them.
pub(super) struct Stream {
    pub chunks: LocalBoxStream<'static, Result<Bytes, Failure>>,
    pub member: Member,
}

impl Gateway {
    pub(super) fn new(link: Authorized) -> Self {
        Self(link)
    }

    pub(super) fn http(&self) -> &Http {
        self.0.http()
    }

    /// How long a request may usually take.
    pub(super) fn usual_limit(&self) -> Duration {
        self.http().usual_limit()
    }

    /// Sends one request and reads its one answer.
    pub(super) async fn call<A: DeserializeOwned>(
        &self,
        call: Call<'_>,
        message: &impl Serialize,
    ) -> Result<A, CallError> {
        let answer = self.ask(call, message).await?;
        self.read(call, &answer, &answer.body)
    }

    /// Sends one request and reads the first answer of a stream of one.
    pub(super) async fn call_in_stream<A: DeserializeOwned>(
        &self,
        call: Call<'_>,
        message: &impl Serialize,
    ) -> Result<A, CallError> {
        let answer = self.ask(call, message).await?;
        let line = answer.body.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if let Some(refusal) = error::in_stream(line) {
            return Err(self.refused(call, answer.member, refusal));
        }
        let InStream { result } = self.read(call, &answer, line)?;
        Ok(result)
    }

    /// Opens a stream of answers.
    pub(super) async fn open(
        &self,
        call: Call<'_>,
        message: &impl Serialize,
    ) -> Result<Stream, CallError> {
        let request = self.request(call, message)?;
        match self.0.open_stream(request).await {
            Ok(Opened::Stream { chunks, member }) => Ok(Stream { chunks, member }),
            Ok(Opened::Other(answer)) => {
                let refusal = error::read(answer.status, &answer.body);
                Err(self.refused(call, answer.member, refusal))
            }
            Err(failure) => Err(self.failed(call, &failure)),
        }
    }

    /// Has a new token asked for by the next request.
    pub(super) fn forget_token(&self) {
        self.0.forget_token();
    }

    async fn ask(&self, call: Call<'_>, message: &impl Serialize) -> Result<Answer, CallError> {
        let request = self.request(call, message)?;
        self.0.send(request).await.map_err(|failure| self.failed(call, &failure))
    }

    fn request<'a>(
        &self,
        call: Call<'a>,
        message: &impl Serialize,
    ) -> Result<Request<'a>, CallError> {
        let body = serde_json::to_vec(message).map_err(|error| {
            let what = format!("{}: {error}", call.doing);
            CallError::new(Reason::Other, StoreErrorKind::Refused, what)
        })?;
        Ok(Request {
            method: Method::POST,
            path: call.path,
            query: "",
            body: Body::Json(body.into()),
            limit: self.usual_limit() * call.patience,
            authorization: None,
        })
    }

    fn read<A: DeserializeOwned>(
        &self,
        call: Call<'_>,
        answer: &Answer,
        message: &[u8],
    ) -> Result<A, CallError> {
        let refusal = if (200..300).contains(&answer.status) {
            match serde_json::from_slice(message) {
                Ok(message) => return Ok(message),
                Err(error) => error::unfit(answer.status, message, &error),
            }
        } else {
            error::read(answer.status, message)
        };
        Err(self.refused(call, answer.member, refusal))
    }

    fn failed(&self, call: Call<'_>, failure: &Failure) -> CallError {
        let hint = match failure.kind {
            StoreErrorKind::Unknown if call.is_write => "; whether it was done is not known",
            _ => "",
        };
        let what = format!("{}{hint}", failure.what);
        self.error(call.doing, failure.member, Reason::Other, failure.kind, &what)
    }

    /// The error for what a member refused; one that can't serve is not asked next.
    pub(super) fn refused(&self, call: Call<'_>, member: Member, refusal: Refusal) -> CallError {
        if refusal.kind.is_outage() {
            self.http().distrust(member);
        }
        self.error(call.doing, member, refusal.reason, refusal.kind, &refusal.what)
    }

    fn error(
        &self,
        doing: &str,
        member: Member,
        reason: Reason,
        kind: StoreErrorKind,
        what: &str,
    ) -> CallError {
        let url = self.http().url_of(member);
        CallError::new(reason, kind, format!("{doing} in etcd at {url}: {what}"))
    }

    /// The error for an answer that doesn't fit the question.
    pub(super) fn out_of_place(&self, doing: &str, what: &str) -> StoreError {
        let urls = self.http().urls();
        let message = format!("{doing} in etcd at {urls}: etcd answers what it should not: {what}");
        StoreError::new(StoreErrorKind::Malformed, message)
    }
}

impl CallError {
    fn new(reason: Reason, kind: StoreErrorKind, message: String) -> Self {
        Self { reason, error: StoreError::new(kind, message) }
    }
}

impl From<CallError> for StoreError {
    fn from(failure: CallError) -> Self {
        failure.error
    }
}
