//! Packs many operations into few requests, within the limits of etcd.
//!
//! etcd limits the operations of a transaction (`--max-txn-ops`, 128 by default) and the size of a
//! request (`--max-request-bytes`, 1.5 MiB by default). A client cannot query these limits. They
//! are assumed to be the defaults until etcd rejects a request, and are then lowered.

use std::cell::Cell;

use highhock_actors::{StoreError, StoreErrorKind};

use super::error::ErrorClass;
use super::gateway::CallError;
use crate::etcd::batch;

/// The maximum number of concurrent requests of a batch.
const REQUESTS_IN_FLIGHT_MAX: usize = 4;

/// The default of etcd's `--max-txn-ops`.
const OPERATIONS_MAX: usize = 128;

/// The initial size of a request, well below 1.5 MiB, the default of etcd's `--max-request-bytes`.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// The limits of a request to this etcd: the defaults, until etcd rejects a request.
pub(super) struct BatchLimits {
    operations: Cell<usize>,
    bytes: Cell<usize>,
}

/// The share of a request that an item needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// The number of operations or comparisons in a transaction shared with other items.
    pub operations: usize,
    /// The number of operations in a transaction inside another one, or 0 if the item is never sent
    /// like that. etcd subtracts the operations of the outer transaction from the limit of each
    /// inner one.
    pub inner: usize,
    /// The approximate number of bytes.
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

    /// Returns the limit of operations that a transaction of `items` items requires, in either
    /// form.
    fn operations_needed(self, items: usize) -> usize {
        self.operations.max(items + self.inner)
    }
}

/// An item of a batch.
pub(super) trait BatchItem {
    fn cost(&self) -> Cost;

    /// Returns a description for errors, for example `putting skydns/local/a`.
    fn describe(&self) -> String;
}

/// A part of all items, which is sent as one request. Each item has its index among all items.
struct Batch<'a, I> {
    items: Vec<(usize, &'a I)>,
    /// The sum of all costs. For `inner` it is the maximum.
    cost: Cost,
}

/// The result of one request.
enum BatchResult<T> {
    Completed(Vec<Result<T, StoreError>>),
    /// Nothing was applied. The items are sent again in smaller batches.
    Retry,
    /// Nothing was applied, because of one item. The items are sent again in halves.
    Split,
}

impl BatchLimits {
    pub(super) fn new() -> Self {
        Self { operations: Cell::new(OPERATIONS_MAX), bytes: Cell::new(BATCH_BYTES_MAX) }
    }

    /// Sends all items by `send`, with several concurrent requests, and returns the results in the
    /// order of the items. Nothing more is sent after the first failure that concerns etcd as a
    /// whole.
    pub(super) async fn send_all<I: BatchItem, T>(
        &self,
        items: &[I],
        send: impl AsyncFn(&[&I], &str) -> Result<Vec<Result<T, StoreError>>, CallError>,
    ) -> Vec<Result<T, StoreError>> {
        let mut outcomes = items.iter().map(|_| None).collect::<Vec<_>>();
        let mut queue = vec![items.iter().enumerate().collect::<Vec<_>>()];
        while !queue.is_empty() {
            let parts = std::mem::take(&mut queue);
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
                    Ok(BatchResult::Retry) => queue.push(batch.items),
                    Ok(BatchResult::Split) => {
                        let mut first = batch.items;
                        let second = first.split_off(first.len() / 2);
                        queue.extend([first, second]);
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
                for (index, item) in queue.drain(..).flatten() {
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
            // etcd may have rejected a single item, which must not affect the others.
            ErrorClass::Other | ErrorClass::Denied
                if !is_single && failure.error.kind == StoreErrorKind::Refused =>
            {
                Ok(BatchResult::Split)
            }
            _ => Err(failure.error),
        }
    }

    /// Packs items into batches that fit into a request. An item that is too large is a batch of
    /// its own.
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

/// Returns the error for an item without a result. This is only possible by a bug: each item is in
/// one batch, and each batch has as many results as items.
fn lost_request<T>() -> Result<T, StoreError> {
    Err(StoreError::new(StoreErrorKind::Unknown, "internal error: a request to etcd has no result"))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    struct TestItem(usize, usize);

    impl BatchItem for TestItem {
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

    /// Sends items to a server with this limit of operations.
    async fn sizes(
        limits: &BatchLimits,
        test_items: &[TestItem],
        operations: usize,
    ) -> (Vec<usize>, usize) {
        let (sizes, requests) = (RefCell::new(Vec::new()), Cell::new(0));
        let outcomes = limits.send_all(test_items, async |items: &[&TestItem], _: &str| {
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
        assert_eq!(indices, (0..test_items.len()).collect::<Vec<_>>());
        (sizes.into_inner(), requests.get())
    }

    fn test_items(count: usize, inner: usize) -> Vec<TestItem> {
        (0..count).map(|number| TestItem(number, inner)).collect()
    }

    #[actix_rt::test]
    async fn fills_batches_to_the_limit() {
        let limits = BatchLimits::new();
        assert_eq!(
            sizes(&limits, &test_items(300, 3), 128).await,
            (vec![42, 42, 42, 42, 42, 42, 42, 6], 8)
        );
        assert_eq!(sizes(&limits, &test_items(300, 1), 128).await, (vec![127, 127, 46], 3));
        assert_eq!(sizes(&limits, &test_items(300, 0), 128).await, (vec![128, 128, 44], 3));
    }

    #[actix_rt::test]
    async fn learns_and_remembers_a_lower_limit() {
        let limits = BatchLimits::new();
        let (first, requests) = sizes(&limits, &test_items(250, 2), 20).await;
        assert_eq!(first.iter().sum::<usize>(), 250);
        assert!(first.iter().all(|size| *size + 2 <= 20), "{first:?}");
        assert!(requests > first.len());
        let (second, requests) = sizes(&limits, &test_items(250, 2), 20).await;
        assert_eq!(second.len(), requests, "the limit is remembered");
        // The lowest limit: one write per request, without an outer transaction.
        assert_eq!(sizes(&limits, &test_items(3, 3), 3).await.0, [1, 1, 1]);
    }

    #[actix_rt::test]
    async fn splits_requests_that_are_too_large() {
        let limits = BatchLimits::new();
        let test_items = test_items(100, 1);
        let outcomes = limits.send_all(&test_items, async |items: &[&TestItem], _: &str| {
            if items.len() > 30 {
                return reject(ErrorClass::TooLarge, StoreErrorKind::Refused);
            }
            Ok(items.iter().map(|_| Ok(())).collect())
        });
        assert!(outcomes.await.iter().all(Result::is_ok));
    }

    #[actix_rt::test]
    async fn a_rejected_item_does_not_fail_the_others() {
        let (limits, test_items) = (BatchLimits::new(), test_items(100, 1));
        let outcomes = limits.send_all(&test_items, async |items: &[&TestItem], _: &str| {
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
        let test_items = test_items(2000, 1);
        let outcomes = limits.send_all(&test_items, async |_: &[&TestItem], _: &str| {
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
