//! [`DnsStats`]: the counters of the DNS server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hickory_proto::op::ResponseCode;

/// The names of the response codes with a counter of their own, in the order of
/// [`DnsStatsSnapshot::responses`].
pub const RESPONSE_CODES: [&str; 8] =
    ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "BADVERS", "other"];

/// The counts since the start of the DNS server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsStatsSnapshot {
    /// Queries over UDP.
    pub queries_udp: u64,
    /// Queries over TCP.
    pub queries_tcp: u64,
    /// Responses by code, in the order of [`RESPONSE_CODES`].
    pub responses: [u64; RESPONSE_CODES.len()],
    /// Queries forwarded to upstreams.
    pub forwarded: u64,
    /// Failed attempts to get a response from an upstream.
    pub forward_failures: u64,
    /// Queries above the rate limit. They got an empty truncated response, or none.
    pub rate_limited: u64,
    /// Packets that were not valid queries and got no response.
    pub dropped: u64,
}

/// The running counters. A clone shares them.
#[derive(Clone, Debug, Default)]
pub struct DnsStats(Arc<DnsCounters>);

#[derive(Debug, Default)]
pub(super) struct DnsCounters {
    pub(super) queries_udp: AtomicU64,
    pub(super) queries_tcp: AtomicU64,
    pub(super) responses: [AtomicU64; RESPONSE_CODES.len()],
    pub(super) forwarded: AtomicU64,
    pub(super) forward_failures: AtomicU64,
    pub(super) rate_limited: AtomicU64,
    pub(super) dropped: AtomicU64,
}

impl DnsStats {
    /// Reads all counters.
    pub fn read(&self) -> DnsStatsSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DnsStatsSnapshot {
            queries_udp: read(&self.0.queries_udp),
            queries_tcp: read(&self.0.queries_tcp),
            responses: self.0.responses.each_ref().map(read),
            forwarded: read(&self.0.forwarded),
            forward_failures: read(&self.0.forward_failures),
            rate_limited: read(&self.0.rate_limited),
            dropped: read(&self.0.dropped),
        }
    }

    /// Counts a response with this code.
    pub(super) fn count_response(&self, code: ResponseCode) {
        let index = match code {
            ResponseCode::NoError => 0,
            ResponseCode::FormErr => 1,
            ResponseCode::ServFail => 2,
            ResponseCode::NXDomain => 3,
            ResponseCode::NotImp => 4,
            ResponseCode::Refused => 5,
            ResponseCode::BADVERS | ResponseCode::BADSIG => 6,
            _ => 7,
        };
        if let Some(counter) = self.0.responses.get(index) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Increments one counter.
    pub(super) fn count(&self, select: impl FnOnce(&DnsCounters) -> &AtomicU64) {
        select(&self.0).fetch_add(1, Ordering::Relaxed);
    }
}
