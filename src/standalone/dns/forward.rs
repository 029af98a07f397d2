//! Questions about other domains, passed on to other servers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use hickory_net::NetError;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::tcp::TcpClientStream;
use hickory_net::udp::UdpClientStream;
use hickory_net::xfer::{DnsExchange, DnsHandle};
use hickory_proto::op::{
    DnsRequest, DnsRequestOptions, DnsResponse, Edns, Message, Query, ResponseCode,
};
use hickory_proto::rr::RecordType;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::answer::{Answer, Section};
use super::question::{Question, UDP_SIZE};

/// How long one server is given, over UDP and TCP together.
const ONE_SERVER: Duration = Duration::from_secs(2);

/// How many questions are out at a time; those beyond fail at once.
const OUT: usize = 256;

/// How many names outside the domain are asked for to make one answer whole.
const NAMES: usize = 8;

/// The answers that say that another server may do better.
const FAILED: [ResponseCode; 3] =
    [ResponseCode::ServFail, ResponseCode::NotImp, ResponseCode::Refused];

/// The servers that know other domains.
pub(super) struct Forwarder {
    servers: Vec<SocketAddr>,
    room: Semaphore,
}

impl Forwarder {
    /// These, in this order.
    pub(super) fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers, room: Semaphore::new(OUT) }
    }

    /// Whether there is any.
    pub(super) fn is_there(&self) -> bool {
        !self.servers.is_empty()
    }

    /// The bytes of the first server's answer that answers; none: all failed.
    pub(super) async fn ask(&self, question: &Question) -> Option<Vec<u8>> {
        Some(self.response(question, question.query.clone()).await?.into_buffer())
    }

    /// Adds what other servers say about the names that are missing. What none of
    /// them tells stays out, as it does where there are no such servers.
    pub(super) async fn complete(&self, question: &Question, answer: &mut Answer) {
        let missing = answer.elsewhere.iter().take(NAMES).map(async |elsewhere| {
            let query = Query::query(elsewhere.name.clone(), elsewhere.kind);
            let response = self.response(question, query).await;
            response.map_or_else(Vec::new, |response| response.into_message().answers)
        });
        let found = join_all(missing).await;
        for (elsewhere, records) in answer.elsewhere.iter().zip(found) {
            let known = match elsewhere.section {
                Section::Answer => &mut answer.answers,
                Section::Additional => &mut answer.additionals,
            };
            for record in records {
                // The aliases on the way come once with the IPv4 addresses, and again
                // with the IPv6 ones.
                let again = record.record_type() == RecordType::CNAME && known.contains(&record);
                if !again {
                    known.push(record);
                }
            }
        }
    }

    async fn response(&self, question: &Question, query: Query) -> Option<DnsResponse> {
        let _room = self.room.try_acquire().ok()?;
        for server in &self.servers {
            let request = request(question, query.clone());
            let asked = timeout(ONE_SERVER, ask_one(*server, request)).await;
            if let Ok(Ok(response)) = asked
                && !FAILED.contains(&response.metadata.response_code)
            {
                return Some(response);
            }
        }
        None
    }
}

/// The question as it is asked of another server: with EDNS where it came with it.
fn request(question: &Question, query: Query) -> DnsRequest {
    let mut message = Message::query();
    message.metadata.recursion_desired = question.recursion_desired;
    message.metadata.checking_disabled = question.checking_disabled;
    message.add_query(query);
    if let Some(dnssec) = question.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_SIZE).set_dnssec_ok(dnssec);
        message.set_edns(edns);
    }
    DnsRequest::new(message, DnsRequestOptions::default())
}

async fn ask_one(server: SocketAddr, request: DnsRequest) -> Result<DnsResponse, NetError> {
    // Held to the end: what it runs in the background ends with its last handle.
    let provider = TokioRuntimeProvider::default();
    let udp = UdpClientStream::builder(server, provider.clone()).with_timeout(Some(ONE_SERVER));
    let response = first(&udp.exchange(), request.clone()).await?;
    if !response.metadata.truncation {
        return Ok(response);
    }
    let tcp = TcpClientStream::exchange(server, None, ONE_SERVER, None, provider.clone()).await?;
    first(&tcp, request).await
}

async fn first(
    exchange: &DnsExchange<TokioRuntimeProvider>,
    request: DnsRequest,
) -> Result<DnsResponse, NetError> {
    match exchange.send(request).next().await {
        Some(response) => response,
        None => Err(NetError::from("no answer")),
    }
}

/// Whether questions from here are passed on: only those from this host and from
/// private networks, lest strangers have others flooded with answers.
///
/// Loopback; RFC 1918, 4193 and 6598; link-local.
pub(super) fn may_forward(source: IpAddr) -> bool {
    match source.to_canonical() {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let shared = first == 100 && second & 0xc0 == 64;
            address.is_loopback() || address.is_private() || address.is_link_local() || shared
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_and_private_networks_are_forwarded_for() {
        let may = |text: &str| may_forward(text.parse().expect("an address"));
        for near in [
            "127.0.0.1",
            "::1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.7.7",
            "100.64.0.1",
            "100.127.255.255",
            "fd00::1",
            "fe80::1",
            "::ffff:10.1.2.3",
        ] {
            assert!(may(near), "{near}");
        }
        for far in
            ["8.8.8.8", "172.32.0.1", "100.63.0.1", "100.128.0.1", "2001:db8::1", "::ffff:8.8.8.8"]
        {
            assert!(!may(far), "{far}");
        }
    }
}
