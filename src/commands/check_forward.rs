//! Whether the servers that are asked about other domains answer.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::ProtoError;
use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use thiserror::Error;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// How often a server is asked, since a packet may be lost.
const ATTEMPTS_MAX: u32 = 2;

/// How long it is waited for an answer, each time.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);

/// More than an answer to this question has by UDP.
const RESPONSE_BYTES_MAX: usize = 4096;

/// Why a server is of no use.
#[derive(Debug, Error)]
enum ForwarderError {
    /// It can't be asked.
    #[error("{0}; does a DNS server run there?")]
    Unreachable(#[from] io::Error),
    /// It does not answer.
    #[error(
        "no answer within {} s; does a DNS server run there, and does a firewall let questions \
         through?",
        (ATTEMPT_TIMEOUT * ATTEMPTS_MAX).as_secs()
    )]
    Timeout,
    /// It does not answer to this host.
    #[error("it answers {}; does it serve this host?", rcode_name(*.0))]
    Refused(ResponseCode),
    /// No question could be made.
    #[error(transparent)]
    Encoding(#[from] ProtoError),
}

/// Asks a server by UDP for the root's servers, which whoever looks up other names knows.
/// What holds, or why not.
pub(super) async fn check_forwarder(server: SocketAddr) -> Result<String, String> {
    match send_query(server).await {
        Ok(ResponseCode::NoError) => Ok(format!("{server}: answers")),
        // It may have no way to the root, and know the names of a company all the same.
        Ok(code) => Ok(format!("{server}: answers, but with {}", rcode_name(code))),
        Err(error) => {
            Err(format!("asking {server} for DNS: {error} If not, name another in dns.forward"))
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

/// Waits for the answer to the question of this number, and passes over what is none.
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

/// The code's name in DNS.
fn rcode_name(code: ResponseCode) -> String {
    match code {
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        other => format!("code {}", u16::from(other)),
    }
}
