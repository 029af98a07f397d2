//! Carries states to an actor: one at a time, and of those that wait the newest.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::metered_context::AbortOnDrop;
use super::metrics::Meter;

/// A state that may take something over from the older one that it replaces.
pub trait Supersede {
    /// Takes over what is to be kept of the older one.
    fn supersede(&mut self, _older: &Self) {}
}

/// Of two moments that may be known, the earlier.
pub fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

type Delivery = Pin<Box<dyn Future<Output = ()>>>;

/// A sender of states, of which each replaces the one before. It has one message
/// under way at the most, whatever its receiver does meanwhile, and loses no
/// state but those that a newer one has replaced.
pub struct Courier<M> {
    bag: Rc<Bag<M>>,
    task: Option<AbortOnDrop>,
}

struct Bag<M> {
    deliver: Box<dyn Fn(M) -> Delivery>,
    receiver: &'static Meter,
    newest: RefCell<Option<M>>,
    under_way: Cell<bool>,
    emptied: Notify,
}

impl<M: Supersede + 'static> Courier<M> {
    /// A courier that hands each state to `deliver` and waits until that is done.
    /// States that a newer one replaced are counted on the receiver's meter.
    pub fn new<F>(receiver: &'static Meter, deliver: impl Fn(M) -> F + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let bag = Bag {
            deliver: Box::new(move |state| Box::pin(deliver(state))),
            receiver,
            newest: RefCell::new(None),
            under_way: Cell::new(false),
            emptied: Notify::new(),
        };
        Self { bag: Rc::new(bag), task: None }
    }

    /// Takes a state to be delivered, in place of one that still waits.
    pub fn bring(&mut self, mut state: M) {
        let older = self.bag.newest.borrow_mut().take();
        if let Some(older) = older {
            state.supersede(&older);
            self.bag.receiver.count_coalesced();
        }
        self.bag.newest.replace(Some(state));
        if self.bag.under_way.replace(true) {
            return;
        }
        let bag = Rc::clone(&self.bag);
        let task = actix_rt::spawn(async move {
            loop {
                let next = bag.newest.borrow_mut().take();
                let Some(state) = next else { break };
                (bag.deliver)(state).await;
            }
            bag.under_way.set(false);
            bag.emptied.notify_waiters();
        });
        self.task = Some(AbortOnDrop::new(&task));
    }

    /// Whether all that was brought is delivered.
    pub fn is_idle(&self) -> bool {
        !self.bag.under_way.get()
    }

    /// Waits until all that was brought is delivered.
    pub fn emptied(&self) -> impl Future<Output = ()> + 'static {
        let bag = Rc::clone(&self.bag);
        async move {
            while bag.under_way.get() {
                bag.emptied.notified().await;
            }
        }
    }
}
