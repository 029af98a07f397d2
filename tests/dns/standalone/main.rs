//! The standalone DNS server, queried over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

mod dead_upstreams;
mod few_files;
mod forwarding;
mod pipelining;
mod query;
mod upstream;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::RecordType;
use highhock::dns::{DnsError, DnsServer};
use highhock::zone::{LeaseExpiry, Zone};
use highhock_actors::RecordKey;
use query::{packet, query_message, query_tcp, query_udp, server, server_with};
use tokio::time::Instant;

const HTTPD: &[(&str, &str)] = &[("httpd", r#"{"host":"10.0.0.1","port":80}"#)];

fn only(server: &DnsServer) -> SocketAddr {
    let [address] = server.addresses() else { panic!("more than one address: {server:?}") };
    *address
}

fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

#[test]
fn answers_udp_and_tcp_on_one_port() {
    let server = server(HTTPD);
    let query = query_message("httpd.skydns.local.", RecordType::A);
    assert_eq!(data(&query_udp(only(&server), &query)), ["10.0.0.1"]);
    assert_eq!(data(&query_tcp(only(&server), &query)), ["10.0.0.1"]);
    let counts = server.stats().read();
    assert_eq!((counts.queries_udp, counts.queries_tcp, counts.responses[0]), (1, 1, 2));
}

#[test]
fn changes_are_answered_at_once() {
    let zone = Zone::new();
    let server = server_with(|_| {}, zone.clone());
    let query = query_message("httpd.skydns.local.", RecordType::A);
    let key = RecordKey::from_path("skydns/local/skydns/httpd");
    let code = |message: Message| message.metadata.response_code;
    let early = query_udp(only(&server), &query);
    assert!(early.authorities.is_empty(), "a resolver would cache the response: {early}");
    assert_eq!(code(early), ResponseCode::ServFail);

    zone.mark_complete();
    assert_eq!(code(query_udp(only(&server), &query)), ResponseCode::NXDomain);

    let ends = LeaseExpiry::at(Instant::now() + Duration::from_secs(3600));
    zone.put(&key, r#"{"host":"10.0.0.1"}"#, Some(ends.clone())).unwrap();
    assert_eq!(data(&query_udp(only(&server), &query)), ["10.0.0.1"]);
    ends.set(Instant::now());
    assert_eq!(code(query_udp(only(&server), &query)), ResponseCode::NXDomain);

    zone.put(&key, r#"{"host":"10.0.0.1"}"#, None).unwrap();
    assert_eq!(data(&query_udp(only(&server), &query)), ["10.0.0.1"]);
    zone.remove(&key);
    assert_eq!(code(query_udp(only(&server), &query)), ResponseCode::NXDomain);
}

#[test]
fn answers_over_ipv4_and_ipv6() {
    let listen = ["127.0.0.1:0", "[::1]:0"].map(|it| it.parse().unwrap());
    let server = server_with(|settings| settings.listen = listen.to_vec(), query::zone(HTTPD));
    let query = query_message("httpd.skydns.local.", RecordType::A);
    assert_eq!(server.addresses().len(), 2);
    for address in server.addresses() {
        assert_eq!(data(&query_udp(*address, &query)), ["10.0.0.1"], "{address}");
        assert_eq!(data(&query_tcp(*address, &query)), ["10.0.0.1"], "{address}");
    }
}

#[test]
fn responds_from_the_queried_address() {
    // All of 127.0.0.0/8 belongs to this host. By default the kernel would send from 127.0.0.1.
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let server = server_with(|settings| settings.listen = vec![everywhere], query::zone(HTTPD));
    let address = SocketAddr::from(([127, 9, 8, 7], only(&server).port()));
    let answer = query_udp(address, &query_message("httpd.skydns.local.", RecordType::A));
    assert_eq!(data(&answer), ["10.0.0.1"]);
}

#[test]
fn truncated_response_is_complete_over_tcp() {
    let records = (0..200).map(|i| (format!("many/{i}"), format!(r#"{{"host":"10.0.1.{i}"}}"#)));
    let records = records.collect::<Vec<_>>();
    let records = records.iter().map(|(path, value)| (path.as_str(), value.as_str()));
    let server = server(&records.collect::<Vec<_>>());
    let mut query = query_message("many.skydns.local.", RecordType::A);
    assert!(query_udp(only(&server), &query).metadata.truncation);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    query.set_edns(edns);
    let cut = query_udp(only(&server), &query);
    assert!(cut.metadata.truncation && cut.edns.is_some() && cut.answers.len() > 50);
    let whole = query_tcp(only(&server), &query);
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 200);
}

#[test]
fn connection_may_pipeline_queries() {
    let server = server(HTTPD);
    let packet = packet(&query_message("httpd.skydns.local.", RecordType::A));
    let framed = [&u16::try_from(packet.len()).unwrap().to_be_bytes(), packet.as_slice()].concat();
    let mut stream = TcpStream::connect(only(&server)).unwrap();
    stream.write_all(&framed.repeat(20)).unwrap();
    for _ in 0..20 {
        assert_eq!(data(&query::read_framed(&mut stream)), ["10.0.0.1"]);
    }
}

#[test]
fn survives_and_ignores_malformed_input() {
    let server = server(HTTPD);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for length in 0..2000 {
        let bytes = (0..length % 600).map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random.to_le_bytes()[0]
        });
        let mut bytes = bytes.collect::<Vec<_>>();
        // Marked as a response. A response must never get a response, or two servers would
        // exchange messages for ever.
        if let Some(flags) = bytes.get_mut(2) {
            *flags |= 0x80;
        }
        socket.send_to(&bytes, only(&server)).unwrap();
        let mut stream = TcpStream::connect(only(&server)).unwrap();
        // The server may close the connection during the write.
        let _ = stream.write_all(&bytes);
    }
    let answer = query_udp(only(&server), &query_message("httpd.skydns.local.", RecordType::A));
    assert_eq!(data(&answer), ["10.0.0.1"]);
    let answer = query_tcp(only(&server), &query_message("httpd.skydns.local.", RecordType::A));
    assert_eq!(data(&answer), ["10.0.0.1"]);
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 512]).is_err(), "a malformed packet got a response");
}

#[test]
fn connections_are_limited_and_slots_reused() {
    let server = server(HTTPD);
    let open = (0..300).map(|_| TcpStream::connect(only(&server)).unwrap()).collect::<Vec<_>>();
    // The server closed the oldest connection in favour of newer ones.
    let closed = |mut stream: &TcpStream| {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_))
    };
    assert!(closed(open.first().unwrap()));
    let mut last = open.last().unwrap();
    let packet = packet(&query_message("httpd.skydns.local.", RecordType::A));
    last.write_all(&u16::try_from(packet.len()).unwrap().to_be_bytes()).unwrap();
    last.write_all(&packet).unwrap();
    assert_eq!(data(&query::read_framed(&mut last)), ["10.0.0.1"]);

    drop(open);
    let deadline = Instant::now() + Duration::from_secs(10);
    while query::try_query_tcp(only(&server), &packet).is_none() {
        assert!(Instant::now() < deadline, "no connection slot becomes free");
    }
}

