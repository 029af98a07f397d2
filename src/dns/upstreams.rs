//! [`Upstreams`]: chooses an upstream and tracks its health. See "Forwarding" in
//! `config/dns.md`.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hickory_net::NetError;
use hickory_proto::op::{DnsRequest, DnsResponse, ResponseCode};
use highhock_actors::notice;
use slog::{Logger, warn};
use tokio::time::{Instant, timeout};

use super::stats::DnsStats;
use super::upstream_query::exchange;
use crate::dns::upstream_query::UPSTREAM_TIMEOUT;

/// The time for which a failed upstream is used last. After that, one query probes it.
const FAILED_UPSTREAM_COOLDOWN: Duration = Duration::from_secs(10);

/// Responses with these codes cause a query to the next upstream.
const FAILURE_CODES: [ResponseCode; 3] =
    [ResponseCode::ServFail, ResponseCode::NotImp, ResponseCode::Refused];

/// The upstreams in order of preference.
pub(super) struct Upstreams {
    upstreams: Vec<Upstream>,
    stats: DnsStats,
    log: Logger,
}

struct Upstream {
    address: SocketAddr,
    health: Mutex<UpstreamHealth>,
}

#[derive(Default)]
struct UpstreamHealth {
    responded_at: Option<Instant>,
    /// The time of the next probe. `None` for a healthy upstream.
    failed_until: Option<Instant>,
}

impl Upstreams {
    /// Creates upstreams in order of preference.
    pub(super) fn new(addresses: Vec<SocketAddr>, stats: DnsStats, log: Logger) -> Self {
        let upstream = |address| Upstream { address, health: Mutex::default() };
        Self { upstreams: addresses.into_iter().map(upstream).collect(), stats, log }
    }

    /// Returns `true` if there are no upstreams.
    pub(super) fn is_empty(&self) -> bool {
        self.upstreams.is_empty()
    }

    /// Returns the response of the first upstream that responds, or `None` if all failed.
    pub(super) async fn query(&self, request: &DnsRequest) -> Option<DnsResponse> {
        for upstream in self.by_preference() {
            let started = Instant::now();
            let response =
                match timeout(UPSTREAM_TIMEOUT, exchange(upstream.address, request)).await {
                    Ok(Ok(response)) => response,
                    Ok(Err(error)) => {
                        self.mark_failed(upstream, started, &error);
                        continue;
                    }
                    Err(_) => {
                        self.mark_failed(upstream, started, &NetError::Timeout);
                        continue;
                    }
                };
            self.mark_responded(upstream);
            if !FAILURE_CODES.contains(&response.metadata.response_code) {
                return Some(response);
            }
        }
        None
    }

    /// Returns all upstreams, with the failed ones last.
    fn by_preference(&self) -> Vec<&Upstream> {
        let now = Instant::now();
        let (mut first, last): (Vec<_>, Vec<_>) =
            self.upstreams.iter().partition(|upstream| upstream.health().is_due(now));
        first.extend(last);
        first
    }

    fn mark_responded(&self, upstream: &Upstream) {
        let was_failed = {
            let mut health = upstream.health();
            health.responded_at = Some(Instant::now());
            health.failed_until.take().is_some()
        };
        if was_failed {
            notice!(self.log, "upstream responds again"; "server" => %upstream.address);
        }
    }

    fn mark_failed(&self, upstream: &Upstream, started: Instant, error: &NetError) {
        self.stats.count(|counters| &counters.forward_failures);
        let had_failed = {
            let mut health = upstream.health();
            // The upstream responded to another query meanwhile, so only this query failed.
            if health.responded_at.is_some_and(|responded_at| responded_at > started) {
                return;
            }
            health.failed_until.replace(Instant::now() + FAILED_UPSTREAM_COOLDOWN).is_some()
        };
        if !had_failed {
            warn!(self.log, "upstream does not respond; using it last until it responds";
                "server" => %upstream.address, "error" => %error);
        }
    }
}

impl Upstream {
    fn health(&self) -> std::sync::MutexGuard<'_, UpstreamHealth> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UpstreamHealth {
    /// Returns `true` if the upstream is healthy or due for a probe. The probe is then reserved
    /// for the caller.
    fn is_due(&mut self, now: Instant) -> bool {
        match self.failed_until {
            None => true,
            Some(until) if until <= now => {
                self.failed_until = Some(now + FAILED_UPSTREAM_COOLDOWN);
                true
            }
            Some(_) => false,
        }
    }
}
