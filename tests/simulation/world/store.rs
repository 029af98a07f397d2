//! The way to the simulated etcd: what becomes of requests that a core sends.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{future::join_all, stream};
use highhock_actors::{
    Changes, Found, Granted, KeptAlive, Lease, LeaseFamily, LeaseId, RecordKey, RecordStore,
    StoreError, StoreErrorKind, Upkeep, Write, Written,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::etcd::{Bad, LeaseState, Life, State, found};
use super::panics;
use super::trace::{count, say};

/// How long an edge waits for a member.
pub const TIME_OUT: Duration = Duration::from_secs(1);
/// A write that comes late comes within this.
pub const LATEST_WRITE: Duration = Duration::from_secs(12);

/// One core's way to the store.
#[derive(Clone)]
pub struct Store {
    pub state: Rc<RefCell<State>>,
    pub process: u32,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// When it is carried out, if it is.
    done: Option<Duration>,
    /// When its caller has an answer.
    answered: Duration,
    failure: Option<StoreErrorKind>,
}

const NOT_SENT: Fate =
    Fate { done: None, answered: Duration::ZERO, failure: Some(StoreErrorKind::Unavailable) };

impl Store {
    fn fate(&self, writes: bool) -> Fate {
        let mut state = self.state.borrow_mut();
        let now = Instant::now();
        let State { random, ails, .. } = &mut *state;
        let within = |random: &mut fastrand::Rng, most: Duration| most.mul_f64(random.f64());
        let mut to = within(random, Duration::from_millis(2));
        let mut back = within(random, Duration::from_millis(2));
        if let Some((_, most)) = ails.slow.filter(|(until, _)| now < *until) {
            (to, back) = (within(random, most / 2), within(random, most / 2));
            count("slow answers of etcd");
        }
        let fine = Fate { done: Some(to), answered: to + back, failure: None };
        let bad = ails.bad.filter(|(until, ..)| now < *until);
        let Some((_, bad, _)) = bad.filter(|(_, _, share)| random.u8(..100) < *share) else {
            return fine;
        };
        let bad = match bad {
            Bad::Any => [Bad::Refused, Bad::Lost, Bad::Unanswered, Bad::Late][random.usize(..4)],
            Bad::ReadOnly if !writes => return fine,
            other => other,
        };
        let unknown = Some(StoreErrorKind::Unknown);
        // A connection that breaks tells sooner than a time-out.
        let told = if random.bool() { TIME_OUT } else { to + back };
        match bad {
            Bad::Refused => {
                count("requests refused");
                Fate { done: None, failure: Some(StoreErrorKind::Unavailable), ..fine }
            }
            Bad::Lost => {
                count("requests lost");
                Fate { done: None, answered: TIME_OUT, failure: unknown }
            }
            Bad::Unanswered => {
                count("answers lost");
                Fate { done: Some(to), answered: told, failure: unknown }
            }
            Bad::Late | Bad::Any => {
                count("requests carried out late");
                let late = told + within(random, LATEST_WRITE - TIME_OUT);
                Fate { done: Some(late), answered: told, failure: unknown }
            }
            Bad::ReadOnly => {
                count("writes refused by a server's error");
                Fate { done: None, answered: to + back, failure: unknown }
            }
        }
    }

    /// Sends a request. It goes its way even if nobody waits for its answer any more.
    async fn send<T: 'static>(
        &self,
        fate: Fate,
        act: impl FnOnce(&mut State) -> T + 'static,
    ) -> Result<T, StoreError> {
        let (done, answer) = oneshot::channel();
        self.state.borrow_mut().asked += 1;
        let _asked = Asked(Rc::clone(&self.state));
        if let Some(wait) = fate.done {
            let state = Rc::clone(&self.state);
            let is_late = fate.answered < wait;
            actix_rt::spawn(async move {
                state.borrow_mut().on_their_way += usize::from(is_late);
                sleep(wait).await;
                let mut state = state.borrow_mut();
                state.on_their_way -= usize::from(is_late);
                state.tick();
                if is_late {
                    say!("  a late request is carried out");
                    state.judge.borrow_mut().store_is_bad();
                }
                let _ = done.send(act(&mut state));
            });
        }
        let start = Instant::now();
        if let Some(kind) = fate.failure {
            sleep(fate.answered).await;
            return Err(StoreError::new(kind, "simulated: no answer"));
        }
        let answer = answer.await;
        sleep((start + fate.answered).saturating_duration_since(Instant::now())).await;
        answer.map_err(|_| StoreError::new(StoreErrorKind::Unknown, "simulated: no answer"))
    }

    async fn ask<T: 'static>(
        &self,
        act: impl FnOnce(&mut State) -> T + 'static,
    ) -> Result<T, StoreError> {
        let fate = self.fate(false);
        self.send(fate, act).await
    }
}

