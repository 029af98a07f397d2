//! One HTTP request and its response over a plain connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::time::Instant;

/// Returns status and body, or `None` without a complete response in time. With HTTP/1.0 the body
/// ends with the connection. Each header must end with a line break.
pub(super) fn exchange(
    port: u16,
    timeout: Duration,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> Option<(u16, String)> {
    let deadline = Instant::now() + timeout;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, timeout).ok()?;
    let length = body.len();
    let request =
        format!("{method} {target} HTTP/1.0\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).ok()?;
    let answer = read_until(&mut stream, deadline)?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// Reads until the peer closes. Returns `None` if the deadline passes first.
fn read_until(stream: &mut TcpStream, deadline: Instant) -> Option<String> {
    let mut answer = Vec::new();
    let mut buffer = [0; 64 * 1024];
    loop {
        let left =
            deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        stream.set_read_timeout(Some(left)).ok()?;
        match stream.read(&mut buffer).ok()? {
            0 => return String::from_utf8(answer).ok(),
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
}
