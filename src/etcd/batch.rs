//! Runs many requests concurrently, and stops early if etcd is unreachable.

use std::cell::RefCell;

use futures_util::{StreamExt, stream};
use highhock_actors::{StoreError, StoreErrorKind};

/// Runs `job` for each item, at most `in_flight` at a time, and returns the results in the order of
/// the items.
///
/// No further job is started after the first failure that concerns etcd as a whole. The results of
/// the remaining items are `Unavailable` errors with that failure as the reason.
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

/// Returns the error for a request that was not sent because of the failure `cause`.
pub(super) fn not_sent_error(description: &str, cause: &StoreError) -> StoreError {
    let message = format!("{description}: not sent after a failure: {cause}");
    StoreError::new(StoreErrorKind::Unavailable, message)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    const REQUESTS_IN_FLIGHT_MAX: usize = 32;

    #[actix_rt::test]
    async fn returns_results_in_the_order_of_items() {
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
                    3 => Err(StoreError::new(StoreErrorKind::Refused, "only this key is rejected")),
                    7 => Err(StoreError::new(StoreErrorKind::Unknown, "etcd is gone")),
                    _ => Ok(()),
                }
            },
        )
        .await;
        // The requests that were in flight with the failed one, and at most as many that replaced
        // the requests completed before it.
        assert!(started.get() < 2 * REQUESTS_IN_FLIGHT_MAX, "{} started", started.get());
        assert_eq!(outcomes[3].as_ref().unwrap_err().kind, StoreErrorKind::Refused);
        assert_eq!(outcomes[7].as_ref().unwrap_err().kind, StoreErrorKind::Unknown);
        let last = outcomes[99].as_ref().unwrap_err();
        assert_eq!(last.kind, StoreErrorKind::Unavailable);
        assert!(last.message.starts_with("item 99: "), "{last}");
        assert!(last.message.ends_with("etcd is gone"), "{last}");
    }
}
