//! Questions to the engine: each is one request in the negotiated API version, with a
//! time-out and a line in the log.

use awc::ClientResponse;
use awc::http::header;
use highhock_actors::SourceError;
use tokio::time::{Instant, timeout};

use super::error::RequestContext;
use super::response::ApiResponse;
use super::{ApiDialect, DockerClient};

/// The longest answer that is read, in bytes. A row of a listing has some 2 KiB,
/// several times that with Compose's labels.
const RESPONSE_BYTES_MAX: usize = 64 << 20;

/// An answer, and what exactly was asked.
pub(super) struct ApiReply {
    pub path: String,
    pub dialect: ApiDialect,
    pub response: ApiResponse,
}

impl DockerClient {
    pub(super) fn request_context<'a>(&'a self, path: &'a str) -> RequestContext<'a> {
        RequestContext { endpoint: &self.options.endpoint, path }
    }

    /// Asks under the negotiated version. An engine that was upgraded between two
    /// questions refuses the old version, and is asked once more in a new one.
    pub(super) async fn request(&self, path: &str) -> Result<ApiReply, SourceError> {
        let reply = self.request_once(path).await?;
        if !reply.response.rejects_version() {
            return Ok(reply);
        }
        self.negotiated.set(None);
        self.request_once(path).await
    }

    async fn request_once(&self, path: &str) -> Result<ApiReply, SourceError> {
        let dialect = self.dialect().await?;
        let path = format!("/v{}{path}", dialect.version);
        let response = self.get(&path).await?;
        Ok(ApiReply { path, dialect, response })
    }

    /// Asks likewise for a stream: gives the path as it was asked, and the answer, which
    /// is one of success. The time-out is for the answer's head only.
    pub(super) async fn open(&self, path: &str) -> Result<(String, ClientResponse), SourceError> {
        let mut opened = self.open_once(path).await?;
        if matches!(&opened, Err(reply) if reply.response.rejects_version()) {
            self.negotiated.set(None);
            opened = self.open_once(path).await?;
        }
        opened.map_err(|reply| reply.response.to_error(self.request_context(&reply.path)))
    }

    async fn open_once(
        &self,
        path: &str,
    ) -> Result<Result<(String, ClientResponse), ApiReply>, SourceError> {
        let dialect = self.dialect().await?;
        let path = format!("/v{}{path}", dialect.version);
        let opened = self.exchange(&path, async |context, response| {
            if response.status().is_success() {
                return Ok(Ok(response));
            }
            read_response(context, response).await.map(Err)
        });
        Ok(match opened.await? {
            Ok(response) => Ok((path, response)),
            Err(response) => Err(ApiReply { path, dialect, response }),
        })
    }

    /// One request with a whole answer.
    pub(super) async fn get(&self, path: &str) -> Result<ApiResponse, SourceError> {
        self.exchange(path, read_response).await
    }

    /// One request; `read` takes what is wanted of its answer, within the time-out. No
    /// answer may mean that the engine is being exchanged for another version, so the
    /// negotiated one is forgotten then.
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
            self.negotiated.set(None);
        }
        result.map(|(_, read)| read)
    }
}

async fn read_response(
    context: RequestContext<'_>,
    mut response: ClientResponse,
) -> Result<ApiResponse, SourceError> {
    let field = |name| {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (content_type, location) = (field(header::CONTENT_TYPE), field(header::LOCATION));
    let body = response.body().limit(RESPONSE_BYTES_MAX).await;
    let body = body.map_err(|error| context.read_error(&error, RESPONSE_BYTES_MAX))?;
    Ok(ApiResponse { status: response.status(), content_type, location, body: body.to_vec() })
}
