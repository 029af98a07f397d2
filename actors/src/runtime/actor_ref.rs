//! [`ActorRef`]: a reference to an actor that stays valid across restarts.

use std::cell::RefCell;
use std::rc::Rc;

use actix::dev::ToEnvelope;
use actix::{Addr, Handler, Message};
use tokio::sync::Notify;

use super::metered_context::{Metered, MeteredContext};

/// A reference to an actor of which one instance runs at a time.
///
/// An actix address becomes invalid with its actor. An actor reference stays valid: the supervisor
/// sets it to the new instance after each restart, and it is empty in between. Clones share the
/// instance.
///
/// Senders that wait for the next instance continue in the order in which they began to wait. A
/// `tokio::sync::watch` would wake them in random order, and a simulation could not be repeated.
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
    /// Sets the running instance.
    pub(crate) fn set(&self, actor: Addr<A>) {
        self.0.current.replace(Some(actor));
        self.0.changed.notify_waiters();
    }

    /// Empties the reference after the instance ended.
    pub(crate) fn clear(&self) {
        self.0.current.replace(None);
        self.0.changed.notify_waiters();
    }

    /// Returns the running instance.
    pub(crate) fn current(&self) -> Option<Addr<A>> {
        self.0.current.borrow().clone()
    }

    /// Sends a message to the running instance and returns its reply.
    ///
    /// Returns `None` if there is no instance, or if the instance crashed before it replied. Both
    /// are counted as refused.
    pub async fn request<M>(&self, message: M) -> Option<M::Result>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
        MeteredContext<A>: ToEnvelope<A, M>,
    {
        let reply = match self.current() {
            Some(actor) => actor.send(message).await.ok(),
            None => None,
        };
        if reply.is_none() {
            A::mailbox_metrics().count_refused();
        }
        reply
    }

    /// Sends a message to the running instance without waiting for a reply. Without an instance
    /// the message is dropped and counted as refused.
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

    /// Sends a message until an instance has handled it, and returns the reply.
    ///
    /// Without an instance it waits for the next one. If the instance crashes before it replies,
    /// the message is sent again, so an instance may see it twice.
    pub async fn send_until_handled<M>(&self, message: M) -> M::Result
    where
        A: Handler<M>,
        M: Message + Clone + Send + 'static,
        M::Result: Send,
        MeteredContext<A>: ToEnvelope<A, M>,
    {
        loop {
            // Created before the instance is read, so that no change is missed.
            let changed = self.0.changed.notified();
            let Some(actor) = self.current() else {
                changed.await;
                continue;
            };
            if let Ok(reply) = actor.send(message.clone()).await {
                return reply;
            }
            A::mailbox_metrics().count_refused();
            // The actor crashed, and its supervisor has not noticed yet.
            if self.current().as_ref() == Some(&actor) {
                changed.await;
            }
        }
    }
}
