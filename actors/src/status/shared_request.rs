//! A question to an actor that is asked by many, and answered in time or not at all.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

type Answer<T> = LocalBoxFuture<'static, Option<T>>;

/// A question to an actor. However many ask it, it is in the actor's mailbox once: those
/// who come while it is there get the same answer. So onlookers never fill the mailbox of
/// an actor that is slow.
pub(crate) struct Question<T: Clone> {
    ask: Box<dyn Fn() -> Answer<T>>,
    under_way: RefCell<Option<Shared<Answer<T>>>>,
}

impl<T: Clone + 'static> Question<T> {
    /// A question that is asked in this way.
    pub fn new<F>(ask: impl Fn() -> F + 'static) -> Self
    where
        F: Future<Output = Option<T>> + 'static,
    {
        Self { ask: Box::new(move || ask().boxed_local()), under_way: RefCell::new(None) }
    }

    /// Asks it; `None` where there is no answer within a second.
    pub async fn ask(&self) -> Option<T> {
        let asked = {
            let mut under_way = self.under_way.borrow_mut();
            // What was answered after all who asked had left is old by now.
            under_way.take_if(|asked| asked.clone().now_or_never().is_some());
            under_way.get_or_insert_with(|| (self.ask)().shared()).clone()
        };
        let answer = tokio::time::timeout(PATIENCE, asked).await.ok()?;
        // Who got it first forgets it; none is handed out a second time.
        let mut under_way = self.under_way.borrow_mut();
        if under_way.as_ref().is_some_and(|answered| answered.peek().is_some()) {
            *under_way = None;
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

    fn question(takes: Duration) -> (Question<u32>, Rc<Cell<u32>>) {
        let asked = Rc::new(Cell::new(0));
        let count = Rc::clone(&asked);
        let ask = move || {
            count.set(count.get() + 1);
            let answer = count.get();
            async move {
                tokio::time::sleep(takes).await;
                Some(answer)
            }
        };
        (Question::new(ask), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_together_share_one_answer() {
        let (question, asked) = question(PATIENCE / 2);
        assert_eq!(join(question.ask(), question.ask()).await, (Some(1), Some(1)));
        assert_eq!(question.ask().await, Some(2), "an old answer is not given again");
        assert_eq!(asked.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_not_asked_again_before_it_is_answered() {
        let (question, asked) = question(PATIENCE * 5 / 2);
        for _ in 0..2 {
            assert_eq!(question.ask().await, None);
        }
        assert_eq!(question.ask().await, Some(1));
        assert_eq!(asked.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_came_when_all_had_left_is_not_given() {
        let (question, _) = question(PATIENCE * 5 / 4);
        assert_eq!(question.ask().await, None);
        tokio::time::sleep(PATIENCE).await;
        assert_eq!(question.ask().await, None, "it is asked anew");
        assert_eq!(question.ask().await, Some(2));
    }
}
