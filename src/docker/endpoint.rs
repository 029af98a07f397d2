//! The address of a Docker engine (`docker.url`).

use std::fmt;
use std::path::PathBuf;

use awc::http::uri::Authority;

/// The ports that Docker uses by default, without and with TLS, for a URL without a port.
const DEFAULT_PORT: u16 = 2375;
const DEFAULT_TLS_PORT: u16 = 2376;

/// The address at which an engine listens, parsed from `docker.url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port without TLS, as `host:port`. An IPv6 address is in brackets.
    Tcp(String),
    /// A TCP port with TLS, in the same form.
    Tls(String),
}

/// The error for a URL that is not the address of an engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// The scheme is missing or unknown.
    #[error("it must start with unix://, tcp://, http:// or https://")]
    Scheme,
    /// `unix://` is not followed by an absolute path.
    #[error("unix:// needs an absolute path, as in unix:///var/run/docker.sock")]
    SocketPath,
    /// The scheme is not followed by `host` or `host:port`.
    #[error("{0:?} is not a host or host:port; remove any path or user name")]
    Authority(String),
}

impl Endpoint {
    /// Parses `unix:///path`, or `host[:port]` after `tcp://`, `http://` or `https://`. Only
    /// `https://` means TLS.
    ///
    /// # Errors
    /// Returns an error if `url` has another form. The caller puts the text of the error after the
    /// URL in a message.
    pub fn parse(url: &str) -> Result<Self, BadEndpoint> {
        match url.trim().split_once("://") {
            Some(("unix", path)) if path.starts_with('/') && path.len() > 1 => {
                Ok(Self::Unix(PathBuf::from(path)))
            }
            Some(("unix", _)) => Err(BadEndpoint::SocketPath),
            Some(("tcp" | "http", rest)) => authority(rest, DEFAULT_PORT).map(Self::Tcp),
            Some(("https", rest)) => authority(rest, DEFAULT_TLS_PORT).map(Self::Tls),
            _ => Err(BadEndpoint::Scheme),
        }
    }

    /// Returns the URL of a path at this endpoint, for use with awc.
    ///
    /// The scheme is always `http`, because TLS is handled by the connections of
    /// `transport.rs`. The host of a Unix socket is a placeholder: HTTP requires a host, and
    /// the engine ignores it.
    pub(super) fn url(&self, path: &str) -> String {
        match self {
            Self::Unix(_) => format!("http://localhost{path}"),
            Self::Tcp(authority) | Self::Tls(authority) => format!("http://{authority}{path}"),
        }
    }
}

fn authority(rest: &str, default_port: u16) -> Result<String, BadEndpoint> {
    let bad = || BadEndpoint::Authority(rest.to_owned());
    let text = rest.strip_suffix('/').unwrap_or(rest);
    if text.contains('@') {
        return Err(bad());
    }
    let authority: Authority = text.parse().map_err(|_| bad())?;
    let host = authority.host();
    if host.is_empty() {
        return Err(bad());
    }
    let port = match (authority.port_u16(), text.len() == host.len()) {
        (Some(port), _) if port != 0 => port,
        (None, true) => default_port,
        _ => return Err(bad()),
    };
    Ok(format!("{host}:{port}"))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
            Self::Tls(authority) => write!(f, "https://{authority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_engine_urls() {
        for (url, expected) in [
            ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock"),
            ("tcp://127.0.0.1:2376", "tcp://127.0.0.1:2376"),
            ("http://engine.example:80/", "tcp://engine.example:80"),
            ("http://engine.example", "tcp://engine.example:2375"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
            ("tcp://[::1]:4", "tcp://[::1]:4"),
            ("https://engine.example", "https://engine.example:2376"),
            ("https://[::1]:443/", "https://[::1]:443"),
        ] {
            assert_eq!(Endpoint::parse(url).map(|it| it.to_string()), Ok(expected.into()), "{url}");
        }
    }

    #[test]
    fn rejects_urls_that_are_not_engines() {
        for (url, expected) in [
            ("", BadEndpoint::Scheme),
            ("/var/run/docker.sock", BadEndpoint::Scheme),
            ("ssh://host", BadEndpoint::Scheme),
            ("unix://", BadEndpoint::SocketPath),
            ("unix:///", BadEndpoint::SocketPath),
            ("unix://docker.sock", BadEndpoint::SocketPath),
        ] {
            assert_eq!(Endpoint::parse(url), Err(expected), "{url}");
        }
        for rest in ["", "/", ":2375", "host:", "host:0", "host:70000", "host/path", "a@b", "a b"] {
            let expected = BadEndpoint::Authority(rest.into());
            assert_eq!(Endpoint::parse(&format!("tcp://{rest}")), Err(expected), "{rest:?}");
        }
    }
}
