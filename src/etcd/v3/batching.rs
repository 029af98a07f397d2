//! Many operations in as few requests as etcd takes them in.

use std::cell::Cell;

use highhock_actors::{StoreError, StoreErrorKind};

use super::error::Reason;
use super::gateway::CallError;
use crate::etcd::batch;

/// How many requests of a batch are under way at a time.
const IN_FLIGHT: usize = 4;

/// etcd's own default of `--max-txn-ops`.
const OPERATIONS: usize = 128;

/// Well below etcd's default of `--max-request-bytes`, 1.5 MiB.
const BYTES: usize = 1 << 20;

/// What this etcd takes in one request: its defaults, until it refuses one.
pub(super) struct Limits {
    operations: Cell<usize>,
    bytes: Cell<usize>,
}

/// What an item takes up in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// The operations, or comparisons, where it shares a transaction with others.
    pub operations: usize,
    /// The same where it is a transaction within another; 0 where that is never
    /// needed. etcd takes the outer transaction's operations off what each of the
    /// inner ones may have.
    pub inner: usize,
    /// About.
    pub bytes: usize,
}

impl Weight {
    fn with(self, other: Self) -> Self {
        Self {
            operations: self.operations + other.operations,
            inner: self.inner.max(other.inner),
            bytes: self.bytes + other.bytes,
        }
    }

    /// How many operations a transaction of so many items must be allowed, in
    /// either shape.
    fn needs(self, items: usize) -> usize {
        self.operations.max(items + self.inner)
    }
}

/// Something to be sent among others.
pub(super) trait Item {
    fn weight(&self) -> Weight;

    /// For errors, for instance `putting skydns/local/a`.
    fn describe(&self) -> String;
}

/// A part of a batch: the items and their places in it.
struct Chunk<'a, I> {
    items: Vec<(usize, &'a I)>,
    /// The sums; of `inner`, the largest.
    weight: Weight,
}

enum Sent<T> {
    Answered(Vec<Result<T, StoreError>>),
    /// Not done, and to be sent again in smaller parts.
    Again,
    /// Not done, and to be sent again in halves: one of the items spoils it.
    Halved,
}

impl Limits {
    pub(super) fn new() -> Self {
        Self { operations: Cell::new(OPERATIONS), bytes: Cell::new(BYTES) }
    }

    /// Sends all items by `send`, several requests at a time, and answers in their
    /// order. After the first failure that tells of etcd as a whole, nothing more
    /// is sent.
    pub(super) async fn send_all<I: Item, T>(
        &self,
        items: &[I],
        send: impl AsyncFn(&[&I], &str) -> Result<Vec<Result<T, StoreError>>, CallError>,
    ) -> Vec<Result<T, StoreError>> {
        let mut outcomes = items.iter().map(|_| None).collect::<Vec<_>>();
        let mut waiting = vec![items.iter().enumerate().collect::<Vec<_>>()];
        while !waiting.is_empty() {
            let parts = std::mem::take(&mut waiting);
            let chunks = parts.into_iter().flat_map(|part| self.pack(part)).collect::<Vec<_>>();
            let one = async |chunk: &Chunk<'_, I>| self.send_one(chunk, &send).await;
            let sent = batch::run(&chunks, IN_FLIGHT, Chunk::describe, one).await;
            let mut outage = None;
            for (chunk, sent) in chunks.into_iter().zip(sent) {
                match sent {
                    Ok(Sent::Answered(answers)) => {
                        for ((place, _), answer) in chunk.items.iter().zip(answers) {
                            outcomes[*place] = Some(answer);
                        }
                    }
                    Ok(Sent::Again) => waiting.push(chunk.items),
                    Ok(Sent::Halved) => {
                        let mut first = chunk.items;
                        let second = first.split_off(first.len() / 2);
                        waiting.extend([first, second]);
                    }
                    Err(error) => {
                        for (place, _) in &chunk.items {
                            outcomes[*place] = Some(Err(error.clone()));
                        }
                        outage = outage.or(error.kind.is_outage().then_some(error));
                    }
                }
            }
            if let Some(first) = outage {
                for (place, item) in waiting.drain(..).flatten() {
                    outcomes[place] = Some(Err(batch::not_sent(&item.describe(), &first)));
                }
            }
        }
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(no_answer)).collect()
    }

    async fn send_one<I: Item, T>(
        &self,
        chunk: &Chunk<'_, I>,
        send: &impl AsyncFn(&[&I], &str) -> Result<Vec<Result<T, StoreError>>, CallError>,
    ) -> Result<Sent<T>, StoreError> {
        let items = chunk.items.iter().map(|(_, item)| *item).collect::<Vec<_>>();
        let failure = match send(&items, &chunk.describe()).await {
            Ok(answers) => return Ok(Sent::Answered(answers)),
            Err(failure) => failure,
        };
        let is_one = items.len() < 2;
        match failure.reason {
            Reason::TooManyOperations if !is_one => {
                let sent = chunk.weight.needs(items.len());
                self.operations.set(self.operations.get().min(sent / 2));
                Ok(Sent::Again)
            }
            Reason::TooLarge if !is_one => {
                self.bytes.set(self.bytes.get().min(chunk.weight.bytes / 2));
                Ok(Sent::Again)
            }
            // It may be for one of them only, which must not spoil the others.
            Reason::Other if !is_one && failure.error.kind == StoreErrorKind::Refused => {
                Ok(Sent::Halved)
            }
            _ => Err(failure.error),
        }
    }

    /// Cuts items into chunks that fit in a request; one that doesn't fit even
    /// alone is left alone.
    fn pack<'a, I: Item>(&self, items: Vec<(usize, &'a I)>) -> Vec<Chunk<'a, I>> {
        let mut chunks = Vec::<Chunk<'a, I>>::new();
        for (place, item) in items {
            let weight = item.weight();
            if let Some(last) = chunks.last_mut() {
                let both = last.weight.with(weight);
                let operations = both.needs(last.items.len() + 1);
                if operations <= self.operations.get() && both.bytes <= self.bytes.get() {
                    last.weight = both;
                    last.items.push((place, item));
                    continue;
                }
            }
            chunks.push(Chunk { items: vec![(place, item)], weight });
        }
        chunks
    }
}

