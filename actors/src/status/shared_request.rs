//! A question to an actor that is asked by many, and answered in time or not at all.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};

/// How long an answer is waited for.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

type Response<T> = LocalBoxFuture<'static, Option<T>>;

/// A question to an actor. However many ask it, it is in the actor's mailbox once: those
/// who come while it is there get the same answer. So onlookers never fill the mailbox of
/// an actor that is slow.
pub(crate) struct SharedRequest<T: Clone> {
    send: Box<dyn Fn() -> Response<T>>,
    in_flight: RefCell<Option<Shared<Response<T>>>>,
}

impl<T: Clone + 'static> SharedRequest<T> {
    /// A question that is asked in this way.
    pub fn new<F>(send: impl Fn() -> F + 'static) -> Self
    where
        F: Future<Output = Option<T>> + 'static,
    {
        Self { send: Box::new(move || send().boxed_local()), in_flight: RefCell::new(None) }
    }

    /// Asks it; `None` where there is no answer within a second.
    pub async fn send(&self) -> Option<T> {
        let shared = {
            let mut in_flight = self.in_flight.borrow_mut();
            // What was answered after all who asked had left is old by now.
            in_flight.take_if(|shared| shared.clone().now_or_never().is_some());
            in_flight.get_or_insert_with(|| (self.send)().shared()).clone()
        };
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, shared).await.ok()?;
        // Who got it first forgets it; none is handed out a second time.
        let mut in_flight = self.in_flight.borrow_mut();
        if in_flight.as_ref().is_some_and(|answered| answered.peek().is_some()) {
            *in_flight = None;
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use futures_util::future::join;

    use super::*;

    fn request(takes: Duration) -> (SharedRequest<u32>, Rc<Cell<u32>>) {
        let asked = Rc::new(Cell::new(0));
        let count = Rc::clone(&asked);
        let send = move || {
            count.set(count.get() + 1);
            let answer = count.get();
            async move {
                tokio::time::sleep(takes).await;
                Some(answer)
            }
        };
        (SharedRequest::new(send), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_callers_share_one_response() {
        let (request, asked) = request(REQUEST_TIMEOUT / 2);
        assert_eq!(join(request.send(), request.send()).await, (Some(1), Some(1)));
        assert_eq!(request.send().await, Some(2), "an old answer is not given again");
        assert_eq!(asked.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn sends_no_second_request_before_the_response() {
        let (request, asked) = request(REQUEST_TIMEOUT * 5 / 2);
        for _ in 0..2 {
            assert_eq!(request.send().await, None);
        }
        assert_eq!(request.send().await, Some(1));
        assert_eq!(asked.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn drops_response_after_all_callers_timed_out() {
        let (request, _) = request(REQUEST_TIMEOUT * 5 / 4);
        assert_eq!(request.send().await, None);
        tokio::time::sleep(REQUEST_TIMEOUT).await;
        assert_eq!(request.send().await, None, "it is asked anew");
        assert_eq!(request.send().await, Some(2));
    }
}
