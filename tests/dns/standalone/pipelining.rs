//! Several queries on one TCP connection, some of which wait for an upstream.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use highhock::dns::DnsServer;

use crate::query::{packet, query_message, read_framed, server_with, zone};
use crate::upstream::{Behaviour, Upstream};

const HTTPD: &[(&str, &str)] = &[("httpd", r#"{"host":"10.0.0.1"}"#)];

fn forwarding(server: SocketAddr) -> DnsServer {
    server_with(|settings| settings.forward = vec![server], zone(HTTPD))
}

fn framed(name: &str, id: u16) -> Vec<u8> {
    let mut message = query_message(name, RecordType::A);
    message.metadata.id = id;
    let packet = packet(&message);
    [&u16::try_from(packet.len()).unwrap().to_be_bytes(), packet.as_slice()].concat()
}

fn connect(server: &DnsServer) -> TcpStream {
    let stream = TcpStream::connect(server.addresses()[0]).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn id_and_code(message: &Message) -> (u16, ResponseCode) {
    (message.metadata.id, message.metadata.response_code)
}

#[test]
fn local_answers_overtake_forwarded_queries() {
    let dead = Upstream::start(Behaviour::Silent);
    let server = forwarding(dead.address);
    let mut stream = connect(&server);
    let local = |id| framed("httpd.skydns.local.", id);
    let queries = [framed("a.example.org.", 1), local(2), framed("b.example.org.", 3), local(4)];
    stream.write_all(&queries.concat()).unwrap();
    for id in [2, 4] {
        assert_eq!(id_and_code(&read_framed(&mut stream)), (id, ResponseCode::NoError));
    }
    // The connection serves further queries while the upstream is silent.
    stream.write_all(&local(5)).unwrap();
    assert_eq!(id_and_code(&read_framed(&mut stream)), (5, ResponseCode::NoError));
    let late = [read_framed(&mut stream), read_framed(&mut stream)];
    let late = late.each_ref().map(id_and_code).map(|(id, code)| (id, code.to_string()));
    let failed = |id| (id, ResponseCode::ServFail.to_string());
    assert_eq!(BTreeSet::from(late), BTreeSet::from([failed(1), failed(3)]));
}

#[test]
fn every_query_beyond_the_limit_is_answered() {
    let dead = Upstream::start(Behaviour::Silent);
    let server = forwarding(dead.address);
    let mut stream = connect(&server);
    let queries = (0..150).map(|id| framed(&format!("n{id}.example.org."), id));
    stream.write_all(&queries.collect::<Vec<_>>().concat()).unwrap();
    let ids = (0..150).map(|_| read_framed(&mut stream).metadata.id);
    assert_eq!(ids.collect::<BTreeSet<_>>(), (0..150).collect());
}

#[test]
fn half_closed_connection_gets_its_answers() {
    let dead = Upstream::start(Behaviour::Silent);
    let server = forwarding(dead.address);
    let mut stream = connect(&server);
    stream.write_all(&framed("a.example.org.", 1)).unwrap();
    stream.write_all(&framed("httpd.skydns.local.", 2)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(id_and_code(&read_framed(&mut stream)), (2, ResponseCode::NoError));
    assert_eq!(id_and_code(&read_framed(&mut stream)), (1, ResponseCode::ServFail));
    // The server closes the connection after the last answer.
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}