impl<I: Item> Chunk<'_, I> {
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
fn no_answer<T>() -> Result<T, StoreError> {
    Err(StoreError::new(StoreErrorKind::Unknown, "a request for etcd was lost track of"))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    struct Thing(usize, usize);

    impl Item for Thing {
        fn weight(&self) -> Weight {
            Weight { operations: self.1.max(1), inner: self.1, bytes: 1000 }
        }

        fn describe(&self) -> String {
            format!("thing {}", self.0)
        }
    }

    fn refuse<T>(reason: Reason, kind: StoreErrorKind) -> Result<T, CallError> {
        Err(CallError { reason, error: StoreError::new(kind, "no") })
    }

    /// Sends things to a server of these limits; answers how many went in each
    /// request that it took, and how many requests there were.
    async fn sizes(limits: &Limits, things: &[Thing], operations: usize) -> (Vec<usize>, usize) {
        let (sizes, requests) = (RefCell::new(Vec::new()), Cell::new(0));
        let outcomes = limits.send_all(things, async |items: &[&Thing], _: &str| {
            requests.set(requests.get() + 1);
            let inner = items.iter().map(|item| item.1).max().unwrap();
            let outer = if items.len() == 1 { 0 } else { items.len() };
            if outer + inner > operations {
                return refuse(Reason::TooManyOperations, StoreErrorKind::Refused);
            }
            sizes.borrow_mut().push(items.len());
            Ok(items.iter().map(|item| Ok(item.0)).collect())
        });
        let places = outcomes.await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(places, (0..things.len()).collect::<Vec<_>>());
        (sizes.into_inner(), requests.get())
    }

    fn things(count: usize, inner: usize) -> Vec<Thing> {
        (0..count).map(|number| Thing(number, inner)).collect()
    }

    #[actix_rt::test]
    async fn fills_requests_to_the_limit() {
        let limits = Limits::new();
        assert_eq!(
            sizes(&limits, &things(300, 3), 128).await,
            (vec![42, 42, 42, 42, 42, 42, 42, 6], 8)
        );
        assert_eq!(sizes(&limits, &things(300, 1), 128).await, (vec![127, 127, 46], 3));
        assert_eq!(sizes(&limits, &things(300, 0), 128).await, (vec![128, 128, 44], 3));
    }

    #[actix_rt::test]
    async fn learns_a_lower_limit_and_remembers_it() {
        let limits = Limits::new();
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
    async fn what_is_too_large_goes_in_smaller_parts() {
        let limits = Limits::new();
        let things = things(100, 1);
        let outcomes = limits.send_all(&things, async |items: &[&Thing], _: &str| {
            if items.len() > 30 {
                return refuse(Reason::TooLarge, StoreErrorKind::Refused);
            }
            Ok(items.iter().map(|_| Ok(())).collect())
        });
        assert!(outcomes.await.iter().all(Result::is_ok));
    }

    #[actix_rt::test]
    async fn one_that_is_refused_does_not_spoil_the_others() {
        let (limits, things) = (Limits::new(), things(100, 1));
        let outcomes = limits.send_all(&things, async |items: &[&Thing], _: &str| {
            if items.iter().any(|item| item.0 == 37) {
                return refuse(Reason::Other, StoreErrorKind::Refused);
            }
            Ok(items.iter().map(|_| Ok(())).collect())
        });
        let failed = outcomes.await.iter().position(Result::is_err);
        assert_eq!(failed, Some(37));
    }

    #[actix_rt::test]
    async fn an_outage_stops_the_batch() {
        let requests = Cell::new(0);
        let limits = Limits::new();
        let things = things(2000, 1);
        let outcomes = limits.send_all(&things, async |_: &[&Thing], _: &str| {
            requests.set(requests.get() + 1);
            tokio::task::yield_now().await;
            refuse::<Vec<Result<(), StoreError>>>(Reason::Other, StoreErrorKind::Unknown)
        });
        let outcomes = outcomes.await;
        assert_eq!(requests.get(), IN_FLIGHT);
        let last = outcomes.last().unwrap().as_ref().unwrap_err();
        assert_eq!(last.kind, StoreErrorKind::Unavailable);
        assert!(last.message.contains("not sent"), "{last}");
    }
}
