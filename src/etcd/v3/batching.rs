//! Many operations in as few requests as etcd takes them in.

use std::cell::Cell;

use highhock_actors::{StoreError, StoreErrorKind};

use super::error::ErrorClass;
use super::gateway::CallError;
use crate::etcd::batch;

/// How many requests of a batch are under way at a time.
const REQUESTS_IN_FLIGHT_MAX: usize = 4;

/// etcd's own default of `--max-txn-ops`.
const OPERATIONS_MAX: usize = 128;

/// Well below etcd's default of `--max-request-bytes`, 1.5 MiB.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// What this etcd takes in one request: its defaults, until it refuses one.
pub(super) struct BatchLimits {
    operations: Cell<usize>,
    bytes: Cell<usize>,
}

/// What an item takes up in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// The operations, or comparisons, where it shares a transaction with others.
    pub operations: usize,
    /// The same where it is a transaction within another; 0 where that is never
    /// needed. etcd takes the outer transaction's operations off what each of the
    /// inner ones may have.
    pub inner: usize,
    /// About.
    pub bytes: usize,
}

impl Cost {
    fn plus(self, other: Self) -> Self {
        Self {
            operations: self.operations + other.operations,
            inner: self.inner.max(other.inner),
            bytes: self.bytes + other.bytes,
        }
    }

    /// How many operations a transaction of so many items must be allowed, in
    /// either shape.
    fn operations_needed(self, items: usize) -> usize {
        self.operations.max(items + self.inner)
    }
}

/// Something to be sent among others.
pub(super) trait BatchItem {
    fn cost(&self) -> Cost;

    /// For errors, for instance `putting skydns/local/a`.
    fn describe(&self) -> String;
}

/// A part of a batch: the items and their places in it.
struct Batch<'a, I> {
    items: Vec<(usize, &'a I)>,
    /// The sums; of `inner`, the largest.
    cost: Cost,
}

enum BatchResult<T> {
    Completed(Vec<Result<T, StoreError>>),
    /// Not done, and to be sent again in smaller parts.
    Retry,
    /// Not done, and to be sent again in halves: one of the items spoils it.
    Split,
}

impl BatchLimits {
    pub(super) fn new() -> Self {
        Self { operations: Cell::new(OPERATIONS_MAX), bytes: Cell::new(BATCH_BYTES_MAX) }
    }

