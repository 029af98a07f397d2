//! Many requests at a time, and not one more than needed once etcd is away.

use std::cell::RefCell;

use futures_util::{StreamExt, stream};
use highhock_actors::{StoreError, StoreErrorKind};

/// Does `job` for each of the items, `in_flight` at a time, and answers in their
/// order. After the first failure that tells of etcd as a whole, nothing more is
/// started: what was not, is answered `Unavailable`, with that failure as the
/// reason.
pub(super) async fn run<I, T>(
    items: &[I],
    in_flight: usize,
    describe: impl Fn(&I) -> String,
    job: impl AsyncFn(&I) -> Result<T, StoreError>,
) -> Vec<Result<T, StoreError>> {
    let outage: RefCell<Option<StoreError>> = RefCell::new(None);
    let run_one = async |item: &I| {
        if let Some(first) = outage.borrow().as_ref() {
            return Err(not_sent_error(&describe(item), first));
        }
        let outcome = job(item).await;
        if let Err(error) = &outcome
            && error.kind.is_outage()
        {
            outage.borrow_mut().get_or_insert_with(|| error.clone());
        }
        outcome
    };
    let mut outcomes = stream::iter(items.iter().enumerate())
        .map(|(index, item)| {
            let run_one = &run_one;
            async move { (index, run_one(item).await) }
        })
        .buffer_unordered(in_flight)
        .collect::<Vec<_>>()
        .await;
    outcomes.sort_unstable_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// The error for what was held back after an outage.
pub(super) fn not_sent_error(description: &str, cause: &StoreError) -> StoreError {
    let message = format!("{description}: not sent, because of {cause}");
    StoreError::new(StoreErrorKind::Unavailable, message)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    const REQUESTS_IN_FLIGHT_MAX: usize = 32;

    #[actix_rt::test]
    async fn keeps_the_order_of_the_items() {
        let items = (0..100_u64).collect::<Vec<_>>();
        let outcomes = run(&items, REQUESTS_IN_FLIGHT_MAX, u64::to_string, async |item| {
            tokio::time::sleep(Duration::from_millis(100 - item)).await;
            Ok(*item)
        })
        .await;
        let outcomes = outcomes.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(outcomes, items);
    }

    #[actix_rt::test]
    async fn sends_nothing_after_an_outage() {
        let items = (0..100_u64).collect::<Vec<_>>();
        let started = Cell::new(0);
        let outcomes = run(
            &items,
            REQUESTS_IN_FLIGHT_MAX,
            |item| format!("item {item}"),
            async |item| {
                started.set(started.get() + 1);
                tokio::time::sleep(Duration::from_millis(5)).await;
                match item {
                    3 => Err(StoreError::new(StoreErrorKind::Refused, "a matter of this key")),
                    7 => Err(StoreError::new(StoreErrorKind::Unknown, "etcd went away")),
                    _ => Ok(()),
                }
            },
        )
        .await;
        // Those under way with the failing one, and at most as many that took
        // the places of those that were done before it.
        assert!(started.get() < 2 * REQUESTS_IN_FLIGHT_MAX, "{} started", started.get());
        assert_eq!(outcomes[3].as_ref().unwrap_err().kind, StoreErrorKind::Refused);
        assert_eq!(outcomes[7].as_ref().unwrap_err().kind, StoreErrorKind::Unknown);
        let last = outcomes[99].as_ref().unwrap_err();
        assert_eq!(last.kind, StoreErrorKind::Unavailable);
        assert_eq!(last.message, "item 99: not sent, because of etcd went away");
    }
}
