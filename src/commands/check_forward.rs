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
const TRIES: u32 = 2;

/// How long it is waited for an answer, each time.
const ONE_TRY: Duration = Duration::from_secs(1);

/// More than an answer to this question has by UDP.
const LARGEST: usize = 4096;

/// Why a server is of no use.
#[derive(Debug, Error)]
enum Useless {
    /// It can't be asked.
    #[error("{0}; does a DNS server run there?")]
    Unreachable(#[from] io::Error),
    /// It does not answer.
    #[error(
        "no answer within {} s; does a DNS server run there, and does a firewall let questions \
         through?",
        (ONE_TRY * TRIES).as_secs()
    )]
    Silent,
    /// It does not answer to this host.
    #[error("it answers {}; does it serve this host?", name_of(*.0))]
    Refuses(ResponseCode),
    /// No question could be made.
    #[error(transparent)]
    Question(#[from] ProtoError),
}

/// Asks a server by UDP for the root's servers, which whoever looks up other names knows.
/// What holds, or why not.
pub(super) async fn forward_verdict(server: SocketAddr) -> Result<String, String> {
    match ask(server).await {
        Ok(ResponseCode::NoError) => Ok(format!("{server}: answers")),
        // It may have no way to the root, and know the names of a company all the same.
        Ok(code) => Ok(format!("{server}: answers, but with {}", name_of(code))),
        Err(why) => {
            Err(format!("asking {server} for DNS: {why} If not, name another in dns.forward"))
        }
    }
}

async fn ask(server: SocketAddr) -> Result<ResponseCode, Useless> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(Name::root(), RecordType::NS));
    let bytes = question.to_vec()?;
    let from: SocketAddr = match server.is_ipv4() {
        true => (Ipv4Addr::UNSPECIFIED, 0).into(),
        false => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(from).await?;
    socket.connect(server).await?;
    for _ in 0..TRIES {
        socket.send(&bytes).await?;
        let Ok(code) = timeout(ONE_TRY, answer_to(question.metadata.id, &socket)).await else {
            continue;
        };
        return match code? {
            code @ (ResponseCode::Refused | ResponseCode::NotImp) => Err(Useless::Refuses(code)),
            code => Ok(code),
        };
    }
    Err(Useless::Silent)
}

/// Waits for the answer to the question of this number, and passes over what is none.
async fn answer_to(id: u16, socket: &UdpSocket) -> io::Result<ResponseCode> {
    let mut bytes = [0; LARGEST];
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
fn name_of(code: ResponseCode) -> String {
    match code {
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        other => format!("code {}", u16::from(other)),
    }
}
