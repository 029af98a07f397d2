//! An HTTP proxy before a real server. It forwards requests, or imitates another server for a
//! while, and counts the requests.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use url::form_urlencoded;

use super::cuttable_proxy::ServerAddress;
use super::scripted_server::{ScriptedResponse, ScriptedServer};

/// The behaviour of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyMode {
    /// Forwards requests to the real server.
    PassThrough,
    /// Responds like an unrelated web server.
    HtmlResponses,
    /// Sends the first half of the real response, and closes the connection.
    TruncatedResponses,
    /// Lists no containers, and forwards all other requests.
    EmptyListing,
    /// Lists no containers, and reports another engine.
    OtherEngine,
    /// Refuses the optional endpoints of a Docker engine, and forwards all other requests.
    LeastRights,
}

/// A TCP proxy before a real server.
pub struct Proxy {
    server: ScriptedServer,
    mode: Arc<Mutex<ProxyMode>>,
    /// In milliseconds.
    delay: Arc<AtomicU64>,
}

impl Proxy {
    /// Before a server. Everything is forwarded unchanged.
    pub fn new(server: ServerAddress) -> Self {
        Self::start(server, |target| target.to_owned())
    }

    /// Before a Docker engine. Shows only the containers with this label, and only their events.
    /// Network events carry no label and are therefore not forwarded.
    pub fn with_label_filter(engine: ServerAddress, label: &str) -> Self {
        let label = label.to_owned();
        Self::start(engine, move |target| {
            if is_listing(target) || is_event_stream(target) {
                add_label_filter(target, &label)
            } else {
                target.to_owned()
            }
        })
    }

    fn start(
        server: ServerAddress,
        rewrite: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        let mode = Arc::new(Mutex::new(ProxyMode::PassThrough));
        let delay = Arc::<AtomicU64>::default();
        let (mode_handle, delay_handle) = (Arc::clone(&mode), Arc::clone(&delay));
        let server = ScriptedServer::tcp(move |request| {
            let mode = *mode_handle.lock().unwrap();
            if mode == ProxyMode::HtmlResponses {
                return ScriptedResponse::html();
            }
            if mode == ProxyMode::LeastRights && is_optional(&request.target) {
                return ScriptedResponse::status(403, r#"{"message":"forbidden by the proxy"}"#);
            }
            let target = rewrite(&request.target);
            if is_event_stream(&target) {
                return forward_stream(&server, &target);
            }
            let answer = send_request(&server, &request.method, &target, &request.body);
            thread::sleep(Duration::from_millis(delay_handle.load(Ordering::SeqCst)));
            match answer {
                Ok((_, body)) if mode == ProxyMode::TruncatedResponses => {
                    ScriptedResponse::Truncated {
                        body: body.chars().take(body.len() / 2).collect(),
                    }
                }
                Ok(_)
                    if is_listing(&target)
                        && matches!(mode, ProxyMode::EmptyListing | ProxyMode::OtherEngine) =>
                {
                    ScriptedResponse::json("[]")
                }
                Ok((status, body)) if mode == ProxyMode::OtherEngine => {
                    ScriptedResponse::status(status, body.replace("\"ID\":\"", "\"ID\":\"OTHER:"))
                }
                Ok((status, body)) => ScriptedResponse::status(status, body),
                Err(_) => ScriptedResponse::Hangup,
            }
        });
        Self { server, mode, delay }
    }

    /// Changes the behaviour.
    pub fn set_mode(&self, mode: ProxyMode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Delays all further responses by this time. Event streams are not delayed.
    pub fn set_delay(&self, by: Duration) {
        self.delay.store(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// `127.0.0.1:port`.
    pub fn authority(&self) -> String {
        self.server.authority()
    }

    /// The address, as the target of another proxy.
    pub fn server_address(&self) -> ServerAddress {
        ServerAddress::Tcp(self.authority().parse().unwrap())
    }

    /// The number of listings so far, and of all other requests.
    pub fn request_counts(&self) -> (usize, usize) {
        let requests = self.server.requests();
        let listings = requests.iter().filter(|request| is_listing(&request.target)).count();
        (listings, requests.len() - listings)
    }
}

fn is_listing(target: &str) -> bool {
    path(target).ends_with("/containers/json")
}

fn is_event_stream(target: &str) -> bool {
    path(target).ends_with("/events")
}

fn is_optional(target: &str) -> bool {
    ["/info", "/networks", "/events"].iter().any(|endpoint| path(target).ends_with(endpoint))
}

fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

/// Returns the request target with an additional filter.
fn add_label_filter(target: &str, label: &str) -> String {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let mut filters = serde_json::json!({});
    let mut rewritten = form_urlencoded::Serializer::new(String::new());
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "filters" => filters = serde_json::from_str(&value).unwrap(),
            _ => _ = rewritten.append_pair(&key, &value),
        }
    }
    filters["label"] = serde_json::json!([label]);
    let query = rewritten.append_pair("filters", &filters.to_string()).finish();
    format!("{}?{query}", path(target))
}

/// Forwards the response byte by byte until either side closes.
fn forward_stream(server: &ServerAddress, target: &str) -> ScriptedResponse {
    let head = format!("GET {target} HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n");
    let answer: io::Result<Box<dyn Read>> = match server {
        ServerAddress::Unix(path) => UnixStream::connect(path).and_then(|it| send_head(it, &head)),
        ServerAddress::Tcp(address) => {
            TcpStream::connect(address).and_then(|it| send_head(it, &head))
        }
    };
    match answer {
        Ok(mut answer) => ScriptedResponse::Stream(Box::new(move |client| {
            io::copy(&mut answer, client).map(|_| ())
        })),
        Err(_) => ScriptedResponse::Hangup,
    }
}

fn send_head(mut stream: impl Read + Write + 'static, head: &str) -> io::Result<Box<dyn Read>> {
    stream.write_all(head.as_bytes())?;
    Ok(Box::new(stream))
}

/// Returns status and body of the server. With HTTP/1.0 the body ends with the connection.
pub fn send_request(
    server: &ServerAddress,
    method: &str,
    target: &str,
    body: &str,
) -> io::Result<(u16, String)> {
    send_typed(server, method, target, "application/x-www-form-urlencoded", body)
}

/// Sends JSON. Returns status and body of the server.
pub fn post_json(
    server: &ServerAddress,
    target: &str,
    body: &serde_json::Value,
) -> io::Result<(u16, String)> {
    send_typed(server, "POST", target, "application/json", &body.to_string())
}

fn send_typed(
    server: &ServerAddress,
    method: &str,
    target: &str,
    content_type: &str,
    body: &str,
) -> io::Result<(u16, String)> {
    let head = format!(
        "{method} {target} HTTP/1.0\r\nHost: server\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = match server {
        ServerAddress::Unix(path) => exchange(UnixStream::connect(path)?, &head, body),
        ServerAddress::Tcp(address) => exchange(TcpStream::connect(address)?, &head, body),
    }?;
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(broken)?;
    Ok((status, body.to_owned()))
}

fn exchange(mut stream: impl Read + Write, head: &str, body: &str) -> io::Result<String> {
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
