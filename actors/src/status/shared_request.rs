//! [`SharedRequest`]: a request to an actor that concurrent callers share.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};

/// The time to wait for a reply.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

type Response<T> = LocalBoxFuture<'static, Option<T>>;

/// A request to an actor, of which at most one is in the actor's mailbox.
///
/// Callers that arrive while the request is in flight receive the same response. Any number
/// of readers therefore cannot fill the mailbox of a slow actor.
pub(crate) struct SharedRequest<T: Clone> {
    send: Box<dyn Fn() -> Response<T>>,
    in_flight: RefCell<Option<Shared<Response<T>>>>,
}

impl<T: Clone + 'static> SharedRequest<T> {
    /// Creates a request. `send` sends it to the actor.
    pub fn new<F>(send: impl Fn() -> F + 'static) -> Self
    where
        F: Future<Output = Option<T>> + 'static,
    {
        Self { send: Box::new(move || send().boxed_local()), in_flight: RefCell::new(None) }
    }

    /// Sends the request, or joins the one in flight. Returns `None` if there is no response
    /// within one second.
    pub async fn send(&self) -> Option<T> {
        let shared = {
            let mut in_flight = self.in_flight.borrow_mut();
            // A response that arrived after all callers timed out is outdated.
            in_flight.take_if(|shared| shared.clone().now_or_never().is_some());
            in_flight.get_or_insert_with(|| (self.send)().shared()).clone()
        };
        let response = tokio::time::timeout(REQUEST_TIMEOUT, shared).await.ok()?;
        // The first caller removes the response, so that later callers send a new request.
        let mut in_flight = self.in_flight.borrow_mut();
        if in_flight.as_ref().is_some_and(|shared| shared.peek().is_some()) {
            *in_flight = None;
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use futures_util::future::join;

    use super::*;

    fn request(delay: Duration) -> (SharedRequest<u32>, Rc<Cell<u32>>) {
        let sent = Rc::new(Cell::new(0));
        let count = Rc::clone(&sent);
        let send = move || {
            count.set(count.get() + 1);
            let response = count.get();
            async move {
                tokio::time::sleep(delay).await;
                Some(response)
            }
        };
        (SharedRequest::new(send), sent)
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_callers_share_one_response() {
        let (request, sent) = request(REQUEST_TIMEOUT / 2);
        assert_eq!(join(request.send(), request.send()).await, (Some(1), Some(1)));
        assert_eq!(request.send().await, Some(2), "an old response is not returned again");
        assert_eq!(sent.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn sends_no_second_request_before_the_response() {
        let (request, sent) = request(REQUEST_TIMEOUT * 5 / 2);
        for _ in 0..2 {
            assert_eq!(request.send().await, None);
        }
        assert_eq!(request.send().await, Some(1));
        assert_eq!(sent.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn drops_response_after_all_callers_timed_out() {
        let (request, _) = request(REQUEST_TIMEOUT * 5 / 4);
        assert_eq!(request.send().await, None);
        tokio::time::sleep(REQUEST_TIMEOUT).await;
        assert_eq!(request.send().await, None, "a new request is sent");
        assert_eq!(request.send().await, Some(2));
    }
}
