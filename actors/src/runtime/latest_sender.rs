//! Carries states to an actor: one at a time, and of those that wait the newest.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::metered_context::AbortOnDrop;
use super::metrics::MailboxMetrics;

/// A state that may take something over from the older one that it replaces.
pub trait Coalesce {
    /// Takes over what is to be kept of the older one.
    fn merge_older(&mut self, _older: &Self) {}
}

/// Of two moments that may be known, the earlier.
pub fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

type Delivery = Pin<Box<dyn Future<Output = ()>>>;

/// A sender of states, of which each replaces the one before. It has one message
/// under way at the most, whatever its receiver does meanwhile, and loses no
/// state but those that a newer one has replaced.
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
    /// A courier that hands each state to `deliver` and waits until that is done.
    /// States that a newer one replaced are counted on the receiver's meter.
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

    /// Takes a state to be delivered, in place of one that still waits.
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

    /// Whether all that was brought is delivered.
    pub fn is_idle(&self) -> bool {
        !self.pending.in_flight.get()
    }

    /// Waits until all that was brought is delivered.
    pub fn drained(&self) -> impl Future<Output = ()> + 'static {
        let pending = Rc::clone(&self.pending);
        async move {
            while pending.in_flight.get() {
                pending.drained.notified().await;
            }
        }
    }
}
