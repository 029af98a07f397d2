//! An HTTP server with scripted responses that real servers do not send on demand: HTML, half a
//! body, silence.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A received request.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case, values without surrounding blanks.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl ReceivedRequest {
    /// Returns a header's value, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// A scripted response.
pub enum ScriptedResponse {
    /// A complete response. The connection stays open.
    Full { status: u16, content_type: &'static str, body: String },
    /// A head that announces more bytes than the body has. Then the connection is closed.
    Truncated { body: String },
    /// No response: the connection is closed at once.
    Hangup,
    /// No response, for ever.
    NoResponse,
    /// A head and a part of the announced body, then silence for ever.
    Stall { body: String },
    /// These raw bytes. Then the connection is closed.
    Raw(Vec<u8>),
    /// The output of this function. Then the connection is closed.
    Stream(BodyWriter),
}

/// Writes a response, including its head.
pub type BodyWriter = Box<dyn FnOnce(&mut dyn Write) -> std::io::Result<()>>;

impl ScriptedResponse {
    pub fn json(body: impl Into<String>) -> Self {
        Self::Full { status: 200, content_type: "application/json", body: body.into() }
    }

    pub fn html() -> Self {
        Self::Full {
            status: 200,
            content_type: "text/html",
            body: "<!DOCTYPE html><html><body>Welcome to nginx!</body></html>".into(),
        }
    }

    pub fn status(status: u16, body: impl Into<String>) -> Self {
        Self::Full { status, content_type: "application/json", body: body.into() }
    }
}

type Script = Arc<dyn Fn(&ReceivedRequest) -> ScriptedResponse + Send + Sync>;

/// The running server. It lives until the end of the test process.
pub struct ScriptedServer {
    address: Option<SocketAddr>,
    log: Arc<RequestLog>,
}

/// The requests so far.
#[derive(Default)]
struct RequestLog {
    requests: Mutex<Vec<ReceivedRequest>>,
    connections: AtomicUsize,
}

impl ScriptedServer {
    /// Listens on a free port of 127.0.0.1.
    pub fn tcp(
        script: impl Fn(&ReceivedRequest) -> ScriptedResponse + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = move || listener.accept().map(|(stream, _)| stream);
        Self { address: Some(address), log: serve(incoming, Arc::new(script)) }
    }

    /// Listens on a Unix socket.
    pub fn unix(
        path: &Path,
        script: impl Fn(&ReceivedRequest) -> ScriptedResponse + Send + Sync + 'static,
    ) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let incoming = move || listener.accept().map(|(stream, _)| stream);
        Self { address: None, log: serve(incoming, Arc::new(script)) }
    }

    /// `127.0.0.1:port`.
    pub fn authority(&self) -> String {
        self.address.expect("a server on a TCP port").to_string()
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.log.requests.lock().unwrap().clone()
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.log.connections.load(Ordering::SeqCst)
    }
}

/// A TCP or Unix connection.
trait Connection: Read + Write + Send + Sized + 'static {
    fn clone_handle(&self) -> Self;
}

impl Connection for TcpStream {
    fn clone_handle(&self) -> Self {
        self.try_clone().unwrap()
    }
}

impl Connection for std::os::unix::net::UnixStream {
    fn clone_handle(&self) -> Self {
        self.try_clone().unwrap()
    }
}

fn serve<C: Connection>(
    accept: impl Fn() -> std::io::Result<C> + Send + 'static,
    script: Script,
) -> Arc<RequestLog> {
    let request_log = Arc::<RequestLog>::default();
    let log = Arc::clone(&request_log);
    thread::spawn(move || {
        while let Ok(connection) = accept() {
            log.connections.fetch_add(1, Ordering::SeqCst);
            let (script, log) = (Arc::clone(&script), Arc::clone(&log));
            thread::spawn(move || {
                // The client may disconnect at any moment, which ends only this connection.
                let _ = serve_connection(connection, &script, &log);
            });
        }
    });
    request_log
}

fn serve_connection<C: Connection>(
    mut connection: C,
    script: &Script,
    log: &RequestLog,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.clone_handle());
    while let Some(request) = read_request(&mut reader)? {
        log.requests.lock().unwrap().push(request.clone());
        match script(&request) {
            ScriptedResponse::Full { status, content_type, body } => {
                let head = head(status, content_type, body.len());
                // In one piece: the kernel delays many small writes.
                connection.write_all((head + &body).as_bytes())?;
            }
            ScriptedResponse::Truncated { body } => {
                return connection.write_all(truncated_response(&body).as_bytes());
            }
            ScriptedResponse::Stall { body } => {
                connection.write_all(truncated_response(&body).as_bytes())?;
                park_forever();
            }
            ScriptedResponse::Hangup => return Ok(()),
            ScriptedResponse::NoResponse => park_forever(),
            ScriptedResponse::Raw(bytes) => return connection.write_all(&bytes),
            ScriptedResponse::Stream(write) => return write(&mut connection),
        }
    }
    Ok(())
}

fn head(status: u16, content_type: &str, length: usize) -> String {
    format!(
        "HTTP/1.1 {status} Scripted\r\nContent-Type: {content_type}\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

fn truncated_response(body: &str) -> String {
    head(200, "application/json", body.len() + 100) + body
}

fn park_forever() -> ! {
    loop {
        thread::park();
    }
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<ReceivedRequest>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut length, mut headers) = (0, Vec::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim_end();
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').unwrap_or((header, ""));
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        if name == "content-length" {
            length = value.parse().unwrap_or(0);
        }
        headers.push((name, value));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(ReceivedRequest { method, target, headers, body }))
}
