//! Where an actor is to be found, across its restarts.

use std::cell::RefCell;
use std::rc::Rc;

use actix::dev::ToEnvelope;
use actix::{Addr, Handler, Message};
use tokio::sync::Notify;

use super::metered_context::{Metered, MeteredContext};

/// The place of an actor of which there is one at a time. An address dies with
/// its actor; a seat stays, and leads to whoever sits there now.
///
/// Who waits for the next to sit there is told in the order in which they came: a
/// `tokio::sync::watch` would leave that order to chance, and no run could be repeated.
pub struct ActorRef<A: Metered>(Rc<Slot<A>>);

struct Slot<A: Metered> {
    current: RefCell<Option<Addr<A>>>,
    changed: Notify,
}

impl<A: Metered> Clone for ActorRef<A> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<A: Metered> Default for ActorRef<A> {
    fn default() -> Self {
        Self(Rc::new(Slot { current: RefCell::new(None), changed: Notify::new() }))
    }
}

impl<A: Metered> ActorRef<A> {
    /// Seats an actor.
    pub(crate) fn set(&self, actor: Addr<A>) {
        self.0.current.replace(Some(actor));
        self.0.changed.notify_waiters();
    }

    /// Empties the seat.
    pub(crate) fn clear(&self) {
        self.0.current.replace(None);
        self.0.changed.notify_waiters();
    }

    /// Who sits there now.
    pub(crate) fn current(&self) -> Option<Addr<A>> {
        self.0.current.borrow().clone()
    }

    /// Asks whoever sits there now; `None` where nobody does, or where the actor
    /// fell before it answered.
    pub async fn request<M>(&self, message: M) -> Option<M::Result>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
        MeteredContext<A>: ToEnvelope<A, M>,
    {
        let answer = match self.current() {
            Some(actor) => actor.send(message).await.ok(),
            None => None,
        };
        if answer.is_none() {
            A::mailbox_metrics().count_refused();
        }
        answer
    }

    /// Tells whoever sits there now, if anybody.
    pub(crate) fn notify<M>(&self, message: M)
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
        MeteredContext<A>: ToEnvelope<A, M>,
    {
        match self.current() {
            Some(actor) => actor.do_send(message),
            None => A::mailbox_metrics().count_refused(),
        }
    }

    /// Delivers a message, if need be to the next who sits there: returns the answer when
    /// it was handled.
    pub async fn send_until_handled<M>(&self, message: M) -> M::Result
    where
        A: Handler<M>,
        M: Message + Clone + Send + 'static,
        M::Result: Send,
        MeteredContext<A>: ToEnvelope<A, M>,
    {
        loop {
            // Made before the look at who sits there, so that no change is missed.
            let changed = self.0.changed.notified();
            let Some(actor) = self.current() else {
                changed.await;
                continue;
            };
            if let Ok(answer) = actor.send(message.clone()).await {
                return answer;
            }
            A::mailbox_metrics().count_refused();
            // It fell; its keeper has not noticed yet.
            if self.current().as_ref() == Some(&actor) {
                changed.await;
            }
        }
    }
}
