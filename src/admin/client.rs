//! Asks a running daemon, by the same configuration.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use awc::error::{ConnectError, SendRequestError};
use awc::http::StatusCode;
use awc::http::header::AUTHORIZATION;
use awc::{Client, Connector};
use serde::de::DeserializeOwned;
use serde_json::Value;
use slog::Logger;

use super::token::{Token, TokenError};
use crate::settings::Admin;

/// How long an answer may take. The daemon itself gives up earlier.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read, in bytes.
const RESPONSE_BYTES_MAX: usize = 64 << 20;

/// Why a daemon can't be asked, in one line that says what to try.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The settings say that the daemon answers nowhere.
    #[error("admin.listen is empty, so the daemon can't be asked; set it to 127.0.0.1:9465, say")]
    NotConfigured,
    /// The token can't be had.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Nobody answers.
    #[error(
        "no highhock answers at http://{address}/: {cause}; is it running, and with the same \
         admin.listen as in this configuration?"
    )]
    Unreachable {
        /// Where it was asked.
        address: SocketAddr,
        /// What happened instead.
        cause: String,
    },
    /// Another token is wanted.
    #[error(
        "the highhock at http://{address}/ wants its token; set admin.token or admin.tokenFile \
         as in its own configuration"
    )]
    Unauthorized {
        /// Where it was asked.
        address: SocketAddr,
    },
    /// It says that it can't tell.
    #[error("the highhock at http://{address}/ does not tell: {reason}")]
    Refused {
        /// Where it was asked.
        address: SocketAddr,
        /// Its words.
        reason: String,
    },
}

/// A way to ask a running daemon.
pub struct AdminClient {
    address: SocketAddr,
    token: Option<Token>,
    client: Client,
}

impl AdminClient {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// Where these settings lead to no daemon.
    pub fn new(admin: &Admin, log: &Logger) -> Result<Self, ClientError> {
        let address = admin.listen.map(connect_address).ok_or(ClientError::NotConfigured)?;
        let token = Token::load(admin, log)?;
        let connector = Connector::new().timeout(REQUEST_TIMEOUT);
        let client =
            Client::builder().connector(connector).timeout(REQUEST_TIMEOUT).disable_redirects();
        Ok(Self { address, token, client: client.finish() })
    }

    /// What the daemon says at a path.
    ///
    /// # Errors
    /// Where it says nothing of the kind.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let address = self.address;
        let unreachable = |cause: String| ClientError::Unreachable { address, cause };
        // A kept connection may be closed by the daemon just when it is used again.
        let mut request = self.client.get(format!("http://{address}{path}")).force_close();
        if let Some(token) = &self.token {
            let bearer = format!("Bearer {}", token.current().reveal());
            request = request.insert_header((AUTHORIZATION, bearer));
        }
        let mut response = request.send().await.map_err(|error| unreachable(describe(&error)))?;
        let body = response.body().limit(RESPONSE_BYTES_MAX).await;
        let body = body.map_err(|_| unreachable("its answer breaks off".into()))?;
        match response.status() {
            StatusCode::OK => serde_json::from_slice(&body)
                .map_err(|_| unreachable("what answers there is another program".into())),
            StatusCode::UNAUTHORIZED => Err(ClientError::Unauthorized { address }),
            status => match reason(&body) {
                Some(reason) => Err(ClientError::Refused { address, reason }),
                None => Err(unreachable(format!("what answers there says {status}"))),
            },
        }
    }
}

/// Where a daemon is asked that listens everywhere.
fn connect_address(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}

fn reason(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    Some(body.get("reason")?.as_str()?.replace(char::is_control, " "))
}

fn describe(error: &SendRequestError) -> String {
    match error {
        SendRequestError::Connect(ConnectError::Io(error)) => error.to_string(),
        SendRequestError::Connect(ConnectError::Timeout) | SendRequestError::Timeout => {
            format!("not within {} s", REQUEST_TIMEOUT.as_secs())
        }
        SendRequestError::Response(_) => "what answers there speaks no HTTP".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_loopback_for_unspecified_addresses() {
        for (listen, expected) in [
            ("127.0.0.1:9465", "127.0.0.1:9465"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("10.0.0.1:80", "10.0.0.1:80"),
        ] {
            assert_eq!(connect_address(listen.parse().unwrap()), expected.parse().unwrap());
        }
    }

    #[test]
    fn reason_is_one_line() {
        assert_eq!(reason(br#"{"reason":"a\nb"}"#).as_deref(), Some("a b"));
        assert_eq!(reason(b"<html>"), None);
    }
}
