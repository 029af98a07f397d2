//! DNS queries and answers in wire format, record by record.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use tokio::time::Instant;

/// The time limit of an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A query and its transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsQuery {
    /// The labels in wire form, from the left.
    pub labels: Vec<String>,
    pub kind: RecordType,
    pub class: DNSClass,
    pub transport: Transport,
    pub recursion_desired: bool,
}

/// The transport, which limits the size of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UDP without EDNS: 512 bytes.
    Udp,
    /// UDP with EDNS and this size.
    Edns(u16),
    Tcp,
}

impl DnsQuery {
    /// By UDP, with room for every answer.
    pub fn new(name: &str, kind: RecordType) -> Self {
        let labels = name.split('.').filter(|label| !label.is_empty());
        Self {
            labels: labels.map(str::to_owned).collect(),
            kind,
            class: DNSClass::IN,
            transport: Transport::Edns(4096),
            recursion_desired: true,
        }
    }

    /// The name in presentation format, with a final dot.
    pub fn name(&self) -> String {
        self.wire_name().to_ascii()
    }

    fn wire_name(&self) -> Name {
        let labels = self.labels.iter().map(|label| label.as_bytes());
        let mut name = Name::from_labels(labels).unwrap();
        name.set_fqdn(true);
        name
    }

    /// The query as a UDP packet.
    pub fn to_bytes(&self, id: u16) -> Vec<u8> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = self.recursion_desired;
        let mut query = Query::query(self.wire_name(), self.kind);
        query.set_query_class(self.class);
        message.add_query(query);
        if let Transport::Edns(size) = self.transport {
            let mut edns = Edns::new();
            edns.set_max_payload(size);
            message.set_edns(edns);
        }
        message.to_vec().unwrap()
    }
}

/// An answer. The order within a section has no meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsResponse {
    /// `NoError`, `NXDomain`, `Refused` …
    pub code: String,
    /// The name in the question section of the answer.
    pub query: String,
    pub authoritative: bool,
    pub truncated: bool,
    pub recursion_desired: bool,
    pub recursion_available: bool,
    pub edns: bool,
    pub answer: Vec<ResponseRecord>,
    pub authority: Vec<ResponseRecord>,
    pub additional: Vec<ResponseRecord>,
    /// The length of the answer in bytes.
    pub bytes: usize,
}

/// A record of an answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResponseRecord {
    /// In its original case, with a final dot.
    pub name: String,
    pub kind: String,
    pub data: String,
    pub ttl: u32,
}

impl DnsResponse {
    /// Parses the answer to the query with this id.
    ///
    /// # Errors
    /// Returns the reason if the answer is malformed.
    pub fn parse(bytes: &[u8], id: u16) -> Result<Self, String> {
        let message = Message::from_vec(bytes).map_err(|error| format!("{error}: {bytes:02x?}"))?;
        let head = &message.metadata;
        if head.message_type != MessageType::Response || head.id != id {
            return Err(format!("no answer to question {id}: {head:?}"));
        }
        Ok(Self {
            code: format!("{:?}", head.response_code),
            query: message.queries.first().map(|query| query.name.to_ascii()).unwrap_or_default(),
            authoritative: head.authoritative,
            truncated: head.truncation,
            recursion_desired: head.recursion_desired,
            recursion_available: head.recursion_available,
            edns: message.edns.is_some(),
            answer: response_records(&message.answers),
            authority: response_records(&message.authorities),
            additional: response_records(&message.additionals),
            bytes: bytes.len(),
        })
    }

    /// The data of the answer's records of one type.
    pub fn data(&self, kind: &str) -> Vec<&str> {
        let rows = self.answer.iter().filter(|row| row.kind == kind);
        rows.map(|row| row.data.as_str()).collect()
    }
}

fn response_records(records: &[Record]) -> Vec<ResponseRecord> {
    let mut rows: Vec<_> = records
        .iter()
        .map(|record| ResponseRecord {
            name: record.name.to_ascii(),
            kind: record.record_type().to_string(),
            data: record.data.to_string(),
            ttl: record.ttl,
        })
        .collect();
    rows.sort();
    rows
}

/// A client of one server.
pub struct DnsClient {
    server: SocketAddr,
    socket: UdpSocket,
    next: u16,
}

impl DnsClient {
    pub fn new(server: SocketAddr) -> Self {
        let local = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(local).unwrap();
        socket.connect(server).unwrap();
        Self { server, socket, next: 0 }
    }

    /// Queries the server. Panics without an answer.
    #[track_caller]
    pub fn query(&mut self, query: &DnsQuery) -> DnsResponse {
        self.try_query(query).unwrap_or_else(|error| panic!("{query:?}: {error}"))
    }

    /// # Errors
    /// Returns the reason if there is no answer in time, or if it is malformed.
    pub fn try_query(&mut self, query: &DnsQuery) -> Result<DnsResponse, String> {
        self.next = self.next.wrapping_add(1);
        let bytes = query.to_bytes(self.next);
        let answer = match query.transport {
            Transport::Tcp => exchange_tcp(self.server, &bytes, TIMEOUT),
            Transport::Udp | Transport::Edns(_) => self.exchange_udp(&bytes, TIMEOUT),
        };
        DnsResponse::parse(&answer.ok_or("no answer")?, self.next)
    }

    /// Sends these bytes without waiting for an answer.
    pub fn send(&self, bytes: &[u8]) {
        self.socket.send(bytes).unwrap();
    }

    /// Sends these bytes, and waits for an answer with the same id.
    pub fn exchange_udp(&self, bytes: &[u8], timeout: Duration) -> Option<Vec<u8>> {
        self.send(bytes);
        let end = Instant::now() + timeout;
        let mut buffer = vec![0; 65535];
        loop {
            let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            self.socket.set_read_timeout(Some(left)).unwrap();
            let length = self.socket.recv(&mut buffer).ok()?;
            if buffer.get(..2) == bytes.get(..2) {
                return Some(buffer[..length].to_vec());
            }
        }
    }
}

/// Sends these bytes over a TCP connection of its own. Returns `None` without a complete answer
/// in time.
pub fn exchange_tcp(server: SocketAddr, bytes: &[u8], timeout: Duration) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, timeout).ok()?;
    stream.set_read_timeout(Some(timeout)).unwrap();
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, bytes].concat()).ok()?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}
