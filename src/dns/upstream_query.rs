//! One question to one server, and its answer.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use hickory_net::NetError;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::tcp::TcpClientStream;
use hickory_net::udp::UdpClientStream;
use hickory_net::xfer::{DnsExchange, DnsHandle};
use hickory_proto::op::{DnsRequest, DnsResponse};

/// How long one server is given, over UDP and TCP together.
pub(super) const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks by UDP, and again by TCP where the answer is cut.
///
/// # Errors
/// There is no answer.
pub(super) async fn exchange(
    upstream: SocketAddr,
    request: &DnsRequest,
) -> Result<DnsResponse, NetError> {
    // Held to the end: what it runs in the background ends with its last handle.
    let provider = TokioRuntimeProvider::default();
    let udp =
        UdpClientStream::builder(upstream, provider.clone()).with_timeout(Some(UPSTREAM_TIMEOUT));
    let response = first_response(&udp.exchange(), request.clone()).await?;
    if !response.metadata.truncation {
        return Ok(response);
    }
    let tcp =
        TcpClientStream::exchange(upstream, None, UPSTREAM_TIMEOUT, None, provider.clone()).await?;
    first_response(&tcp, request.clone()).await
}

async fn first_response(
    exchange: &DnsExchange<TokioRuntimeProvider>,
    request: DnsRequest,
) -> Result<DnsResponse, NetError> {
    match exchange.send(request).next().await {
        Some(response) => response,
        None => Err(NetError::from("no answer")),
    }
}
