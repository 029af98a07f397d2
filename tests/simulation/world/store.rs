//! The way to the simulated etcd: what becomes of requests that a core sends.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{future::join_all, stream};
use highhock_actors::{
    ChangeStream, GrantOutcome, KeepAliveMode, KeptAlive, Lease, LeaseId, LeaseNamespace,
    RecordKey, RecordStore, StoreError, StoreErrorKind, StoredRecord, Write, WriteOutcome,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::etcd::{NodeExpiry, StoreFault, StoreState};
use super::panics;
use super::trace::{count, trace_line};

/// How long an edge waits for a member.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// A write that comes late comes within this.
pub const WRITE_DELAY_MAX: Duration = Duration::from_secs(12);

/// One core's way to the store.
#[derive(Clone)]
pub struct SimStore {
    pub state: Rc<RefCell<StoreState>>,
    pub process: u32,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug)]
struct RequestPlan {
    /// When it is carried out, if it is.
    done: Option<Duration>,
    /// When its caller has an answer.
    answered: Duration,
    failure: Option<StoreErrorKind>,
}

const NOT_SENT: RequestPlan = RequestPlan {
    done: None,
    answered: Duration::ZERO,
    failure: Some(StoreErrorKind::Unavailable),
};

impl SimStore {
    fn plan(&self, writes: bool) -> RequestPlan {
        let mut state = self.state.borrow_mut();
        let now = Instant::now();
        let StoreState { random, faults, .. } = &mut *state;
        let within = |random: &mut fastrand::Rng, most: Duration| most.mul_f64(random.f64());
        let mut send_delay = within(random, Duration::from_millis(2));
        let mut return_delay = within(random, Duration::from_millis(2));
        if let Some((_, most)) = faults.slow.filter(|(until, _)| now < *until) {
            (send_delay, return_delay) = (within(random, most / 2), within(random, most / 2));
            count("slow answers of etcd");
        }
        let normal = RequestPlan {
            done: Some(send_delay),
            answered: send_delay + return_delay,
            failure: None,
        };
        let bad = faults.bad.filter(|bad| now < bad.until);
        let Some(bad) = bad.filter(|bad| random.u8(..100) < bad.percent) else {
            return normal;
        };
        let bad = match bad.fault {
            StoreFault::Any => [
                StoreFault::Refused,
                StoreFault::RequestLost,
                StoreFault::ResponseLost,
                StoreFault::Delayed,
            ][random.usize(..4)],
            StoreFault::ReadOnly if !writes => return normal,
            other => other,
        };
        let unknown = Some(StoreErrorKind::Unknown);
        // A connection that breaks tells sooner than a time-out.
        let answered_after =
            if random.bool() { REQUEST_TIMEOUT } else { send_delay + return_delay };
        match bad {
            StoreFault::Refused => {
                count("requests refused");
                RequestPlan { done: None, failure: Some(StoreErrorKind::Unavailable), ..normal }
            }
            StoreFault::RequestLost => {
                count("requests lost");
                RequestPlan { done: None, answered: REQUEST_TIMEOUT, failure: unknown }
            }
            StoreFault::ResponseLost => {
                count("answers lost");
                RequestPlan { done: Some(send_delay), answered: answered_after, failure: unknown }
            }
            StoreFault::Delayed | StoreFault::Any => {
                count("requests carried out late");
                let late = answered_after + within(random, WRITE_DELAY_MAX - REQUEST_TIMEOUT);
                RequestPlan { done: Some(late), answered: answered_after, failure: unknown }
            }
            StoreFault::ReadOnly => {
                count("writes refused by a server's error");
                RequestPlan { done: None, answered: send_delay + return_delay, failure: unknown }
            }
        }
    }

    /// Sends a request. It goes its way even if nobody waits for its answer any more.
    async fn send<T: 'static>(
        &self,
        plan: RequestPlan,
        act: impl FnOnce(&mut StoreState) -> T + 'static,
    ) -> Result<T, StoreError> {
        let (done, answer) = oneshot::channel();
        self.state.borrow_mut().in_flight += 1;
        let _guard = RequestGuard(Rc::clone(&self.state));
        if let Some(wait) = plan.done {
            let state = Rc::clone(&self.state);
            let is_late = plan.answered < wait;
            actix_rt::spawn(async move {
                state.borrow_mut().delayed_requests += usize::from(is_late);
                sleep(wait).await;
                let mut state = state.borrow_mut();
                state.delayed_requests -= usize::from(is_late);
                state.model.advance_to_now();
                if is_late {
                    trace_line!("  a late request is carried out");
                    state.checker.borrow_mut().mark_store_faulty();
                }
                let _ = done.send(act(&mut state));
            });
        }
        let start = Instant::now();
        if let Some(kind) = plan.failure {
            sleep(plan.answered).await;
            return Err(StoreError::new(kind, "simulated: no answer"));
        }
        let answer = answer.await;
        sleep((start + plan.answered).saturating_duration_since(Instant::now())).await;
        answer.map_err(|_| StoreError::new(StoreErrorKind::Unknown, "simulated: no answer"))
    }

    async fn request<T: 'static>(
        &self,
        act: impl FnOnce(&mut StoreState) -> T + 'static,
    ) -> Result<T, StoreError> {
        let plan = self.plan(false);
        self.send(plan, act).await
    }
}

