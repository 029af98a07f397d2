//! Questions to the engine: each is one request in the negotiated API version, with a
//! time-out and a line in the log.

use awc::ClientResponse;
use awc::http::header;
use highhock_actors::SourceError;
use tokio::time::{Instant, timeout};

use super::error::Question;
use super::response::Answer;
use super::{Dialect, Docker};

/// The longest answer that is read, in bytes. A row of a listing has some 2 KiB,
/// several times that with Compose's labels.
const LONGEST_ANSWER: usize = 64 << 20;

/// An answer, and what exactly was asked.
pub(super) struct Asked {
    pub path: String,
    pub dialect: Dialect,
    pub answer: Answer,
}

impl Docker {
    pub(super) fn question<'a>(&'a self, path: &'a str) -> Question<'a> {
        Question { endpoint: &self.options.endpoint, path }
    }

    /// Asks under the negotiated version. An engine that was upgraded between two
    /// questions refuses the old version, and is asked once more in a new one.
    pub(super) async fn ask(&self, path: &str) -> Result<Asked, SourceError> {
        let asked = self.ask_once(path).await?;
        if !asked.answer.refuses_version() {
            return Ok(asked);
        }
        self.spoken.set(None);
        self.ask_once(path).await
    }

    async fn ask_once(&self, path: &str) -> Result<Asked, SourceError> {
        let dialect = self.dialect().await?;
        let path = format!("/v{}{path}", dialect.version);
        let answer = self.get(&path).await?;
        Ok(Asked { path, dialect, answer })
    }

    /// Asks likewise for a stream: gives the path as it was asked, and the answer, which
    /// is one of success. The time-out is for the answer's head only.
    pub(super) async fn open(&self, path: &str) -> Result<(String, ClientResponse), SourceError> {
        let mut opened = self.open_once(path).await?;
        if matches!(&opened, Err(asked) if asked.answer.refuses_version()) {
            self.spoken.set(None);
            opened = self.open_once(path).await?;
        }
        opened.map_err(|asked| asked.answer.failure(self.question(&asked.path)))
    }

    async fn open_once(
        &self,
        path: &str,
    ) -> Result<Result<(String, ClientResponse), Asked>, SourceError> {
        let dialect = self.dialect().await?;
        let path = format!("/v{}{path}", dialect.version);
        let opened = self.exchange(&path, async |question, response| {
            if response.status().is_success() {
                return Ok(Ok(response));
            }
            whole(question, response).await.map(Err)
        });
        Ok(match opened.await? {
            Ok(response) => Ok((path, response)),
            Err(answer) => Err(Asked { path, dialect, answer }),
        })
    }

    /// One request with a whole answer.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, SourceError> {
        self.exchange(path, whole).await
    }

    /// One request; `read` takes what is wanted of its answer, within the time-out. No
    /// answer may mean that the engine is being exchanged for another version, so the
    /// negotiated one is forgotten then.
    async fn exchange<T>(
        &self,
        path: &str,
        read: impl AsyncFnOnce(Question<'_>, ClientResponse) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let started = Instant::now();
        let question = self.question(path);
        let limit = self.options.timeout;
        let exchange = async {
            let request = self.http.get(self.options.endpoint.url(path));
            let response = request.send().await.map_err(|error| question.not_sent(&error))?;
            let status = response.status();
            Ok((status, read(question, response).await?))
        };
        let result =
            timeout(limit, exchange).await.unwrap_or_else(|_| Err(question.timed_out(limit)));
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let outcome = match &result {
            Ok((status, _)) => status.as_str(),
            Err(error) => error.kind.as_str(),
        };
        debug!(self.log, "docker request";
            "method" => "GET", "path" => path, "status" => outcome, "ms" => milliseconds);
        if result.is_err() {
            self.spoken.set(None);
        }
        result.map(|(_, read)| read)
    }
}

async fn whole(
    question: Question<'_>,
    mut response: ClientResponse,
) -> Result<Answer, SourceError> {
    let field = |name| {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (content_type, location) = (field(header::CONTENT_TYPE), field(header::LOCATION));
    let body = response.body().limit(LONGEST_ANSWER).await;
    let body = body.map_err(|error| question.not_read(&error, LONGEST_ANSWER))?;
    Ok(Answer { status: response.status(), content_type, location, body: body.to_vec() })
}
