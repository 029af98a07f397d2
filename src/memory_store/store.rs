//! [`MemoryStore`]: a record store in memory, for one host without etcd.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use highhock_actors::{
    Change, ChangeStream, GrantOutcome, KeepAliveMode, KeptAlive, Lease, LeaseId, LeaseNamespace,
    LeasedRecords, RecordKey, RecordStore, StoreError, StoredRecord, Write, WriteOutcome,
};
use tokio::sync::mpsc::UnboundedReceiver;

use super::table::StoreTable;
use crate::zone::Zone;

/// A [`RecordStore`] in memory that behaves exactly like the v3 API of etcd, except that it
/// rejects values that are not valid DNS records.
///
/// A clone is another client of the same records. The records live until the last client is
/// dropped. Every change is applied to the [`Zone`] of the DNS server as well. The store is
/// bound to the thread that created it.
#[derive(Clone)]
pub struct MemoryStore(Rc<RefCell<StoreTable>>);

impl MemoryStore {
    /// Creates an empty store. `root` is the directory of the domain, for example
    /// `skydns/local/skydns`. The watch reports the changes below it.
    pub fn new(root: RecordKey, zone: Zone) -> Self {
        Self(Rc::new(RefCell::new(StoreTable::new(root, zone))))
    }

    /// Returns all keys in order.
    pub fn keys(&self) -> Vec<RecordKey> {
        self.with_table(|table| table.keys())
    }

    /// Calls `access` with the table, after removing expired leases and their records.
    fn with_table<T>(&self, access: impl FnOnce(&mut StoreTable) -> T) -> T {
        let mut table = self.0.borrow_mut();
        table.expire_leases();
        access(&mut table)
    }

