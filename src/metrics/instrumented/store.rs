//! Requests to etcd, counted.

use std::time::Duration;

use highhock_actors::{
    Changes, Found, Granted, KeptAlive, Lease, LeaseFamily, LeaseId, RecordKey, RecordStore,
    StoreError, StoreErrorKind, Upkeep, Write, Written,
};

use super::{OK, Observed, Requests};

const WRITE: &str = "write";
const READ: &str = "read";
const PROBE: &str = "probe";
const WATCH: &str = "watch";
const LEASES: &str = "leases";
const GRANT: &str = "grant";
const KEEP_ALIVE: &str = "keep_alive";
const REVOKE: &str = "revoke";
const LEASED: &str = "leased";

/// A kind's name as a label: without a blank.
fn kind(kind: StoreErrorKind) -> &'static str {
    match kind {
        StoreErrorKind::LeaseLost => "lost_lease",
        other => other.as_str(),
    }
}

impl Requests {
    /// For requests to etcd.
    pub fn of_etcd() -> Self {
        use StoreErrorKind::{Blocked, LeaseLost, Malformed, Refused, Unavailable, Unknown};
        let failures = [Unavailable, Unknown, Malformed, Refused, Blocked, LeaseLost].map(kind);
        let requests = [WRITE, READ, PROBE, WATCH, LEASES, GRANT, KEEP_ALIVE, REVOKE, LEASED];
        Self::new(&requests, &failures)
    }
}

fn result<T>(answer: &Result<T, StoreError>) -> &'static str {
    answer.as_ref().map_or_else(|error| kind(error.kind), |_| OK)
}

/// Of several outcomes the one that tells most: that etcd as a whole failed, else that
/// something did.
fn result_of_all<T>(outcomes: &[Result<T, StoreError>]) -> &'static str {
    let kinds = || outcomes.iter().filter_map(|one| one.as_ref().err()).map(|error| error.kind);
    let outage = kinds().find(|kind| kind.is_outage());
    outage.or_else(|| kinds().next()).map_or(OK, kind)
}

fn result_of_keep_alive(answer: &Result<KeptAlive, StoreError>) -> &'static str {
    match answer {
        Ok(KeptAlive::Lost) => kind(StoreErrorKind::LeaseLost),
        answer => result(answer),
    }
}

impl<R: RecordStore> RecordStore for Observed<R> {
    fn upkeep(&self) -> Upkeep {
        self.edge.upkeep()
    }

    /// Counted once, however many requests it takes.
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Written, StoreError>> {
        self.requests.observe(WRITE, self.edge.write(writes), |all| result_of_all(all)).await
    }

    /// Counted once, however many requests it takes.
    async fn read(&self, keys: Vec<RecordKey>) -> Vec<Result<Option<Found>, StoreError>> {
        self.requests.observe(READ, self.edge.read(keys), |all| result_of_all(all)).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.requests.observe(PROBE, self.edge.probe(), result).await
    }

    /// Timed until the stream is open.
    async fn watch(&self) -> Result<Changes, StoreError> {
        self.requests.observe(WATCH, self.edge.watch(), result).await
    }

    async fn leases(&self, family: LeaseFamily) -> Result<Vec<Lease>, StoreError> {
        self.requests.observe(LEASES, self.edge.leases(family), result).await
    }

    async fn grant(&self, id: LeaseId, ttl: Duration) -> Result<Granted, StoreError> {
        self.requests.observe(GRANT, self.edge.grant(id, ttl), result).await
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<KeptAlive, StoreError> {
        self.requests.observe(KEEP_ALIVE, self.edge.keep_alive(id), result_of_keep_alive).await
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        self.requests.observe(REVOKE, self.edge.revoke(id), result).await
    }

    async fn leased(&self, id: LeaseId) -> Result<Vec<(RecordKey, Found)>, StoreError> {
        self.requests.observe(LEASED, self.edge.leased(id), result).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: StoreErrorKind) -> Result<(), StoreError> {
        Err(StoreError::new(kind, "a test says so"))
    }

    #[test]
    fn of_a_batch_the_worst_is_counted() {
        use StoreErrorKind::{Blocked, LeaseLost, Refused, Unknown};
        for (outcomes, counted) in [
            (vec![], "ok"),
            (vec![Ok(())], "ok"),
            (vec![Ok(()), failed(Blocked), failed(Refused)], "blocked"),
            (vec![failed(Refused), Ok(()), failed(Unknown)], "unknown"),
            (vec![failed(LeaseLost)], "lost_lease"),
        ] {
            assert_eq!(result_of_all(&outcomes), counted, "{outcomes:?}");
        }
    }

    #[tokio::test]
    async fn each_request_is_counted_under_its_result() {
        let requests = Requests::of_etcd();
        let answers = [Ok(()), failed(Blocked), Ok(())];
        use StoreErrorKind::Blocked;
        for answer in answers {
            let _ = requests.observe(PROBE, async { answer }, result).await;
        }
        let counted: Vec<_> = requests
            .read()
            .into_iter()
            .flat_map(|row| row.results.into_iter().map(move |one| (row.request, one)))
            .filter(|(_, (_, count))| *count > 0)
            .collect();
        assert_eq!(counted, [("probe", ("ok", 2)), ("probe", ("blocked", 1))]);
        assert_eq!(requests.read()[2].seconds.count, 3);
    }
}
