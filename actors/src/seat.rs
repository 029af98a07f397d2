//! Where an actor is to be found, across its restarts.

use actix::dev::ToEnvelope;
use actix::{Addr, Handler, Message};
use tokio::sync::watch;

use crate::metered::{Metered, MeteredContext};

/// The place of an actor of which there is one at a time. An address dies with
/// its actor; a seat stays, and leads to whoever sits there now.
pub struct Seat<A: Metered>(watch::Sender<Option<Addr<A>>>);

impl<A: Metered> Clone for Seat<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: Metered> Default for Seat<A> {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl<A: Metered> Seat<A> {
    /// Seats an actor.
    pub(crate) fn fill(&self, actor: Addr<A>) {
        self.0.send_replace(Some(actor));
    }

    /// Empties the seat.
    pub(crate) fn vacate(&self) {
        self.0.send_replace(None);
    }

    /// Who sits there now.
    pub(crate) fn occupant(&self) -> Option<Addr<A>> {
        self.0.borrow().clone()
    }

    /// Asks whoever sits there now; `None` where nobody does, or where the actor
    /// fell before it answered.
    pub async fn ask<M>(&self, message: M) -> Option<M::Result>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
        MeteredContext<A>: ToEnvelope<A, M>,
    {
        let answer = match self.occupant() {
            Some(actor) => actor.send(message).await.ok(),
            None => None,
        };
        if answer.is_none() {
            A::meter().count_refused();
        }
        answer
    }

    /// Tells whoever sits there now, if anybody.
    pub(crate) fn tell<M>(&self, message: M)
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
        MeteredContext<A>: ToEnvelope<A, M>,
    {
        match self.occupant() {
            Some(actor) => actor.do_send(message),
            None => A::meter().count_refused(),
        }
    }

    /// Delivers a message, if need be to the next who sits there: returns when it
    /// was handled.
    pub async fn deliver<M>(&self, message: M)
    where
        A: Handler<M>,
        M: Message + Clone + Send + 'static,
        M::Result: Send,
        MeteredContext<A>: ToEnvelope<A, M>,
    {
        let mut seat = self.0.subscribe();
        loop {
            // The seat's sender lives as long as `self` does, so that there is no
            // end to wait for.
            let Ok(actor) = seat.wait_for(Option::is_some).await.map(|actor| actor.clone()) else {
                return;
            };
            let Some(actor) = actor else { continue };
            if actor.send(message.clone()).await.is_ok() {
                return;
            }
            A::meter().count_refused();
            if seat.borrow_and_update().as_ref() == Some(&actor) && seat.changed().await.is_err() {
                return;
            }
        }
    }
}