    /// Sends all items by `send`, several requests at a time, and answers in their
    /// order. After the first failure that tells of etcd as a whole, nothing more
    /// is sent.
    pub(super) async fn send_all<I: BatchItem, T>(
        &self,
        items: &[I],
        send: impl AsyncFn(&[&I], &str) -> Result<Vec<Result<T, StoreError>>, CallError>,
    ) -> Vec<Result<T, StoreError>> {
        let mut outcomes = items.iter().map(|_| None).collect::<Vec<_>>();
        let mut waiting = vec![items.iter().enumerate().collect::<Vec<_>>()];
        while !waiting.is_empty() {
            let parts = std::mem::take(&mut waiting);
            let batches = parts.into_iter().flat_map(|part| self.pack(part)).collect::<Vec<_>>();
            let send_batch = async |batch: &Batch<'_, I>| self.send_one(batch, &send).await;
            let batch_results =
                batch::run(&batches, REQUESTS_IN_FLIGHT_MAX, Batch::describe, send_batch).await;
            let mut outage = None;
            for (batch, batch_result) in batches.into_iter().zip(batch_results) {
                match batch_result {
                    Ok(BatchResult::Completed(item_results)) => {
                        for ((index, _), result) in batch.items.iter().zip(item_results) {
                            outcomes[*index] = Some(result);
                        }
                    }
                    Ok(BatchResult::Retry) => waiting.push(batch.items),
                    Ok(BatchResult::Split) => {
                        let mut first = batch.items;
                        let second = first.split_off(first.len() / 2);
                        waiting.extend([first, second]);
                    }
                    Err(error) => {
                        for (index, _) in &batch.items {
                            outcomes[*index] = Some(Err(error.clone()));
                        }
                        outage = outage.or(error.kind.is_outage().then_some(error));
                    }
                }
            }
            if let Some(first) = outage {
                for (index, item) in waiting.drain(..).flatten() {
                    outcomes[index] = Some(Err(batch::not_sent_error(&item.describe(), &first)));
                }
            }
        }
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(lost_request)).collect()
    }

    async fn send_one<I: BatchItem, T>(
        &self,
        batch: &Batch<'_, I>,
        send: &impl AsyncFn(&[&I], &str) -> Result<Vec<Result<T, StoreError>>, CallError>,
    ) -> Result<BatchResult<T>, StoreError> {
        let items = batch.items.iter().map(|(_, item)| *item).collect::<Vec<_>>();
        let failure = match send(&items, &batch.describe()).await {
            Ok(item_results) => return Ok(BatchResult::Completed(item_results)),
            Err(failure) => failure,
        };
        let is_single = items.len() < 2;
        match failure.class {
            ErrorClass::TooManyOperations if !is_single => {
                let needed = batch.cost.operations_needed(items.len());
                self.operations.set(self.operations.get().min(needed / 2));
                Ok(BatchResult::Retry)
            }
            ErrorClass::TooLarge if !is_single => {
                self.bytes.set(self.bytes.get().min(batch.cost.bytes / 2));
                Ok(BatchResult::Retry)
            }
            // It may be for one of them only, which must not spoil the others.
            ErrorClass::Other if !is_single && failure.error.kind == StoreErrorKind::Refused => {
                Ok(BatchResult::Split)
            }
            _ => Err(failure.error),
        }
    }

    /// Cuts items into chunks that fit in a request; one that doesn't fit even
    /// alone is left alone.
    fn pack<'a, I: BatchItem>(&self, items: Vec<(usize, &'a I)>) -> Vec<Batch<'a, I>> {
        let mut batches = Vec::<Batch<'a, I>>::new();
        for (index, item) in items {
            let cost = item.cost();
            if let Some(last) = batches.last_mut() {
                let both = last.cost.plus(cost);
                let operations = both.operations_needed(last.items.len() + 1);
                if operations <= self.operations.get() && both.bytes <= self.bytes.get() {
                    last.cost = both;
                    last.items.push((index, item));
                    continue;
                }
            }
            batches.push(Batch { items: vec![(index, item)], cost });
        }
        batches
    }
}

impl<I: BatchItem> Batch<'_, I> {
    fn describe(&self) -> String {
        let first = self.items.first().map(|(_, item)| item.describe()).unwrap_or_default();
        match self.items.len() - 1 {
            0 => first,
            others => format!("{first} and {others} more"),
        }
    }
}