struct Asked(Rc<RefCell<State>>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.borrow_mut().asked -= 1;
    }
}

impl RecordStore for Store {
    fn upkeep(&self) -> Upkeep {
        self.state.borrow().upkeep
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Written, StoreError>> {
        let strikes = std::mem::take(&mut self.state.borrow_mut().ails.strike);
        if strikes {
            panics::fall("write");
        }
        let judge = Rc::clone(&self.state.borrow().judge);
        for write in &writes {
            judge.borrow_mut().issued(self.process, write);
        }
        // On v3 a batch goes in a transaction. On v2 each write is a request of its own; those
        // behind one that fails are not sent any more.
        let at_a_time = if self.upkeep() == Upkeep::Lease { writes.len() } else { 1 };
        let parts: Vec<Vec<Write>> = writes.chunks(at_a_time.max(1)).map(<[_]>::to_vec).collect();
        let mut has_failed = false;
        let sent = parts.into_iter().map(|part| {
            let fate = if has_failed { NOT_SENT } else { self.fate(true) };
            has_failed |= fate.failure.is_some();
            let (count, process) = (part.len(), self.process);
            let sent = self.send(fate, move |state| {
                part.iter().map(|write| state.write(write, process)).collect::<Vec<_>>()
            });
            async move { sent.await.unwrap_or_else(|error| vec![Err(error); count]) }
        });
        join_all(sent).await.concat()
    }

    async fn read(&self, keys: Vec<RecordKey>) -> Vec<Result<Option<Found>, StoreError>> {
        let count = keys.len();
        let read = move |state: &mut State| keys.iter().map(|key| state.read(key)).collect();
        self.ask(read).await.unwrap_or_else(|error| vec![Err(error); count])
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.ask(|_| ()).await
    }

    async fn watch(&self) -> Result<Changes, StoreError> {
        let receiver = self.ask(State::watch).await?;
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

    async fn leases(&self, family: LeaseFamily) -> Result<Vec<Lease>, StoreError> {
        self.ask(move |state| {
            let ours = state.leases.iter().filter(|(id, _)| family.has(**id));
            ours.map(|(id, lease)| Lease { id: *id, ttl: lease.ttl }).collect()
        })
        .await
    }

    async fn grant(&self, id: LeaseId, ttl: Duration) -> Result<Granted, StoreError> {
        let fate = self.fate(true);
        self.send(fate, move |state| {
            if state.leases.contains_key(&id) {
                return Granted::Existed;
            }
            say!("  lease {id} granted for {ttl:?}");
            state.leases.insert(id, LeaseState { ttl, ends: Instant::now() + ttl });
            Granted::Fresh
        })
        .await
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<KeptAlive, StoreError> {
        count("keep-alives");
        self.ask(move |state| {
            let Some(lease) = state.leases.get_mut(&id) else { return KeptAlive::Lost };
            lease.ends = Instant::now() + lease.ttl;
            KeptAlive::For(lease.ttl)
        })
        .await
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        let process = self.process;
        self.ask(move |state| {
            let judge = Rc::clone(&state.judge);
            for (key, node) in &state.nodes {
                if node.life == Life::Lease(id) {
                    judge.borrow_mut().revokes(process, key, node);
                }
            }
            say!("  lease {id} revoked");
            state.end_lease(id);
        })
        .await
    }

    async fn leased(&self, id: LeaseId) -> Result<Vec<(RecordKey, Found)>, StoreError> {
        self.ask(move |state| {
            state.reads += 1;
            let on_it = state.nodes.iter().filter(|(_, node)| node.life == Life::Lease(id));
            on_it.map(|(key, node)| (RecordKey::from_path(key), found(node))).collect()
        })
        .await
    }
}
