//! Questions about other domains, passed on to other servers.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, join_all};
use hickory_proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Edns, Message, Query};
use hickory_proto::rr::RecordType;
use slog::Logger;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::answer::Response;
use super::decode::{ClientQuery, UDP_BYTES_MAX};
use super::resource_record::Section;
use super::stats::DnsStats;
use super::upstreams::Upstreams;

/// How many different questions are out at a time; those beyond fail at once.
const IN_FLIGHT_MAX: usize = 256;

/// How many wait for their answers, those who ask the same included; those beyond fail
/// at once.
const WAITERS_MAX: usize = 1024;

/// How many names outside the domain are asked for to make one answer whole.
const EXTERNAL_NAMES_MAX: usize = 8;

/// How long an answer from the domain waits for what others know: it is useful without.
const EXTERNAL_NAME_TIMEOUT: Duration = Duration::from_millis(500);

/// The servers that know other domains. A clone is another handle of the same ones.
#[derive(Clone)]
pub(super) struct Forwarder(Arc<ForwarderInner>);

struct ForwarderInner {
    upstreams: Upstreams,
    waiters: Semaphore,
    /// What is being asked. Who asks the same waits for the same answer: a question that
    /// comes back, as two servers may forward to each other, goes out no second time.
    in_flight: Mutex<HashMap<UpstreamQuery, Pending>>,
}

/// A question as far as its answer depends on it; letters' case does not count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct UpstreamQuery {
    query: Query,
    recursion_desired: bool,
    checking_disabled: bool,
    edns: Option<bool>,
}

type Pending = Shared<BoxFuture<'static, Option<Arc<DnsResponse>>>>;

impl Forwarder {
    /// To these, in this order.
    pub(super) fn new(upstreams: Vec<SocketAddr>, stats: DnsStats, log: Logger) -> Self {
        Self(Arc::new(ForwarderInner {
            upstreams: Upstreams::new(upstreams, stats, log),
            waiters: Semaphore::new(WAITERS_MAX),
            in_flight: Mutex::default(),
        }))
    }

    /// Whether there is any.
    pub(super) fn is_configured(&self) -> bool {
        !self.0.upstreams.is_empty()
    }

    /// The bytes of the first server's answer that answers; none: all failed. The letters
    /// of its question may be another's.
    pub(super) async fn forward(&self, client_query: &ClientQuery) -> Option<Vec<u8>> {
        let response =
            self.response(UpstreamQuery::new(client_query, client_query.question.clone())).await?;
        Some(response.as_buffer().to_vec())
    }

    /// Adds what other servers say about the names that are missing. What none of
    /// them tells in time stays out, as it does where there are no such servers.
    pub(super) async fn resolve_external(
        &self,
        client_query: &ClientQuery,
        response: &mut Response,
    ) {
        let missing =
            response.external_names.iter().take(EXTERNAL_NAMES_MAX).map(async |external| {
                let query = Query::query(external.name.clone(), external.kind);
                let response = self.response(UpstreamQuery::new(client_query, query));
                let response = timeout(EXTERNAL_NAME_TIMEOUT, response).await.ok().flatten();
                response.map_or_else(Vec::new, |response| response.answers.clone())
            });
        let found = join_all(missing).await;
        for (external, records) in response.external_names.iter().zip(found) {
            let known = match external.section {
                Section::Answer => &mut response.answers,
                Section::Additional => &mut response.additionals,
            };
            for record in records {
                // The aliases on the way come once with the IPv4 addresses, and again
                // with the IPv6 ones.
                let is_repeated_alias =
                    record.record_type() == RecordType::CNAME && known.contains(&record);
                if !is_repeated_alias {
                    known.push(record);
                }
            }
        }
    }

    async fn response(&self, upstream_query: UpstreamQuery) -> Option<Arc<DnsResponse>> {
        let _permit = self.0.waiters.try_acquire().ok()?;
        self.pending(upstream_query)?.await
    }

    /// The answer that comes; none: too many are out.
    fn pending(&self, upstream_query: UpstreamQuery) -> Option<Pending> {
        let mut in_flight = self.0.in_flight();
        if let Some(pending) = in_flight.get(&upstream_query) {
            return Some(pending.clone());
        }
        if in_flight.len() >= IN_FLIGHT_MAX {
            return None;
        }
        // A task of its own: whoever gives up waiting, it is found out whether the server
        // answers.
        let task = tokio::spawn(self.query_upstreams(upstream_query.clone()));
        let pending = task.map(|finished| finished.ok().flatten()).boxed().shared();
        in_flight.insert(upstream_query, pending.clone());
        Some(pending)
    }

    fn query_upstreams(
        &self,
        upstream_query: UpstreamQuery,
    ) -> impl Future<Output = Option<Arc<DnsResponse>>> + Send + use<> {
        let (request, guard) =
            (upstream_query.request(), InFlightGuard { forwarder: self.0.clone(), upstream_query });
        async move { guard.forwarder.upstreams.query(&request).await.map(Arc::new) }
    }
}

impl ForwarderInner {
    fn in_flight(&self) -> MutexGuard<'_, HashMap<UpstreamQuery, Pending>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Its drop ends that the question is out.
struct InFlightGuard {
    forwarder: Arc<ForwarderInner>,
    upstream_query: UpstreamQuery,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let finished = self.forwarder.in_flight().remove(&self.upstream_query);
        // Not while the map is locked: with its last handle a task may end.
        drop(finished);
    }
}

impl UpstreamQuery {
    /// This query, in the manner of a question.
    fn new(client_query: &ClientQuery, query: Query) -> Self {
        Self {
            query,
            recursion_desired: client_query.recursion_desired,
            checking_disabled: client_query.checking_disabled,
            edns: client_query.edns,
        }
    }

    /// As it is asked of another server: with EDNS where it came with it.
    fn request(&self) -> DnsRequest {
        let mut message = Message::query();
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.checking_disabled = self.checking_disabled;
        message.add_query(self.query.clone());
        if let Some(dnssec) = self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_BYTES_MAX).set_dnssec_ok(dnssec);
            message.set_edns(edns);
        }
        DnsRequest::new(message, DnsRequestOptions::default())
    }
}
