//! Tests the upstreams of `dns.forward` by one query each.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::ProtoError;
use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use thiserror::Error;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::dns::RESPONSE_CODES;

/// The number of attempts per upstream, because UDP may lose a packet.
const ATTEMPTS_MAX: u32 = 2;

/// The time limit of one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);

/// The size of the receive buffer. No UDP response to this query is larger.
const RESPONSE_BYTES_MAX: usize = 4096;

/// An unusable upstream.
#[derive(Debug, Error)]
enum ForwarderError {
    /// The query cannot be sent.
    #[error("{0}; does a DNS server run there?")]
    Unreachable(#[from] io::Error),
    /// All attempts timed out.
    #[error(
        "no answer within {} s; does a DNS server run there, and does a firewall let queries \
         through?",
        (ATTEMPT_TIMEOUT * ATTEMPTS_MAX).as_secs()
    )]
    Timeout,
    /// The upstream refuses queries from this host (REFUSED).
    #[error("it answers {}; does it serve this host?", rcode_name(*.0))]
    Refused(ResponseCode),
    /// The query cannot be encoded.
    #[error(transparent)]
    Encoding(#[from] ProtoError),
}

/// Tests an upstream by a UDP query for the name servers of the root zone, which every resolver
/// knows.
///
/// # Errors
/// Returns the reason and a remedy if the upstream is unusable.
pub(super) async fn check_forwarder(upstream: SocketAddr) -> Result<String, String> {
    match send_query(upstream).await {
        Ok(ResponseCode::NoError) => Ok(format!("{upstream}: answers")),
        // An upstream without access to the root zone may still serve internal names.
        Ok(code) => Ok(format!("{upstream}: answers, but with {}", rcode_name(code))),
        Err(error) => {
            Err(format!("query to {upstream}: {error} If not, set another server in dns.forward"))
        }
    }
}

async fn send_query(server: SocketAddr) -> Result<ResponseCode, ForwarderError> {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::root(), RecordType::NS));
    let bytes = query.to_vec()?;
    let from: SocketAddr = if server.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(from).await?;
    socket.connect(server).await?;
    for _ in 0..ATTEMPTS_MAX {
        socket.send(&bytes).await?;
        let Ok(code) = timeout(ATTEMPT_TIMEOUT, receive_response(query.metadata.id, &socket)).await
        else {
            continue;
        };
        return match code? {
            code @ (ResponseCode::Refused | ResponseCode::NotImp) => {
                Err(ForwarderError::Refused(code))
            }
            code => Ok(code),
        };
    }
    Err(ForwarderError::Timeout)
}

/// Waits for the response with this id, and ignores all other packets.
async fn receive_response(id: u16, socket: &UdpSocket) -> io::Result<ResponseCode> {
    let mut bytes = [0; RESPONSE_BYTES_MAX];
    loop {
        let length = socket.recv(&mut bytes).await?;
        let Ok(message) = Message::from_vec(&bytes[..length]) else { continue };
        let metadata = message.metadata;
        if metadata.id == id && metadata.message_type == MessageType::Response {
            return Ok(metadata.response_code);
        }
    }
}

/// The number of response codes whose name in [`RESPONSE_CODES`] has the index of the code.
const NAMED_CODES: usize = 6;

/// Returns the name of a response code in DNS, or its number.
fn rcode_name(code: ResponseCode) -> String {
    let number = u16::from(code);
    match RESPONSE_CODES[..NAMED_CODES].get(usize::from(number)) {
        Some(name) => (*name).to_owned(),
        None => format!("code {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_common_response_codes() {
        for (code, name) in [
            (ResponseCode::NoError, "NOERROR"),
            (ResponseCode::FormErr, "FORMERR"),
            (ResponseCode::ServFail, "SERVFAIL"),
            (ResponseCode::NXDomain, "NXDOMAIN"),
            (ResponseCode::NotImp, "NOTIMP"),
            (ResponseCode::Refused, "REFUSED"),
            (ResponseCode::YXDomain, "code 6"),
        ] {
            assert_eq!(rcode_name(code), name);
        }
    }
}
