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

use super::token::{Token, UnusableToken};
use crate::settings::Admin;

/// How long an answer may take. The daemon itself gives up earlier.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 << 20;

/// Why a daemon can't be asked, in one line that says what to try.
#[derive(Debug, thiserror::Error)]
pub enum NoDaemon {
    /// The settings say that the daemon answers nowhere.
    #[error("admin.listen is empty, so the daemon can't be asked; set it to 127.0.0.1:9465, say")]
    Nowhere,
    /// The token can't be had.
    #[error(transparent)]
    Token(#[from] UnusableToken),
    /// Nobody answers.
    #[error(
        "no highhock answers at http://{address}/: {why}; is it running, and with the same \
         admin.listen as in this configuration?"
    )]
    Silent {
        /// Where it was asked.
        address: SocketAddr,
        /// What happened instead.
        why: String,
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
pub struct Asker {
    address: SocketAddr,
    token: Option<Token>,
    client: Client,
}

impl Asker {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// Where these settings lead to no daemon.
    pub fn new(admin: &Admin, log: &Logger) -> Result<Self, NoDaemon> {
        let address = admin.listen.map(reachable).ok_or(NoDaemon::Nowhere)?;
        let token = Token::of(admin, log)?;
        let connector = Connector::new().timeout(PATIENCE);
        let client = Client::builder().connector(connector).timeout(PATIENCE).disable_redirects();
        Ok(Self { address, token, client: client.finish() })
    }

    /// What the daemon says at a path.
    ///
    /// # Errors
    /// Where it says nothing of the kind.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, NoDaemon> {
        let address = self.address;
        let silent = |why: String| NoDaemon::Silent { address, why };
        // A kept connection may be closed by the daemon just when it is used again.
        let mut request = self.client.get(format!("http://{address}{path}")).force_close();
        if let Some(token) = &self.token {
            let bearer = format!("Bearer {}", token.current().reveal());
            request = request.insert_header((AUTHORIZATION, bearer));
        }
        let mut answer = request.send().await.map_err(|error| silent(why(&error)))?;
        let body = answer.body().limit(LONGEST_ANSWER).await;
        let body = body.map_err(|_| silent("its answer breaks off".into()))?;
        match answer.status() {
            StatusCode::OK => serde_json::from_slice(&body)
                .map_err(|_| silent("what answers there is another program".into())),
            StatusCode::UNAUTHORIZED => Err(NoDaemon::Unauthorized { address }),
            status => match reason(&body) {
                Some(reason) => Err(NoDaemon::Refused { address, reason }),
                None => Err(silent(format!("what answers there says {status}"))),
            },
        }
    }
}

/// Where a daemon is asked that listens everywhere.
fn reachable(listen: SocketAddr) -> SocketAddr {
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

fn why(error: &SendRequestError) -> String {
    match error {
        SendRequestError::Connect(ConnectError::Io(error)) => error.to_string(),
        SendRequestError::Connect(ConnectError::Timeout) | SendRequestError::Timeout => {
            format!("not within {} s", PATIENCE.as_secs())
        }
        SendRequestError::Response(_) => "what answers there speaks no HTTP".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_listens_everywhere_is_asked_on_loopback() {
        for (listen, asked) in [
            ("127.0.0.1:9465", "127.0.0.1:9465"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("10.0.0.1:80", "10.0.0.1:80"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }

    #[test]
    fn a_reason_is_one_line() {
        assert_eq!(reason(br#"{"reason":"a\nb"}"#).as_deref(), Some("a b"));
        assert_eq!(reason(b"<html>"), None);
    }
}
