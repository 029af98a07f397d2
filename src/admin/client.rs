//! [`AdminClient`]: the client of the commands that query a running daemon.

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

/// The time limit of a request. The daemon itself gives up earlier.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest accepted response, in bytes.
const RESPONSE_BYTES_MAX: usize = 64 << 20;

/// A failed request, with a remedy, in one line.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The admin interface is disabled in the settings.
    #[error(
        "admin.listen is empty, so the daemon cannot be queried; set it, for example to \
         127.0.0.1:9465"
    )]
    NotConfigured,
    /// The token file is unusable.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// No daemon responds.
    #[error(
        "no highhock answers at http://{address}/: {cause}; is it running, and with the same \
         admin.listen as in this configuration?"
    )]
    Unreachable {
        /// The address of the request.
        address: SocketAddr,
        /// The cause.
        cause: String,
    },
    /// The daemon rejects the token, or requires one.
    #[error(
        "the highhock at http://{address}/ requires its token; set admin.token or admin.tokenFile \
         as in its own configuration"
    )]
    Unauthorized {
        /// The address of the request.
        address: SocketAddr,
    },
    /// The daemon responds with an error.
    #[error("the highhock at http://{address}/ responds with an error: {reason}")]
    Refused {
        /// The address of the request.
        address: SocketAddr,
        /// The reason in the response.
        reason: String,
    },
}

/// A client of the admin interface of a running daemon with the same configuration.
pub struct AdminClient {
    address: SocketAddr,
    token: Option<Token>,
    client: Client,
}

impl AdminClient {
    /// Creates a client without sending a request.
    ///
    /// # Errors
    /// Returns an error if the admin interface is disabled or its token file is unusable.
    pub fn new(admin: &Admin, log: &Logger) -> Result<Self, ClientError> {
        let address = admin.listen.map(connect_address).ok_or(ClientError::NotConfigured)?;
        let token = Token::load(admin, log)?;
        let connector = Connector::new().timeout(REQUEST_TIMEOUT);
        let client =
            Client::builder().connector(connector).timeout(REQUEST_TIMEOUT).disable_redirects();
        Ok(Self { address, token, client: client.finish() })
    }

    /// Requests a path, and decodes the JSON of the response.
    ///
    /// # Errors
    /// Returns an error if the daemon does not respond with the expected JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let address = self.address;
        let unreachable = |cause: String| ClientError::Unreachable { address, cause };
        // The daemon may close a kept connection at the moment of its next use.
        let mut request = self.client.get(format!("http://{address}{path}")).force_close();
        if let Some(token) = &self.token {
            let bearer = format!("Bearer {}", token.current().reveal());
            request = request.insert_header((AUTHORIZATION, bearer));
        }
        let mut response = request.send().await.map_err(|error| unreachable(describe(&error)))?;
        let body = response.body().limit(RESPONSE_BYTES_MAX).await;
        let body = body.map_err(|_| unreachable("its response is incomplete".into()))?;
        match response.status() {
            StatusCode::OK => serde_json::from_slice(&body)
                .map_err(|_| unreachable("another program responds there".into())),
            StatusCode::UNAUTHORIZED => Err(ClientError::Unauthorized { address }),
            status => match reason(&body) {
                Some(reason) => Err(ClientError::Refused { address, reason }),
                None => Err(unreachable(format!("it responds with {status}"))),
            },
        }
    }
}

/// Returns the address to connect to: loopback if the daemon listens on all addresses.
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
            format!("no response within {} s", REQUEST_TIMEOUT.as_secs())
        }
        SendRequestError::Response(_) => "the response is not HTTP".into(),
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
