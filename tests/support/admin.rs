//! A client of the admin interface.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::{eventually, free_port};

/// The time limit of a response.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The admin interface of one daemon.
#[derive(Clone, Copy)]
pub struct Admin(SocketAddr);

/// A complete response.
pub struct AdminResponse {
    pub status: u16,
    /// Header names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl AdminResponse {
    /// Returns a header's value, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Parses the body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.body);
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Admin {
    /// An address of 127.0.0.1 with a free port.
    pub fn on_loopback() -> Self {
        Self(SocketAddr::from(([127, 0, 0, 1], free_port())))
    }

    /// The value of `--admin-listen`.
    pub fn listen(self) -> String {
        self.0.to_string()
    }

    /// The URL of the status page.
    pub fn url(self) -> String {
        format!("http://{}/", self.0)
    }

    /// Sends the lines of a request head, without the final empty line. Returns `None` if the
    /// daemon does not respond.
    pub fn send(self, head: &[&str]) -> Option<AdminResponse> {
        let mut stream = TcpStream::connect(self.0).ok()?;
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let head = format!("{}\r\nConnection: close\r\n\r\n", head.join("\r\n"));
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        Some(AdminResponse { status, headers: headers.collect(), body: body.to_owned() })
    }

    /// Sends a GET request with further headers.
    #[track_caller]
    pub fn get_with(self, path: &str, headers: &[&str]) -> AdminResponse {
        let (line, host) = (format!("GET {path} HTTP/1.1"), format!("Host: {}", self.0));
        let head = [&[line.as_str(), &host], headers].concat();
        eventually(&format!("an answer to GET {path}"), TIMEOUT, || self.send(&head))
    }

    /// Sends a GET request, and waits until the daemon listens.
    #[track_caller]
    pub fn get(self, path: &str) -> AdminResponse {
        self.get_with(path, &[])
    }

    /// Requests JSON. The response must have status 200.
    #[track_caller]
    pub fn json(self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    /// Requests JSON until a row matches.
    #[track_caller]
    pub fn row(self, path: &str, matches: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("such a row in {path}"), TIMEOUT, || {
            let answer = self.get(path);
            let rows = (answer.status == 200).then(|| answer.json())?;
            rows.as_array()?.iter().find(|row| matches(row)).cloned()
        })
    }
}
