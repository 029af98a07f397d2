//! The servers of `dns.forward`: which of them is asked, and what came of it.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hickory_net::NetError;
use hickory_proto::op::{DnsRequest, DnsResponse, ResponseCode};
use highhock_actors::notice;
use slog::{Logger, warn};
use tokio::time::{Instant, timeout};

use super::stats::Counts;
use super::upstream_query::exchange;
use crate::dns::upstream_query::ONE_SERVER;

/// How long a server that failed is asked last; then one question tries it again.
const ASKED_LAST: Duration = Duration::from_secs(10);

/// The answers that say that another server may do better.
const FAILED: [ResponseCode; 3] =
    [ResponseCode::ServFail, ResponseCode::NotImp, ResponseCode::Refused];

/// The servers, in the order of the settings.
pub(super) struct Servers {
    servers: Vec<Server>,
    counts: Counts,
    log: Logger,
}

struct Server {
    address: SocketAddr,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Health {
    answered: Option<Instant>,
    /// When it is tried again; none: it has not failed.
    failed_until: Option<Instant>,
}

impl Servers {
    /// These, in this order.
    pub(super) fn new(addresses: Vec<SocketAddr>, counts: Counts, log: Logger) -> Self {
        let server = |address| Server { address, health: Mutex::default() };
        Self { servers: addresses.into_iter().map(server).collect(), counts, log }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// The first server's answer that answers; none: all failed.
    pub(super) async fn ask(&self, request: &DnsRequest) -> Option<DnsResponse> {
        for server in self.in_turn() {
            let begun = Instant::now();
            let response = match timeout(ONE_SERVER, exchange(server.address, request)).await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => {
                    self.failed(server, begun, &error);
                    continue;
                }
                Err(_) => {
                    self.failed(server, begun, &NetError::Timeout);
                    continue;
                }
            };
            self.answered(server);
            if !FAILED.contains(&response.metadata.response_code) {
                return Some(response);
            }
        }
        None
    }

    /// All of them, those that failed behind the others.
    fn in_turn(&self) -> Vec<&Server> {
        let now = Instant::now();
        let (mut first, last): (Vec<_>, Vec<_>) =
            self.servers.iter().partition(|server| server.health().is_to_be_tried(now));
        first.extend(last);
        first
    }

    fn answered(&self, server: &Server) {
        let was_failed = {
            let mut health = server.health();
            health.answered = Some(Instant::now());
            health.failed_until.take().is_some()
        };
        if was_failed {
            notice!(self.log, "a server of dns.forward answers again"; "server" => %server.address);
        }
    }

    fn failed(&self, server: &Server, begun: Instant, error: &NetError) {
        self.counts.count(|counters| &counters.forward_failures);
        let had_failed = {
            let mut health = server.health();
            // It answers others: what it has no answer to is that one question.
            if health.answered.is_some_and(|answered| answered > begun) {
                return;
            }
            health.failed_until.replace(Instant::now() + ASKED_LAST).is_some()
        };
        if !had_failed {
            warn!(self.log, "a server of dns.forward does not answer; it is asked last until it does";
                "server" => %server.address, "error" => %error);
        }
    }
}

impl Server {
    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Health {
    /// Whether it is asked in its turn: it has not failed, or is to be tried again, by this
    /// question alone.
    fn is_to_be_tried(&mut self, now: Instant) -> bool {
        match self.failed_until {
            None => true,
            Some(until) if until <= now => {
                self.failed_until = Some(now + ASKED_LAST);
                true
            }
            Some(_) => false,
        }
    }
}
