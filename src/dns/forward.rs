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

use super::answer::Answer;
use super::decode::{Question, UDP_SIZE};
use super::resource_record::Section;
use super::stats::Counts;
use super::upstreams::Servers;

/// How many different questions are out at a time; those beyond fail at once.
const OUT: usize = 256;

/// How many wait for their answers, those who ask the same included; those beyond fail
/// at once.
const WAITING: usize = 1024;

/// How many names outside the domain are asked for to make one answer whole.
const NAMES: usize = 8;

/// How long an answer from the domain waits for what others know: it is useful without.
const FOR_OWN: Duration = Duration::from_millis(500);

/// The servers that know other domains. A clone is another handle of the same ones.
#[derive(Clone)]
pub(super) struct Forwarder(Arc<Forwarding>);

struct Forwarding {
    servers: Servers,
    waiting: Semaphore,
    /// What is being asked. Who asks the same waits for the same answer: a question that
    /// comes back, as two servers may forward to each other, goes out no second time.
    out: Mutex<HashMap<Asked, Pending>>,
}

/// A question as far as its answer depends on it; letters' case does not count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    query: Query,
    recursion_desired: bool,
    checking_disabled: bool,
    edns: Option<bool>,
}

type Pending = Shared<BoxFuture<'static, Option<Arc<DnsResponse>>>>;

impl Forwarder {
    /// To these, in this order.
    pub(super) fn new(servers: Vec<SocketAddr>, counts: Counts, log: Logger) -> Self {
        Self(Arc::new(Forwarding {
            servers: Servers::new(servers, counts, log),
            waiting: Semaphore::new(WAITING),
            out: Mutex::default(),
        }))
    }

    /// Whether there is any.
    pub(super) fn is_there(&self) -> bool {
        !self.0.servers.is_empty()
    }

    /// The bytes of the first server's answer that answers; none: all failed. The letters
    /// of its question may be another's.
    pub(super) async fn ask(&self, question: &Question) -> Option<Vec<u8>> {
        let response = self.response(Asked::new(question, question.query.clone())).await?;
        Some(response.as_buffer().to_vec())
    }

    /// Adds what other servers say about the names that are missing. What none of
    /// them tells in time stays out, as it does where there are no such servers.
    pub(super) async fn complete(&self, question: &Question, answer: &mut Answer) {
        let missing = answer.elsewhere.iter().take(NAMES).map(async |elsewhere| {
            let query = Query::query(elsewhere.name.clone(), elsewhere.kind);
            let response = self.response(Asked::new(question, query));
            let response = timeout(FOR_OWN, response).await.ok().flatten();
            response.map_or_else(Vec::new, |response| response.answers.clone())
        });
        let found = join_all(missing).await;
        for (elsewhere, records) in answer.elsewhere.iter().zip(found) {
            let known = match elsewhere.section {
                Section::Answer => &mut answer.answers,
                Section::Additional => &mut answer.additionals,
            };
            for record in records {
                // The aliases on the way come once with the IPv4 addresses, and again
                // with the IPv6 ones.
                let again = record.record_type() == RecordType::CNAME && known.contains(&record);
                if !again {
                    known.push(record);
                }
            }
        }
    }

    async fn response(&self, asked: Asked) -> Option<Arc<DnsResponse>> {
        let _waits = self.0.waiting.try_acquire().ok()?;
        self.pending(asked)?.await
    }

    /// The answer that comes; none: too many are out.
    fn pending(&self, asked: Asked) -> Option<Pending> {
        let mut out = self.0.out();
        if let Some(pending) = out.get(&asked) {
            return Some(pending.clone());
        }
        if out.len() >= OUT {
            return None;
        }
        // A task of its own: whoever gives up waiting, it is found out whether the server
        // answers.
        let task = tokio::spawn(self.ask_servers(asked.clone()));
        let pending = task.map(|ended| ended.ok().flatten()).boxed().shared();
        out.insert(asked, pending.clone());
        Some(pending)
    }

    fn ask_servers(
        &self,
        asked: Asked,
    ) -> impl Future<Output = Option<Arc<DnsResponse>>> + Send + use<> {
        let (request, is_out) = (asked.request(), IsOut { forwarding: self.0.clone(), asked });
        async move { is_out.forwarding.servers.ask(&request).await.map(Arc::new) }
    }
}

impl Forwarding {
    fn out(&self) -> MutexGuard<'_, HashMap<Asked, Pending>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Its drop ends that the question is out.
struct IsOut {
    forwarding: Arc<Forwarding>,
    asked: Asked,
}

impl Drop for IsOut {
    fn drop(&mut self) {
        let ended = self.forwarding.out().remove(&self.asked);
        // Not while the map is locked: with its last handle a task may end.
        drop(ended);
    }
}

impl Asked {
    /// This query, in the manner of a question.
    fn new(question: &Question, query: Query) -> Self {
        Self {
            query,
            recursion_desired: question.recursion_desired,
            checking_disabled: question.checking_disabled,
            edns: question.edns,
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
            edns.set_max_payload(UDP_SIZE).set_dnssec_ok(dnssec);
            message.set_edns(edns);
        }
        DnsRequest::new(message, DnsRequestOptions::default())
    }
}