/// Every item is in a chunk, and every chunk's answer is as long as it: this is for
/// a fault in here only.
fn lost_request<T>() -> Result<T, StoreError> {
    Err(StoreError::new(StoreErrorKind::Unknown, "a request for etcd was lost track of"))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    struct Thing(usize, usize);

    impl BatchItem for Thing {
        fn cost(&self) -> Cost {
            Cost { operations: self.1.max(1), inner: self.1, bytes: 1000 }
        }

        fn describe(&self) -> String {
            format!("thing {}", self.0)
        }
    }

    fn reject<T>(class: ErrorClass, kind: StoreErrorKind) -> Result<T, CallError> {
        Err(CallError { class, error: StoreError::new(kind, "no") })
    }

    /// Sends things to a server of these limits; answers how many went in each
    /// request that it took, and how many requests there were.
    async fn sizes(
        limits: &BatchLimits,
        things: &[Thing],
        operations: usize,
    ) -> (Vec<usize>, usize) {
        let (sizes, requests) = (RefCell::new(Vec::new()), Cell::new(0));
        let outcomes = limits.send_all(things, async |items: &[&Thing], _: &str| {
            requests.set(requests.get() + 1);
            let inner = items.iter().map(|item| item.1).max().unwrap();
            let outer = if items.len() == 1 { 0 } else { items.len() };
            if outer + inner > operations {
                return reject(ErrorClass::TooManyOperations, StoreErrorKind::Refused);
            }
            sizes.borrow_mut().push(items.len());
            Ok(items.iter().map(|item| Ok(item.0)).collect())
        });
        let indices = outcomes.await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(indices, (0..things.len()).collect::<Vec<_>>());
        (sizes.into_inner(), requests.get())
    }

    fn things(count: usize, inner: usize) -> Vec<Thing> {
        (0..count).map(|number| Thing(number, inner)).collect()
    }

    #[actix_rt::test]
    async fn fills_batches_to_the_limit() {
        let limits = BatchLimits::new();
        assert_eq!(
            sizes(&limits, &things(300, 3), 128).await,
            (vec![42, 42, 42, 42, 42, 42, 42, 6], 8)
        );
        assert_eq!(sizes(&limits, &things(300, 1), 128).await, (vec![127, 127, 46], 3));
        assert_eq!(sizes(&limits, &things(300, 0), 128).await, (vec![128, 128, 44], 3));
    }

    #[actix_rt::test]
    async fn learns_and_remembers_a_lower_limit() {
        let limits = BatchLimits::new();
        let (first, requests) = sizes(&limits, &things(250, 2), 20).await;
        assert_eq!(first.iter().sum::<usize>(), 250);
        assert!(first.iter().all(|size| *size + 2 <= 20), "{first:?}");
        assert!(requests > first.len());
        let (second, requests) = sizes(&limits, &things(250, 2), 20).await;
        assert_eq!(second.len(), requests, "nothing is refused a second time");
        // As low as it can be: one write a request, in no outer transaction.
        assert_eq!(sizes(&limits, &things(3, 3), 3).await.0, [1, 1, 1]);
    }

    #[actix_rt::test]
    async fn splits_requests_that_are_too_large() {
        let limits = BatchLimits::new();
        let things = things(100, 1);
        let outcomes = limits.send_all(&things, async |items: &[&Thing], _: &str| {
            if items.len() > 30 {
                return reject(ErrorClass::TooLarge, StoreErrorKind::Refused);
            }
            Ok(items.iter().map(|_| Ok(())).collect())
        });
        assert!(outcomes.await.iter().all(Result::is_ok));
    }

    #[actix_rt::test]
    async fn a_rejected_item_does_not_fail_the_others() {
        let (limits, things) = (BatchLimits::new(), things(100, 1));
        let outcomes = limits.send_all(&things, async |items: &[&Thing], _: &str| {
            if items.iter().any(|item| item.0 == 37) {
                return reject(ErrorClass::Other, StoreErrorKind::Refused);
            }
            Ok(items.iter().map(|_| Ok(())).collect())
        });
        let failed = outcomes.await.iter().position(Result::is_err);
        assert_eq!(failed, Some(37));
    }

    #[actix_rt::test]
    async fn outage_stops_the_batch() {
        let requests = Cell::new(0);
        let limits = BatchLimits::new();
        let things = things(2000, 1);
        let outcomes = limits.send_all(&things, async |_: &[&Thing], _: &str| {
            requests.set(requests.get() + 1);
            tokio::task::yield_now().await;
            reject::<Vec<Result<(), StoreError>>>(ErrorClass::Other, StoreErrorKind::Unknown)
        });
        let outcomes = outcomes.await;
        assert_eq!(requests.get(), REQUESTS_IN_FLIGHT_MAX);
        let last = outcomes.last().unwrap().as_ref().unwrap_err();
        assert_eq!(last.kind, StoreErrorKind::Unavailable);
        assert!(last.message.contains("not sent"), "{last}");
    }
}
