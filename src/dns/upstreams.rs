//! The servers of `dns.forward`: which of them is asked, and what came of it.

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

/// How long a server that failed is asked last; then one question tries it again.
const FAILED_UPSTREAM_COOLDOWN: Duration = Duration::from_secs(10);

/// The answers that say that another server may do better.
const FAILURE_CODES: [ResponseCode; 3] =
    [ResponseCode::ServFail, ResponseCode::NotImp, ResponseCode::Refused];

/// The servers, in the order of the settings.
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
    /// When it is tried again; none: it has not failed.
    failed_until: Option<Instant>,
}

impl Upstreams {
    /// These, in this order.
    pub(super) fn new(addresses: Vec<SocketAddr>, stats: DnsStats, log: Logger) -> Self {
        let upstream = |address| Upstream { address, health: Mutex::default() };
        Self { upstreams: addresses.into_iter().map(upstream).collect(), stats, log }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.upstreams.is_empty()
    }

    /// The first server's answer that answers; none: all failed.
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

    /// All of them, those that failed behind the others.
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
            notice!(self.log, "a server of dns.forward answers again"; "server" => %upstream.address);
        }
    }

    fn mark_failed(&self, upstream: &Upstream, started: Instant, error: &NetError) {
        self.stats.count(|counters| &counters.forward_failures);
        let had_failed = {
            let mut health = upstream.health();
            // It answers others: what it has no answer to is that one question.
            if health.responded_at.is_some_and(|responded_at| responded_at > started) {
                return;
            }
            health.failed_until.replace(Instant::now() + FAILED_UPSTREAM_COOLDOWN).is_some()
        };
        if !had_failed {
            warn!(self.log, "a server of dns.forward does not answer; it is asked last until it does";
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
    /// Whether it is asked in its turn: it has not failed, or is to be tried again, by this
    /// question alone.
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
