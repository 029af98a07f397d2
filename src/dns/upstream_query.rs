//! Sends one query to one upstream.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use hickory_net::NetError;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::tcp::TcpClientStream;
use hickory_net::udp::UdpClientStream;
use hickory_net::xfer::{DnsExchange, DnsHandle};
use hickory_proto::op::{DnsRequest, DnsResponse};

/// The time limit for one upstream, over UDP and TCP together.
pub(super) const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends a query by UDP, and repeats it by TCP if the response is truncated (RFC 7766, section
/// 5).
///
/// # Errors
/// Returns an error if the upstream does not respond.
pub(super) async fn exchange(
    upstream: SocketAddr,
    request: &DnsRequest,
) -> Result<DnsResponse, NetError> {
    // Kept until the end, because its last handle stops the background tasks.
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
        None => Err(NetError::from("no response")),
    }
}