#[test]
fn dropping_the_server_frees_the_address() {
    let zone = query::zone(HTTPD);
    let mut listen = "127.0.0.1:0".parse().unwrap();
    for _ in 0..5 {
        let server = server_with(|settings| settings.listen = vec![listen], zone.clone());
        listen = only(&server);
        let query = query_message("httpd.skydns.local.", RecordType::A);
        assert_eq!(data(&query_tcp(listen, &query)), ["10.0.0.1"]);
    }
}

#[test]
fn server_can_be_dropped_inside_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { drop(server(HTTPD)) });
}

#[test]
fn bind_error_names_a_remedy() {
    let start = |listen: SocketAddr, forward: Vec<SocketAddr>| {
        let settings = query::settings(|settings| {
            settings.listen = vec![listen];
            settings.forward = forward;
        });
        DnsServer::start(settings, Zone::new(), &query::silent()).unwrap_err()
    };
    let server = server(HTTPD);
    let taken = start(only(&server), Vec::new());
    assert!(matches!(taken, DnsError::InUse(address) if address == only(&server)), "{taken}");
    assert!(taken.to_string().contains("another program"), "{taken}");

    let udp_only = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = start(udp_only.local_addr().unwrap(), Vec::new());
    assert!(matches!(taken, DnsError::InUse(_)), "{taken}");

    let foreign = start("192.0.2.1:0".parse().unwrap(), Vec::new());
    assert!(matches!(foreign, DnsError::AddressNotAvailable(_)), "{foreign}");

    let own = query::free_address();
    let itself = start(own, vec![own]);
    assert!(matches!(itself, DnsError::ForwardsToItself(_)), "{itself}");
}
