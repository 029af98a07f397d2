//! Requests to etcd's JSON gateway, and their responses as messages of etcd.
//!
//! The gateway maps each method of etcd's gRPC API to a `POST` with a JSON body, for example
//! `/v3/kv/txn`.

use std::time::Duration;

use awc::http::Method;
use bytes::Bytes;
use futures_util::stream::LocalBoxStream;
use highhock_actors::{StoreError, StoreErrorKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::auth::AuthClient;
use super::error::{self, ErrorClass, ResponseError};
use super::wire::StreamMessage;
use crate::etcd::http::{
    Body, HttpClient, HttpError, HttpResponse, Member, Request, StreamResponse,
};

/// The gateway of a cluster.
pub(super) struct Gateway(AuthClient);

/// A failed call.
#[derive(Clone, Debug)]
pub(super) struct CallError {
    /// The part of the error that a caller may react to.
    pub class: ErrorClass,
    pub error: StoreError,
}

/// The path of a call, and its description in errors.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    /// The description, for example `putting skydns/local/a`.
    pub action: &'a str,
    pub path: &'a str,
    /// `true` if the call changes something in etcd.
    pub is_write: bool,
    /// The time limit, as a multiple of the default.
    pub timeout_factor: u32,
}

impl<'a> Call<'a> {
    pub(super) fn read(action: &'a str, path: &'a str) -> Self {
        Self { action, path, is_write: false, timeout_factor: 1 }
    }

    pub(super) fn write(action: &'a str, path: &'a str) -> Self {
        Self { is_write: true, ..Self::read(action, path) }
    }
}

/// The raw bytes of a stream, and the member that sends them.
pub(super) struct ChunkStream {
    pub chunks: LocalBoxStream<'static, Result<Bytes, HttpError>>,
    pub member: Member,
}

impl Gateway {
    pub(super) fn new(client: AuthClient) -> Self {
        Self(client)
    }

    pub(super) fn http(&self) -> &HttpClient {
        self.0.http()
    }

    /// Returns the default time limit of a request.
    pub(super) fn default_timeout(&self) -> Duration {
        self.http().default_timeout()
    }

    /// Sends one request and reads its single response.
    pub(super) async fn call<A: DeserializeOwned>(
        &self,
        call: Call<'_>,
        message: &impl Serialize,
    ) -> Result<A, CallError> {
        let response = self.send(call, message).await?;
        self.read(call, &response, &response.body)
    }

    /// Sends one request and reads the first message of the streamed response. The gateway responds
    /// to `/v3/lease/keepalive` like this.
    pub(super) async fn call_streamed<A: DeserializeOwned>(
        &self,
        call: Call<'_>,
        message: &impl Serialize,
    ) -> Result<A, CallError> {
        let response = self.send(call, message).await?;
        let line = response.body.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if let Some(response_error) = error::stream_error(line) {
            return Err(self.to_call_error(call, response.member, response_error));
        }
        let StreamMessage { result } = self.read(call, &response, line)?;
        Ok(result)
    }

    /// Opens a stream of messages.
    pub(super) async fn open_stream(
        &self,
        call: Call<'_>,
        message: &impl Serialize,
    ) -> Result<ChunkStream, CallError> {
        let request = self.request(call, message)?;
        match self.0.open_stream(request).await {
            Ok(StreamResponse::Stream { chunks, member }) => Ok(ChunkStream { chunks, member }),
            Ok(StreamResponse::Other(response)) => {
                let response_error = error::parse(response.status, &response.body);
                Err(self.to_call_error(call, response.member, response_error))
            }
            Err(failure) => Err(self.http_error(call, &failure)),
        }
    }

    /// Forgets the token. The next request requests a new one.
    pub(super) fn forget_token(&self) {
        self.0.forget_token();
    }

    async fn send(
        &self,
        call: Call<'_>,
        message: &impl Serialize,
    ) -> Result<HttpResponse, CallError> {
        let request = self.request(call, message)?;
        self.0.send(request).await.map_err(|failure| self.http_error(call, &failure))
    }

    fn request<'a>(
        &self,
        call: Call<'a>,
        message: &impl Serialize,
    ) -> Result<Request<'a>, CallError> {
        let body = serde_json::to_vec(message).map_err(|error| {
            let message = format!("{}: {error}", call.action);
            CallError::new(ErrorClass::Other, StoreErrorKind::Refused, message)
        })?;
        Ok(Request {
            method: Method::POST,
            path: call.path,
            query: "",
            body: Body::Json(body.into()),
            timeout: self.default_timeout() * call.timeout_factor,
            authorization: None,
        })
    }

    fn read<A: DeserializeOwned>(
        &self,
        call: Call<'_>,
        response: &HttpResponse,
        message: &[u8],
    ) -> Result<A, CallError> {
        let response_error = if (200..300).contains(&response.status) {
            match serde_json::from_slice(message) {
                Ok(message) => return Ok(message),
                Err(error) => error::unexpected(response.status, message, &error),
            }
        } else {
            error::parse(response.status, message)
        };
        Err(self.to_call_error(call, response.member, response_error))
    }

    fn http_error(&self, call: Call<'_>, failure: &HttpError) -> CallError {
        let hint = match failure.kind {
            StoreErrorKind::Unknown if call.is_write => {
                "; it is unknown whether the write was applied"
            }
            _ => "",
        };
        let message = format!("{}{hint}", failure.message);
        self.error(call.action, failure.member, ErrorClass::Other, failure.kind, &message)
    }

    /// Returns the error for an error response of a member. If the member cannot serve, later
    /// requests go to the next one.
    pub(super) fn to_call_error(
        &self,
        call: Call<'_>,
        member: Member,
        response_error: ResponseError,
    ) -> CallError {
        if response_error.kind.is_outage() {
            self.http().mark_failed(member);
        }
        self.error(
            call.action,
            member,
            response_error.class,
            response_error.kind,
            &response_error.message,
        )
    }

    /// Returns the error of a call to a member.
    pub(super) fn error(
        &self,
        action: &str,
        member: Member,
        class: ErrorClass,
        kind: StoreErrorKind,
        message: &str,
    ) -> CallError {
        let url = self.http().member_url(member);
        CallError::new(class, kind, format!("{action} in etcd at {url}: {message}"))
    }

    /// Returns the error for a response that does not fit the request.
    pub(super) fn unexpected_response(&self, action: &str, message: &str) -> StoreError {
        let urls = self.http().urls();
        let message = format!("{action} in etcd at {urls}: unexpected response: {message}");
        StoreError::new(StoreErrorKind::Malformed, message)
    }
}

impl CallError {
    fn new(class: ErrorClass, kind: StoreErrorKind, message: String) -> Self {
        Self { class, error: StoreError::new(kind, message) }
    }
}

impl From<CallError> for StoreError {
    fn from(failure: CallError) -> Self {
        failure.error
    }
}
