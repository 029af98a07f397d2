//! Starts servers with some records, and queries them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use highhock::dns::{DnsServer, DnsSettings};
use highhock::zone::Zone;
use highhock_actors::RecordKey;
use highhock_actors::model::names::DomainName;
use slog::Logger;

/// The time limit of a response.
const TIMEOUT: Duration = Duration::from_secs(20);

pub fn silent() -> Logger {
    Logger::root(slog::Discard, slog::o!())
}

/// Returns settings for `skydns.local` on a free port of 127.0.0.1, modified by `change`.
pub fn settings(change: impl FnOnce(&mut DnsSettings)) -> DnsSettings {
    let mut settings = DnsSettings {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        forward: Vec::new(),
        domain: DomainName::parse("skydns.local").unwrap(),
        prefix: "skydns".into(),
        rate_limit: 500,
    };
    change(&mut settings);
    settings
}

/// Creates a complete zone. Each record is a path below the domain's key, and a value.
pub fn zone(records: &[(&str, &str)]) -> Zone {
    let zone = Zone::new();
    for (path, value) in records {
        let key = RecordKey::from_path(&format!("skydns/local/skydns/{path}"));
        zone.put(&key, value, None).unwrap();
    }
    zone.mark_complete();
    zone
}

pub fn server(records: &[(&str, &str)]) -> DnsServer {
    server_with(|_| {}, zone(records))
}

pub fn server_with(change: impl FnOnce(&mut DnsSettings), zone: Zone) -> DnsServer {
    DnsServer::start(settings(change), zone, &silent()).unwrap()
}

/// Returns a loopback address whose port was free a moment ago.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub fn query_message(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

pub fn packet(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap()
}

/// Queries by UDP from a connected socket, which accepts responses only from the server.
/// Retries, because a datagram may be lost.
pub fn query_udp(server: SocketAddr, question: &Message) -> Message {
    let local = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(local).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(TIMEOUT / 4)).unwrap();
    let mut bytes = vec![0; 65_535];
    for _ in 0..4 {
        socket.send(&packet(question)).unwrap();
        let Ok(length) = socket.recv(&mut bytes) else { continue };
        let answer = Message::from_vec(&bytes[..length]).unwrap();
        assert_eq!(answer.metadata.id, question.metadata.id);
        return answer;
    }
    panic!("{server} does not respond");
}

pub fn query_tcp(server: SocketAddr, question: &Message) -> Message {
    try_query_tcp(server, &packet(question)).unwrap_or_else(|| panic!("{server} does not respond"))
}

/// Queries over a new TCP connection. Returns `None` without a response.
pub fn try_query_tcp(server: SocketAddr, packet: &[u8]) -> Option<Message> {
    let mut stream = TcpStream::connect(server).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, packet].concat()).ok()?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).ok()?;
    Some(Message::from_vec(&bytes).unwrap())
}

/// Reads the next response of a connection.
pub fn read_framed(stream: &mut impl Read) -> Message {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).unwrap();
    Message::from_vec(&bytes).unwrap()
}
