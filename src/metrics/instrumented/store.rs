//! Counts and times the requests to etcd.

use std::time::Duration;

use highhock_actors::{
    ChangeStream, GrantOutcome, KeepAliveMode, KeptAlive, Lease, LeaseId, LeaseNamespace,
    LeasedRecords, RecordKey, RecordStore, StoreError, StoreErrorKind, StoredRecord, Write,
    WriteOutcome,
};

use super::{Instrumented, OK, RequestMetrics};

const WRITE: &str = "write";
const READ: &str = "read";
const PROBE: &str = "probe";
const WATCH: &str = "watch";
const LEASES: &str = "leases";
const GRANT: &str = "grant";
const KEEP_ALIVE: &str = "keep_alive";
const REVOKE: &str = "revoke";
const LEASED: &str = "leased";

/// Returns the label of a kind of error: its name without spaces.
fn kind(kind: StoreErrorKind) -> &'static str {
    match kind {
        StoreErrorKind::LeaseLost => "lost_lease",
        other => other.as_str(),
    }
}

impl RequestMetrics {
    /// Creates the metrics of requests to etcd.
    pub fn for_etcd() -> Self {
        use StoreErrorKind::{Blocked, LeaseLost, Malformed, Refused, Unavailable, Unknown};
        let failures = [Unavailable, Unknown, Malformed, Refused, Blocked, LeaseLost].map(kind);
        let requests = [WRITE, READ, PROBE, WATCH, LEASES, GRANT, KEEP_ALIVE, REVOKE, LEASED];
        Self::new(&requests, &failures)
    }
}

fn result<T>(response: &Result<T, StoreError>) -> &'static str {
    response.as_ref().map_or_else(|error| kind(error.kind), |_| OK)
}

/// Returns the most important result of a batch: an outage of etcd, else the first error.
fn batch_result<T>(outcomes: &[Result<T, StoreError>]) -> &'static str {
    let kinds = || outcomes.iter().filter_map(|one| one.as_ref().err()).map(|error| error.kind);
    let outage = kinds().find(|kind| kind.is_outage());
    outage.or_else(|| kinds().next()).map_or(OK, kind)
}

fn keep_alive_result(response: &Result<KeptAlive, StoreError>) -> &'static str {
    match response {
        Ok(KeptAlive::Lost) => kind(StoreErrorKind::LeaseLost),
        response => result(response),
    }
}

impl<R: RecordStore> RecordStore for Instrumented<R> {
    fn keep_alive_mode(&self) -> KeepAliveMode {
        self.inner.keep_alive_mode()
    }

    /// A batch counts once, even if it is sent in several requests.
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<WriteOutcome, StoreError>> {
        self.requests.measure(WRITE, self.inner.write(writes), |all| batch_result(all)).await
    }

    /// A batch counts once, even if it is sent in several requests.
    async fn read(&self, keys: Vec<RecordKey>) -> Vec<Result<Option<StoredRecord>, StoreError>> {
        self.requests.measure(READ, self.inner.read(keys), |all| batch_result(all)).await
    }

    async fn probe(&self) -> Result<Option<u64>, StoreError> {
        self.requests.measure(PROBE, self.inner.probe(), result).await
    }

    /// The duration ends when the stream is open.
    async fn watch(&self) -> Result<ChangeStream, StoreError> {
        self.requests.measure(WATCH, self.inner.watch(), result).await
    }

    async fn find_leases(&self, namespace: LeaseNamespace) -> Result<Vec<Lease>, StoreError> {
        self.requests.measure(LEASES, self.inner.find_leases(namespace), result).await
    }

    async fn grant(&self, id: LeaseId, ttl: Duration) -> Result<GrantOutcome, StoreError> {
        self.requests.measure(GRANT, self.inner.grant(id, ttl), result).await
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<KeptAlive, StoreError> {
        self.requests.measure(KEEP_ALIVE, self.inner.keep_alive(id), keep_alive_result).await
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        self.requests.measure(REVOKE, self.inner.revoke(id), result).await
    }

    async fn leased(&self, id: LeaseId) -> Result<LeasedRecords, StoreError> {
        self.requests.measure(LEASED, self.inner.leased(id), result).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: StoreErrorKind) -> Result<(), StoreError> {
        Err(StoreError::new(kind, "for a test"))
    }

    #[test]
    fn counts_the_worst_result_of_a_batch() {
        use StoreErrorKind::{Blocked, LeaseLost, Refused, Unknown};
        for (outcomes, counted) in [
            (vec![], "ok"),
            (vec![Ok(())], "ok"),
            (vec![Ok(()), failed(Blocked), failed(Refused)], "blocked"),
            (vec![failed(Refused), Ok(()), failed(Unknown)], "unknown"),
            (vec![failed(LeaseLost)], "lost_lease"),
        ] {
            assert_eq!(batch_result(&outcomes), counted, "{outcomes:?}");
        }
    }

    #[tokio::test]
    async fn counts_requests_by_result() {
        let requests = RequestMetrics::for_etcd();
        let answers = [Ok(()), failed(Blocked), Ok(())];
        use StoreErrorKind::Blocked;
        for answer in answers {
            let _ = requests.measure(PROBE, async { answer }, result).await;
        }
        let counted: Vec<_> = requests
            .snapshot()
            .into_iter()
            .flat_map(|row| row.results.into_iter().map(move |one| (row.request, one)))
            .filter(|(_, (_, count))| *count > 0)
            .collect();
        assert_eq!(counted, [("probe", ("ok", 2)), ("probe", ("blocked", 1))]);
        assert_eq!(requests.snapshot()[2].seconds.count, 3);
    }
}
