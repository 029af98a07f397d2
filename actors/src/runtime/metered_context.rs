//! [`MeteredContext`]: an actix context that records metrics of every message.

use actix::dev::{
    AsyncContextParts, ContextFut, ContextParts, Envelope, EnvelopeProxy, Mailbox, MessageResponse,
    ToEnvelope,
};
use actix::{
    Actor, ActorContext, ActorFuture, ActorState, Addr, AsyncContext, Handler, Message, SpawnHandle,
};
use tokio::sync::oneshot::Sender;
use tokio::task::{AbortHandle, JoinHandle};

use super::metrics::{MailboxMetrics, QueuedGuard};

/// Aborts a task when it is dropped. Without it the task of an actor never ends, because the actor
/// has timers.
pub(crate) struct AbortOnDrop(AbortHandle);

impl AbortOnDrop {
    /// Returns a guard for this task.
    pub fn new<T>(task: &JoinHandle<T>) -> Self {
        Self(task.abort_handle())
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An actor type with mailbox metrics.
///
/// The metrics belong to the type and not to an instance, because a message is packed before its
/// receiving instance is known.
pub trait Metered: Actor<Context = MeteredContext<Self>> {
    /// Returns the metrics of the actor type.
    fn mailbox_metrics() -> &'static MailboxMetrics;
}

/// A replacement for [`actix::Context`] that adds a guard to every message.
///
/// The guard counts the message when it enters and leaves the mailbox, and measures the times of
/// waiting and handling. Handlers need no change.
pub struct MeteredContext<A: Metered> {
    parts: ContextParts<A>,
}

impl<A: Metered> MeteredContext<A> {
    /// Starts an actor as a separate task. A panic of the actor shows only in the result of the
    /// task.
    pub fn start(actor: A) -> (Addr<A>, JoinHandle<()>) {
        let mut mailbox = Mailbox::default();
        mailbox.set_capacity(A::mailbox_metrics().capacity);
        let context = Self { parts: ContextParts::new(mailbox.sender_producer()) };
        let address = context.address();
        let instance = A::mailbox_metrics().instance_guard();
        let task = actix_rt::spawn(async move {
            let _instance = instance;
            ContextFut::new(context, actor, mailbox).await;
        });
        (address, task)
    }
}

impl<A: Metered> AsyncContextParts<A> for MeteredContext<A> {
    fn parts(&mut self) -> &mut ContextParts<A> {
        &mut self.parts
    }
}

impl<A: Metered> ActorContext for MeteredContext<A> {
    fn stop(&mut self) {
        self.parts.stop();
    }

    fn terminate(&mut self) {
        self.parts.terminate();
    }

    fn state(&self) -> ActorState {
        self.parts.state()
    }
}

impl<A: Metered> AsyncContext<A> for MeteredContext<A> {
    fn address(&self) -> Addr<A> {
        self.parts.address()
    }

    fn spawn<F: ActorFuture<A, Output = ()> + 'static>(&mut self, future: F) -> SpawnHandle {
        self.parts.spawn(future)
    }

    fn wait<F: ActorFuture<A, Output = ()> + 'static>(&mut self, future: F) {
        self.parts.wait(future);
    }

    fn waiting(&self) -> bool {
        self.parts.waiting()
    }

    fn cancel_future(&mut self, handle: SpawnHandle) -> bool {
        self.parts.cancel_future(handle)
    }
}

impl<A, M> ToEnvelope<A, M> for MeteredContext<A>
where
    A: Metered + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn pack(message: M, reply: Option<Sender<M::Result>>) -> Envelope<A> {
        let queued = A::mailbox_metrics().enqueue::<M>();
        Envelope::with_proxy(Box::new(MeteredEnvelope(Some(Payload { message, reply, queued }))))
    }
}

/// A message in a mailbox. The payload is `None` after the message was handled.
struct MeteredEnvelope<M: Message>(Option<Payload<M>>);

struct Payload<M: Message> {
    message: M,
    reply: Option<Sender<M::Result>>,
    queued: QueuedGuard,
}

impl<A, M> EnvelopeProxy<A> for MeteredEnvelope<M>
where
    A: Metered + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn handle(&mut self, actor: &mut A, context: &mut A::Context) {
        let Some(Payload { message, reply, queued }) = self.0.take() else { return };
        // As in actix's own envelope: the sender no longer waits for the reply, so the message is
        // not handled.
        if reply.as_ref().is_some_and(Sender::is_closed) {
            return;
        }
        queued.handle(|| actor.handle(message, context).handle(context, reply));
    }
}
