//! Records in this process, for one host without etcd.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use highhock_actors::{
    Change, Changes, Found, Granted, KeptAlive, Lease, LeaseFamily, LeaseId, RecordKey,
    RecordStore, StoreError, Upkeep, Write, Written,
};
use tokio::sync::mpsc::UnboundedReceiver;

use super::table::Table;
use crate::zone::Zone;

/// A [`RecordStore`] in memory, that does to the letter what etcd's v3 API does, but takes no
/// value that DNS could not answer. A clone is
/// another client of the same records. They live as long as one of the clients, and each
/// change of theirs is told to the [`Zone`] that DNS answers from.
///
/// It belongs to the thread that it was made in.
#[derive(Clone)]
pub struct MemoryStore(Rc<RefCell<Table>>);

impl MemoryStore {
    /// An empty store. `root`: the directory of the domain, for instance
    /// `skydns/local/skydns`; what is watched, and what records stand in.
    pub fn new(root: RecordKey, zone: Zone) -> Self {
        Self(Rc::new(RefCell::new(Table::new(root, zone))))
    }

    /// The keys of all that it holds, in their order.
    pub fn keys(&self) -> Vec<RecordKey> {
        self.now(|table| table.keys())
    }

    /// Looks at the table as it is now: without what has come to its end.
    fn now<T>(&self, look: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.0.borrow_mut();
        table.end_what_is_over();
        look(&mut table)
    }

    /// Waits for the next change: a write's, or the end of a lease.
    async fn next(&self, changes: &mut UnboundedReceiver<Change>) -> Option<Change> {
        loop {
            let end = self.now(|table| table.next_end());
            let over = async {
                match end {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // What was told before a lease's end comes before it.
                biased;
                change = changes.recv() => return change,
                () = over => {}
            }
        }
    }
}

impl RecordStore for MemoryStore {
    fn upkeep(&self) -> Upkeep {
        Upkeep::Lease
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Written, StoreError>> {
        self.now(|table| writes.into_iter().map(|write| table.write(write)).collect())
    }

    async fn read(&self, keys: Vec<RecordKey>) -> Vec<Result<Option<Found>, StoreError>> {
        self.now(|table| keys.iter().map(|key| Ok(table.read(key))).collect())
    }

    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn watch(&self) -> Result<Changes, StoreError> {
        let changes = self.now(Table::watch);
        let following = stream::unfold((self.clone(), changes), async |(store, mut changes)| {
            let change = store.next(&mut changes).await?;
            Some((Ok(change), (store, changes)))
        });
        Ok(following.boxed_local())
    }

    async fn leases(&self, family: LeaseFamily) -> Result<Vec<Lease>, StoreError> {
        Ok(self.now(|table| table.leases(family)))
    }

    async fn grant(&self, id: LeaseId, ttl: Duration) -> Result<Granted, StoreError> {
        Ok(self.now(|table| table.grant(id, ttl)))
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<KeptAlive, StoreError> {
        Ok(self.now(|table| table.keep_alive(id)))
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        self.now(|table| table.revoke(id));
        Ok(())
    }

    async fn leased(&self, id: LeaseId) -> Result<Vec<(RecordKey, Found)>, StoreError> {
        Ok(self.now(|table| table.leased(id)))
    }
}

#[cfg(test)]
mod tests {
    use highhock_actors::{Expected, Guard, StoreErrorKind, Tie};

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
            guard: Guard::Absent,
        };
        assert_eq!(store.write(vec![write]).await.remove(0).unwrap(), Written::Done);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_with_its_time_and_takes_along_what_hangs_on_it() {
        let store = store();
        let [brief, kept] = [1, 2].map(|number| LeaseFamily::new(1).lease(number));
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
        let gone = changes.next().await.unwrap().unwrap();
        assert_eq!(gone, Change { key: key("brief"), now: None });

        // Nobody asks for anything: those who watch are told all the same.
        let gone = changes.next().await.unwrap().unwrap();
        assert_eq!(gone, Change { key: key("kept"), now: None });
        let left = store.read(vec![key("static")]).await.remove(0).unwrap();
        assert_eq!(left.unwrap().tie, Tie::None);
    }

    #[tokio::test]
    async fn what_dns_could_not_answer_is_refused_with_the_reason_and_changes_nothing() {
        let zone = Zone::new();
        let store = MemoryStore::new(RecordKey::from_path(ROOT), zone.clone());
        let lease = LeaseFamily::new(1).lease(1);
        store.grant(lease, TTL).await.unwrap();
        put(&store, "there", Some(lease)).await;
        let there = store.read(vec![key("there")]).await.remove(0).unwrap().unwrap();
        let holds = Guard::Holds(Expected {
            value: there.value.clone(),
            lease: Some(lease),
            version: Some(there.version),
        });
        for (name, guard) in [("there", holds), ("new", Guard::Absent)] {
            let value: String = r#"{"host":"a..b"}"#.into();
            let write = Write::Put { key: key(name), value, ttl: TTL, lease: Some(lease), guard };
            let refused = store.write(vec![write]).await.remove(0).unwrap_err();
            assert_eq!(refused.kind, StoreErrorKind::Refused);
            let message = refused.message;
            assert!(message.starts_with(&format!("putting {}: ", key(name))), "{message}");
            assert!(message.contains("its host is no name"), "{message}");
        }
        assert_eq!(store.read(vec![key("there")]).await.remove(0).unwrap(), Some(there));
        assert_eq!(store.keys(), [key("there")]);
        assert!(zone.at(key("there").as_str()).is_some());
    }

    #[tokio::test]
    async fn a_refresh_is_nothing_to_ask_for() {
        let refresh = Write::Refresh { key: key("a"), value: VALUE.into(), ttl: TTL };
        let refused = store().write(vec![refresh]).await.remove(0).unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::Refused);
    }
}
