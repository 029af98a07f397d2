//! [`SimStore`]: the requests of a core to the simulated etcd, with delays and faults.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{future::join_all, stream};
use highhock_actors::{
    ChangeStream, GrantOutcome, KeepAliveMode, KeptAlive, Lease, LeaseId, LeaseNamespace,
    LeasedRecords, RecordKey, RecordStore, StoreError, StoreErrorKind, StoredRecord, Write,
    WriteOutcome,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::etcd::{NodeExpiry, StoreFault, StoreState};
use super::panics;
use super::trace::{count, trace_line};

/// The time after which a request without a response fails.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest time from the request of a write until the write is applied.
pub const WRITE_DELAY_MAX: Duration = Duration::from_secs(12);

/// The store of one process.
#[derive(Clone)]
pub struct SimStore {
    pub state: Rc<RefCell<StoreState>>,
    pub process: u32,
}

/// The fate of one request.
#[derive(Clone, Copy, Debug)]
struct RequestPlan {
    /// The time until the request is applied. `None`: never.
    applied: Option<Duration>,
    /// The time until the sender receives the response or the failure.
    answered: Duration,
    failure: Option<StoreErrorKind>,
}

const NOT_SENT: RequestPlan = RequestPlan {
    applied: None,
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
            count("slow responses of etcd");
        }
        let normal = RequestPlan {
            applied: Some(send_delay),
            answered: send_delay + return_delay,
            failure: None,
        };
        let active = faults.requests.filter(|active| now < active.until);
        let Some(active) = active.filter(|active| random.u8(..100) < active.percent) else {
            return normal;
        };
        let fault = match active.fault {
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
        // A broken connection fails the request before its timeout.
        let answered_after =
            if random.bool() { REQUEST_TIMEOUT } else { send_delay + return_delay };
        match fault {
            StoreFault::Refused => {
                count("requests refused");
                RequestPlan { applied: None, failure: Some(StoreErrorKind::Unavailable), ..normal }
            }
            StoreFault::RequestLost => {
                count("requests lost");
                RequestPlan { applied: None, answered: REQUEST_TIMEOUT, failure: unknown }
            }
            StoreFault::ResponseLost => {
                count("responses lost");
                RequestPlan {
                    applied: Some(send_delay),
                    answered: answered_after,
                    failure: unknown,
                }
            }
            StoreFault::Delayed | StoreFault::Any => {
                count("requests applied late");
                let late = answered_after + within(random, WRITE_DELAY_MAX - REQUEST_TIMEOUT);
                RequestPlan { applied: Some(late), answered: answered_after, failure: unknown }
            }
            StoreFault::ReadOnly => {
                count("writes failed");
                RequestPlan { applied: None, answered: send_delay + return_delay, failure: unknown }
            }
        }
    }

    /// Sends a request. The request is applied even if its sender no longer waits.
    async fn send<T: 'static>(
        &self,
        plan: RequestPlan,
        act: impl FnOnce(&mut StoreState) -> T + 'static,
    ) -> Result<T, StoreError> {
        let (sender, response) = oneshot::channel();
        self.state.borrow_mut().in_flight += 1;
        let _guard = RequestGuard(Rc::clone(&self.state));
        if let Some(wait) = plan.applied {
            let state = Rc::clone(&self.state);
            let is_late = plan.answered < wait;
            actix_rt::spawn(async move {
                state.borrow_mut().delayed_requests += usize::from(is_late);
                sleep(wait).await;
                let mut state = state.borrow_mut();
                state.delayed_requests -= usize::from(is_late);
                state.model.advance_to_now();
                if is_late {
                    trace_line!("  a late request is applied");
                    state.checker.borrow_mut().mark_late_write();
                }
                let _ = sender.send(act(&mut state));
            });
        }
        let start = Instant::now();
        if let Some(kind) = plan.failure {
            sleep(plan.answered).await;
            return Err(StoreError::new(kind, "simulated: no response"));
        }
        let response = response.await;
        sleep((start + plan.answered).saturating_duration_since(Instant::now())).await;
        response.map_err(|_| StoreError::new(StoreErrorKind::Unknown, "simulated: no response"))
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
        // With v3, all writes are one transaction. With v2, each write is one request, and the
        // writes after a failed request are not sent.
        let batch_size =
            if self.keep_alive_mode() == KeepAliveMode::Lease { writes.len() } else { 1 };
        let parts: Vec<Vec<Write>> = writes.chunks(batch_size.max(1)).map(<[_]>::to_vec).collect();
        let mut has_failed = false;
        let sent = parts.into_iter().map(|part| {
            let plan = if has_failed { NOT_SENT } else { self.plan(true) };
            has_failed |= plan.failure.is_some();
            let (count, process) = (part.len(), self.process);
            let sent = self.send(plan, move |state| {
                part.iter().map(|write| state.write(write, process)).collect::<Vec<_>>()
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

    async fn probe(&self) -> Result<Option<u64>, StoreError> {
        self.request(|state| Some(state.model.revision())).await
    }

    async fn watch(&self) -> Result<ChangeStream, StoreError> {
        let receiver = self.request(|state| state.model.watch()).await?;
        count("watches");
        let next = async |mut receiver: tokio::sync::mpsc::UnboundedReceiver<_>| {
            let change = receiver.recv().await?;
            // A change may arrive before or after the response to its write.
            if fastrand::bool() {
                sleep(Duration::from_millis(fastrand::u64(0..4))).await;
            }
            Some((change, receiver))
        };
        Ok(Box::pin(stream::unfold(receiver, next)))
    }

    async fn find_leases(&self, namespace: LeaseNamespace) -> Result<Vec<Lease>, StoreError> {
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
        let sent_at = Instant::now();
        self.request(move |state| {
            for (key, node) in &state.model.nodes {
                if node.expiry == NodeExpiry::Lease(id) {
                    state.checker.borrow_mut().check_revoke(process, sent_at, key, node);
                }
            }
            trace_line!("  lease {id} revoked");
            state.model.end_lease(id);
        })
        .await
    }

    async fn leased(&self, id: LeaseId) -> Result<LeasedRecords, StoreError> {
        self.request(move |state| {
            state.reads += 1;
            state.model.leased(id)
        })
        .await
    }
}