    /// Waits for the next change, which is a write or the expiry of a lease.
    async fn next(&self, changes: &mut UnboundedReceiver<Change>) -> Option<Change> {
        loop {
            let end = self.with_table(|table| table.next_expiry());
            let expired = async {
                match end {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Changes that were queued before a lease expired are delivered first.
                biased;
                change = changes.recv() => return change,
                () = expired => {}
            }
        }
    }
}

impl RecordStore for MemoryStore {
    fn keep_alive_mode(&self) -> KeepAliveMode {
        KeepAliveMode::Lease
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<WriteOutcome, StoreError>> {
        self.with_table(|table| writes.into_iter().map(|write| table.write(write)).collect())
    }

    async fn read(&self, keys: Vec<RecordKey>) -> Vec<Result<Option<StoredRecord>, StoreError>> {
        self.with_table(|table| keys.iter().map(|key| Ok(table.read(key))).collect())
    }

    async fn probe(&self) -> Result<Option<u64>, StoreError> {
        Ok(Some(self.with_table(|table| table.revision())))
    }

    async fn watch(&self) -> Result<ChangeStream, StoreError> {
        let changes = self.with_table(StoreTable::watch);
        let stream_of_changes =
            stream::unfold((self.clone(), changes), async |(store, mut changes)| {
                let change = store.next(&mut changes).await?;
                Some((Ok(change), (store, changes)))
            });
        Ok(stream_of_changes.boxed_local())
    }

    async fn find_leases(&self, namespace: LeaseNamespace) -> Result<Vec<Lease>, StoreError> {
        Ok(self.with_table(|table| table.leases(namespace)))
    }

    async fn grant(&self, id: LeaseId, ttl: Duration) -> Result<GrantOutcome, StoreError> {
        Ok(self.with_table(|table| table.grant(id, ttl)))
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<KeptAlive, StoreError> {
        Ok(self.with_table(|table| table.keep_alive(id)))
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        self.with_table(|table| table.revoke(id));
        Ok(())
    }

    async fn leased(&self, id: LeaseId) -> Result<LeasedRecords, StoreError> {
        Ok(self.with_table(|table| table.leased(id)))
    }
}

#[cfg(test)]
mod tests {
    use highhock_actors::{ExpectedValue, Expiry, Precondition, StoreErrorKind};

    use super::*;

    const ROOT: &str = "skydns/local/skydns";
    const TTL: Duration = Duration::from_secs(10);
    const VALUE: &str = r#"{"host":"10.0.0.1","port":80,"ttl":60}"#;

    fn store() -> MemoryStore {
        MemoryStore::new(RecordKey::from_path(ROOT), Zone::new())
    }

    fn key(name: &str) -> RecordKey {
        RecordKey::from_path(&format!("{ROOT}/{name}"))
    }

    async fn put(store: &MemoryStore, name: &str, lease: Option<LeaseId>) {
        let write = Write::Put {
            key: key(name),
            value: VALUE.into(),
            ttl: TTL,
            lease,
            precondition: Precondition::Absent,
        };
        assert_eq!(store.write(vec![write]).await.remove(0).unwrap(), WriteOutcome::Done);
    }

    #[tokio::test(start_paused = true)]
    async fn expired_leases_remove_their_records() {
        let store = store();
        let [brief, kept] = [1, 2].map(|number| LeaseNamespace::from_hash(1).lease(number));
        for lease in [brief, kept] {
            store.grant(lease, TTL).await.unwrap();
        }
        put(&store, "brief", Some(brief)).await;
        put(&store, "kept", Some(kept)).await;
        put(&store, "static", None).await;
        let mut changes = store.watch().await.unwrap();

        tokio::time::advance(TTL - Duration::from_millis(1)).await;
        assert_eq!(store.keep_alive(kept).await.unwrap(), KeptAlive::For(TTL));
        assert_eq!(store.keys(), ["brief", "kept", "static"].map(key));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(store.keys(), ["kept", "static"].map(key));
        assert_eq!(store.keep_alive(brief).await.unwrap(), KeptAlive::Lost);
        let change = changes.next().await.unwrap().unwrap();
        assert_eq!(change, Change { key: key("brief"), now: None });

        // No other call is in progress. The watch must report the expiry nevertheless.
        let change = changes.next().await.unwrap().unwrap();
        assert_eq!(change, Change { key: key("kept"), now: None });
        let left = store.read(vec![key("static")]).await.remove(0).unwrap();
        assert_eq!(left.unwrap().expiry, Expiry::Never);
    }

    #[tokio::test]
    async fn rejects_invalid_records_and_changes_nothing() {
        let zone = Zone::new();
        let store = MemoryStore::new(RecordKey::from_path(ROOT), zone.clone());
        let lease = LeaseNamespace::from_hash(1).lease(1);
        store.grant(lease, TTL).await.unwrap();
        put(&store, "there", Some(lease)).await;
        let existing = store.read(vec![key("there")]).await.remove(0).unwrap().unwrap();
        let equals = Precondition::Equals(ExpectedValue {
            value: existing.value.clone(),
            lease: Some(lease),
            version: Some(existing.version),
        });
        for (name, precondition) in [("there", equals), ("new", Precondition::Absent)] {
            let value: String = r#"{"host":"a..b"}"#.into();
            let write =
                Write::Put { key: key(name), value, ttl: TTL, lease: Some(lease), precondition };
            let error = store.write(vec![write]).await.remove(0).unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::Refused);
            let message = error.message;
            assert!(message.starts_with(&format!("putting {}: ", key(name))), "{message}");
            assert!(message.contains("its host is not a valid name"), "{message}");
        }
        assert_eq!(store.read(vec![key("there")]).await.remove(0).unwrap(), Some(existing));
        assert_eq!(store.keys(), [key("there")]);
        assert!(zone.get(key("there").as_str()).is_some());
    }

    #[tokio::test]
    async fn rejects_refreshes() {
        let refresh = Write::Refresh { key: key("a"), value: VALUE.into(), ttl: TTL };
        let error = store().write(vec![refresh]).await.remove(0).unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Refused);
    }
}
