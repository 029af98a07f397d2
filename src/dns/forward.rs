//! [`Forwarder`]: forwards queries for other domains to the upstreams.

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
use super::edns_options::{self, ForwardedOption};
use super::resource_record::Section;
use super::stats::DnsStats;
use super::upstreams::Upstreams;

/// The maximum number of distinct queries in flight. Further queries fail at once.
const IN_FLIGHT_MAX: usize = 256;

/// The maximum number of clients that wait for upstreams, including clients that share a query.
/// Further queries fail at once.
const WAITERS_MAX: usize = 1024;

/// The maximum number of external names resolved for one response.
const EXTERNAL_NAMES_MAX: usize = 8;

/// The time that a response from the zone waits for upstreams. The response is useful without
/// their records.
const EXTERNAL_NAME_TIMEOUT: Duration = Duration::from_millis(500);

/// Forwards queries to the upstreams, with limits. A clone shares the upstreams and the limits.
///
/// Identical queries share one query to the upstreams. Two servers that forward to each other
/// therefore do not multiply a query.
#[derive(Clone)]
pub(super) struct Forwarder(Arc<ForwarderInner>);

struct ForwarderInner {
    upstreams: Upstreams,
    waiters: Semaphore,
    /// The queries in flight.
    in_flight: Mutex<HashMap<UpstreamQuery, Pending>>,
}

/// The fields of a query that the response of an upstream depends on. Names are compared without
/// letter case (RFC 4343, section 3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct UpstreamQuery {
    query: Query,
    recursion_desired: bool,
    authentic_data: bool,
    checking_disabled: bool,
    edns: Option<bool>,
    edns_options: Vec<ForwardedOption>,
}

type Pending = Shared<BoxFuture<'static, Option<Arc<DnsResponse>>>>;

impl Forwarder {
    /// Creates a forwarder to the upstreams, in order of preference.
    pub(super) fn new(upstreams: Vec<SocketAddr>, stats: DnsStats, log: Logger) -> Self {
        Self(Arc::new(ForwarderInner {
            upstreams: Upstreams::new(upstreams, stats, log),
            waiters: Semaphore::new(WAITERS_MAX),
            in_flight: Mutex::default(),
        }))
    }

    /// Returns `true` if there is an upstream.
    pub(super) fn is_configured(&self) -> bool {
        !self.0.upstreams.is_empty()
    }

    /// Returns the encoded response of the first upstream that responds, or `None` if all
    /// upstreams failed. The letter case of the question may be that of another client.
    pub(super) async fn forward(&self, client_query: &ClientQuery) -> Option<Vec<u8>> {
        let response =
            self.response(UpstreamQuery::new(client_query, client_query.question.clone())).await?;
        Some(response.as_buffer().to_vec())
    }

    /// Adds the records of the external names in a response. Records that no upstream returns in
    /// time are missing, as they are without upstreams.
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
                // The lookups of A and of AAAA both return the aliases on the path.
                let is_repeated_alias =
                    record.record_type() == RecordType::CNAME && known.contains(&record);
                if !is_repeated_alias {
                    known.push(record);
                }
            }
        }
        response.unify_ttls();
    }

    async fn response(&self, upstream_query: UpstreamQuery) -> Option<Arc<DnsResponse>> {
        let _permit = self.0.waiters.try_acquire().ok()?;
        self.pending(upstream_query)?.await
    }

    /// Joins a query in flight or starts one. Returns `None` if too many are in flight.
    fn pending(&self, upstream_query: UpstreamQuery) -> Option<Pending> {
        let mut in_flight = self.0.in_flight();
        if let Some(pending) = in_flight.get(&upstream_query) {
            return Some(pending.clone());
        }
        if in_flight.len() >= IN_FLIGHT_MAX {
            return None;
        }
        // The query runs in a task of its own, so that the health of the upstream becomes known
        // even if every client gives up.
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

/// Removes a query from the queries in flight on drop.
struct InFlightGuard {
    forwarder: Arc<ForwarderInner>,
    upstream_query: UpstreamQuery,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let finished = self.forwarder.in_flight().remove(&self.upstream_query);
        // Dropped after the lock is released, because dropping the last handle may run the
        // task's destructors.
        drop(finished);
    }
}

impl UpstreamQuery {
    /// Creates an upstream query with the flags of the client's query.
    fn new(client_query: &ClientQuery, query: Query) -> Self {
        Self {
            query,
            recursion_desired: client_query.recursion_desired,
            authentic_data: client_query.authentic_data,
            checking_disabled: client_query.checking_disabled,
            edns: client_query.edns,
            edns_options: client_query.edns_options.clone(),
        }
    }

    /// Encodes the query as a request, with EDNS and its options if the client used EDNS.
    fn request(&self) -> DnsRequest {
        let mut message = Message::query();
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.authentic_data = self.authentic_data;
        message.metadata.checking_disabled = self.checking_disabled;
        message.add_query(self.query.clone());
        if let Some(dnssec) = self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_BYTES_MAX).set_dnssec_ok(dnssec);
            edns_options::add(&self.edns_options, &mut edns);
            message.set_edns(edns);
        }
        DnsRequest::new(message, DnsRequestOptions::default())
    }
}
