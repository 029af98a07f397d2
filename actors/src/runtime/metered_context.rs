//! A context for actors that meters every message, without a handler knowing.

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

/// Ends a task with its owner: an actor has timers of its own and would go on for ever.
pub(crate) struct AbortOnDrop(AbortHandle);

impl AbortOnDrop {
    pub fn new<T>(task: &JoinHandle<T>) -> Self {
        Self(task.abort_handle())
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An actor type with a meter. The meter belongs to the type, since a message is
/// packed before it is known which instance will get it.
pub trait Metered: Actor<Context = MeteredContext<Self>> {
    /// The type's meter.
    fn mailbox_metrics() -> &'static MailboxMetrics;
}

/// As [`actix::Context`], with a guard around every message that counts it into
/// and out of the mailbox and times it.
pub struct MeteredContext<A: Metered> {
    parts: ContextParts<A>,
}

impl<A: Metered> MeteredContext<A> {
    /// Starts an actor in a task of its own. The task's end tells how the actor
    /// ended: a panic shows nowhere else.
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

/// A message on its way; nothing once it was handled.
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
        // As in actix's own envelope: who asked has given up waiting, so nothing is done.
        if reply.as_ref().is_some_and(Sender::is_closed) {
            return;
        }
        queued.handle(|| actor.handle(message, context).handle(context, reply));
    }
}
