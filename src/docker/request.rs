//! Sends requests to the engine, each with a time-out and a line in the log.
//!
//! Every path except `/version` starts with the negotiated API version.

use awc::ClientResponse;
use highhock_actors::SourceError;
use tokio::time::{Instant, timeout};

use super::error::RequestContext;
use super::response::ApiResponse;
use super::{ApiDialect, DockerClient};

/// The longest response that is read as a whole, in bytes. The inspection of a container that
/// publishes all ports has some 10 MiB.
const RESPONSE_BYTES_MAX: usize = 64 << 20;

/// A complete response with the path and the dialect of its request.
pub(super) struct ApiReply {
    pub path: String,
    pub dialect: ApiDialect,
    pub response: ApiResponse,
}

/// A stream whose response head was a success.
pub(super) struct OpenedStream {
    pub path: String,
    /// The time of the request.
    pub requested_at: Instant,
    /// The response, with its body still to be read.
    pub response: ClientResponse,
}

impl DockerClient {
    /// Returns the context for errors about `path`.
    pub(super) fn request_context<'a>(&'a self, path: &'a str) -> RequestContext<'a> {
        RequestContext { endpoint: &self.options.endpoint, path }
    }

    /// Sends a request in the negotiated API version. An engine that was upgraded since the
    /// negotiation rejects that version, and the request is sent once more in a new one.
    pub(super) async fn request(&self, path: &str) -> Result<ApiReply, SourceError> {
        let reply = self.request_once(path).await?;
        if !reply.response.rejects_version() {
            return Ok(reply);
        }
        self.renegotiate(reply.dialect.version);
        self.request_once(path).await
    }

    async fn request_once(&self, path: &str) -> Result<ApiReply, SourceError> {
        let dialect = self.dialect().await?;
        let path = format!("/v{}{path}", dialect.version);
        let response = self.get(&path).await?;
        Ok(ApiReply { path, dialect, response })
    }

    /// Opens a stream in the negotiated API version, like [`Self::request`]. Returns the complete
    /// response instead if its status is not a success. The time-out covers the response head only.
    pub(super) async fn open(
        &self,
        path: &str,
    ) -> Result<Result<OpenedStream, ApiReply>, SourceError> {
        match self.open_once(path).await? {
            Err(rejected) if rejected.response.rejects_version() => {
                self.renegotiate(rejected.dialect.version);
                self.open_once(path).await
            }
            opened => Ok(opened),
        }
    }

    async fn open_once(&self, path: &str) -> Result<Result<OpenedStream, ApiReply>, SourceError> {
        let dialect = self.dialect().await?;
        let path = format!("/v{}{path}", dialect.version);
        let opened = self.open_exactly(&path).await?;
        Ok(opened.map_err(|response| ApiReply { path, dialect, response }))
    }

    /// Opens a stream at an exact path, without an API version before it.
    pub(super) async fn open_exactly(
        &self,
        path: &str,
    ) -> Result<Result<OpenedStream, ApiResponse>, SourceError> {
        let requested_at = Instant::now();
        let opened = self.exchange(path, async |context, response| {
            if response.status().is_success() {
                return Ok(Ok(response));
            }
            read_response(context, response).await.map(Err)
        });
        let opened = opened.await?;
        Ok(opened.map(|response| OpenedStream { path: path.to_owned(), requested_at, response }))
    }

    /// Reads the body of an opened stream by `read`, within the time limit of its request.
    pub(super) async fn read_body<T>(
        &self,
        path: &str,
        requested_at: Instant,
        read: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let limit = self.options.timeout;
        let result = tokio::time::timeout_at(requested_at + limit, read).await;
        let result =
            result.unwrap_or_else(|_| Err(self.request_context(path).timeout_error(limit)));
        if result.is_err() {
            self.forget_negotiation();
        }
        result
    }

    /// Sends one request and reads the complete response.
    pub(super) async fn get(&self, path: &str) -> Result<ApiResponse, SourceError> {
        self.exchange(path, read_response).await
    }

    /// Sends one request. `read` extracts the result from the response, within the time-out.
    ///
    /// If the request fails, the negotiated API version is forgotten, because the engine may be in
    /// the middle of an upgrade.
    async fn exchange<T>(
        &self,
        path: &str,
        read: impl AsyncFnOnce(RequestContext<'_>, ClientResponse) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let started = Instant::now();
        let context = self.request_context(path);
        let limit = self.options.timeout;
        let exchange = async {
            let request = self.http.get(self.options.endpoint.url(path));
            let response = request.send().await.map_err(|error| context.send_error(&error))?;
            let status = response.status();
            Ok((status, read(context, response).await?))
        };
        let result =
            timeout(limit, exchange).await.unwrap_or_else(|_| Err(context.timeout_error(limit)));
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let outcome = match &result {
            Ok((status, _)) => status.as_str(),
            Err(error) => error.kind.as_str(),
        };
        debug!(self.log, "docker request";
            "method" => "GET", "path" => path, "status" => outcome, "ms" => milliseconds);
        if result.is_err() {
            self.forget_negotiation();
        }
        result.map(|(_, read)| read)
    }
}

async fn read_response(
    context: RequestContext<'_>,
    mut response: ClientResponse,
) -> Result<ApiResponse, SourceError> {
    let body = response.body().limit(RESPONSE_BYTES_MAX).await;
    let body = body.map_err(|error| context.read_error(&error, RESPONSE_BYTES_MAX))?;
    Ok(ApiResponse::new(&response, body.to_vec()))
}
