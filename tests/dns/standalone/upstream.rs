//! An upstream with scripted behaviour.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};

/// The behaviour of an upstream.
#[derive(Clone, Copy, Debug)]
pub enum Behaviour {
    /// Responds with this number of addresses. A UDP response that exceeds the size limit of the
    /// query is empty and truncated.
    Addresses(u8),
    /// Responds with this code.
    Code(ResponseCode),
    /// Responds with the flags and the EDNS options of the query, and with the flag AD if the
    /// query has it.
    Echo,
    /// Does not respond.
    Silent,
}

/// A running upstream. It runs until the test process ends.
pub struct Upstream {
    pub address: SocketAddr,
    queries: Arc<AtomicUsize>,
}

impl Upstream {
    pub fn start(behaviour: Behaviour) -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) else { continue };
            break (udp, tcp);
        };
        let address = udp.local_addr().unwrap();
        let queries = Arc::new(AtomicUsize::new(0));
        let counter = queries.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok((length, source)) = udp.recv_from(&mut bytes) {
                counter.fetch_add(1, Ordering::Relaxed);
                let Some(answer) = answer(behaviour, &bytes[..length], true) else { continue };
                udp.send_to(&answer, source).unwrap();
            }
        });
        thread::spawn(move || {
            for stream in tcp.incoming() {
                let mut stream = stream.unwrap();
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut bytes).unwrap();
                let Some(answer) = answer(behaviour, &bytes, false) else { continue };
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length, answer.as_slice()].concat()).unwrap();
            }
        });
        Self { address, queries }
    }

    /// Returns the number of queries over UDP.
    pub fn query_count(&self) -> usize {
        self.queries.load(Ordering::Relaxed)
    }
}

fn answer(behaviour: Behaviour, question: &[u8], udp: bool) -> Option<Vec<u8>> {
    let mut message = Message::from_vec(question).unwrap();
    let size = usize::from(message.edns.as_ref().map_or(512, |edns| edns.max_payload()));
    message.metadata.message_type = MessageType::Response;
    message.metadata.recursion_available = true;
    let name = message.queries[0].name.clone();
    match behaviour {
        Behaviour::Silent => return None,
        Behaviour::Echo => {}
        Behaviour::Code(code) => message.metadata.response_code = code,
        Behaviour::Addresses(count) => {
            let address = |i| RData::A(A(Ipv4Addr::new(192, 0, 2, i)));
            let record = |i| Record::from_rdata(name.clone(), 77, address(i));
            message.add_answers((0..count).map(record));
        }
    }
    let bytes = message.to_vec().unwrap();
    if !udp || bytes.len() <= size {
        return Some(bytes);
    }
    message.answers.clear();
    message.metadata.truncation = true;
    Some(message.to_vec().unwrap())
}
