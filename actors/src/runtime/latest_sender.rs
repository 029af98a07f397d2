//! [`LatestSender`]: delivers the latest state to an actor, one message at a time.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::metered_context::AbortOnDrop;
use super::metrics::MailboxMetrics;

/// A state that can replace an older state in a [`LatestSender`].
pub trait Coalesce {
    /// Merges parts of the older state that must not be lost. By default there are none.
    fn merge_older(&mut self, _older: &Self) {}
}

/// Returns the earlier of two times, or the only one.
pub fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

type Delivery = Pin<Box<dyn Future<Output = ()>>>;

/// Sends states to an actor, keeping at most one message in flight.
///
/// A state that is still queued when a newer one arrives is replaced by it, and counted as
/// coalesced. Use this for messages that carry a complete state, so that a slow receiver costs a
/// bounded amount of memory and never handles a queue of outdated states. No other state is lost.
pub struct LatestSender<M> {
    pending: Rc<Pending<M>>,
    delivery: Option<AbortOnDrop>,
}

struct Pending<M> {
    deliver: Box<dyn Fn(M) -> Delivery>,
    receiver: &'static MailboxMetrics,
    queued: RefCell<Option<M>>,
    in_flight: Cell<bool>,
    drained: Notify,
}

impl<M: Coalesce + 'static> LatestSender<M> {
    /// Returns a sender that passes each state to `deliver`, and waits until `deliver` is complete
    /// before the next one. Coalesced states are counted in the metrics of the receiver.
    pub fn new<F>(receiver: &'static MailboxMetrics, deliver: impl Fn(M) -> F + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let pending = Pending {
            deliver: Box::new(move |state| Box::pin(deliver(state))),
            receiver,
            queued: RefCell::new(None),
            in_flight: Cell::new(false),
            drained: Notify::new(),
        };
        Self { pending: Rc::new(pending), delivery: None }
    }

    /// Queues `state` for delivery, replacing a queued state that is not yet in flight.
    pub fn send(&mut self, mut state: M) {
        let older = self.pending.queued.borrow_mut().take();
        if let Some(older) = older {
            state.merge_older(&older);
            self.pending.receiver.count_coalesced();
        }
        self.pending.queued.replace(Some(state));
        if self.pending.in_flight.replace(true) {
            return;
        }
        let pending = Rc::clone(&self.pending);
        let task = actix_rt::spawn(async move {
            loop {
                let next = pending.queued.borrow_mut().take();
                let Some(state) = next else { break };
                (pending.deliver)(state).await;
            }
            pending.in_flight.set(false);
            pending.drained.notify_waiters();
        });
        self.delivery = Some(AbortOnDrop::new(&task));
    }

    /// Returns `true` if every state was delivered or replaced.
    pub fn is_idle(&self) -> bool {
        !self.pending.in_flight.get()
    }

    /// Waits until every state was delivered or replaced. The future does not borrow the sender.
    pub fn drained(&self) -> impl Future<Output = ()> + 'static {
        let pending = Rc::clone(&self.pending);
        async move {
            while pending.in_flight.get() {
                pending.drained.notified().await;
            }
        }
    }
}