struct RequestGuard(Rc<RefCell<StoreState>>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.borrow_mut().in_flight -= 1;
    }
}

impl RecordStore for SimStore {
    fn keep_alive_mode(&self) -> KeepAliveMode {
        self.state.borrow().model.keep_alive_mode
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<WriteOutcome, StoreError>> {
        let panics = std::mem::take(&mut self.state.borrow_mut().faults.panic_on_write);
        if panics {
            panics::panic_now("write");
        }
        let checker = Rc::clone(&self.state.borrow().checker);
        for write in &writes {
            checker.borrow_mut().check_issued_write(self.process, write);
        }
        // On v3 a batch goes in a transaction. On v2 each write is a request of its own; those
        // behind one that fails are not sent any more.
        let at_a_time =
            if self.keep_alive_mode() == KeepAliveMode::Lease { writes.len() } else { 1 };
        let parts: Vec<Vec<Write>> = writes.chunks(at_a_time.max(1)).map(<[_]>::to_vec).collect();
        let mut has_failed = false;
        let sent = parts.into_iter().map(|part| {
            let plan = if has_failed { NOT_SENT } else { self.plan(true) };
            has_failed |= plan.failure.is_some();
            let (count, process) = (part.len(), self.process);
            let sent = self.send(plan, move |state| {
                part.iter().map(|write| state.model.write(write, process)).collect::<Vec<_>>()
            });
            async move { sent.await.unwrap_or_else(|error| vec![Err(error); count]) }
        });
        join_all(sent).await.concat()
    }

    async fn read(&self, keys: Vec<RecordKey>) -> Vec<Result<Option<StoredRecord>, StoreError>> {
        let count = keys.len();
        let read = move |state: &mut StoreState| {
            state.reads += keys.len() as u64;
            keys.iter().map(|key| state.model.read(key)).collect()
        };
        self.request(read).await.unwrap_or_else(|error| vec![Err(error); count])
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.request(|_| ()).await
    }

    async fn watch(&self) -> Result<ChangeStream, StoreError> {
        let receiver = self.request(|state| state.model.watch()).await?;
        count("watches");
        let next = async |mut receiver: tokio::sync::mpsc::UnboundedReceiver<_>| {
            let change = receiver.recv().await?;
            // What is told may come before the answer to the write, or after it.
            if fastrand::bool() {
                sleep(Duration::from_millis(fastrand::u64(0..4))).await;
            }
            Some((change, receiver))
        };
        Ok(Box::pin(stream::unfold(receiver, next)))
    }

    async fn leases(&self, namespace: LeaseNamespace) -> Result<Vec<Lease>, StoreError> {
        self.request(move |state| state.model.leases_of(namespace)).await
    }

    async fn grant(&self, id: LeaseId, ttl: Duration) -> Result<GrantOutcome, StoreError> {
        let plan = self.plan(true);
        self.send(plan, move |state| {
            let outcome = state.model.grant(id, ttl);
            if outcome == GrantOutcome::Fresh {
                trace_line!("  lease {id} granted for {ttl:?}");
            }
            outcome
        })
        .await
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<KeptAlive, StoreError> {
        count("keep-alives");
        self.request(move |state| state.model.keep_alive(id)).await
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        let process = self.process;
        self.request(move |state| {
            for (key, node) in &state.model.nodes {
                if node.expiry == NodeExpiry::Lease(id) {
                    state.checker.borrow_mut().check_revoke(process, key, node);
                }
            }
            trace_line!("  lease {id} revoked");
            state.model.end_lease(id);
        })
        .await
    }

    async fn leased(&self, id: LeaseId) -> Result<Vec<(RecordKey, StoredRecord)>, StoreError> {
        self.request(move |state| {
            state.reads += 1;
            state.model.leased(id)
        })
        .await
    }
}
