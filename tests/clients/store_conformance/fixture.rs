//! A store of one column of the matrix, and a domain in it for each behaviour.

use std::time::Duration;

use futures_util::FutureExt;
use highhock::etcd::{Api, Cluster, EtcdV2, EtcdV2Options, EtcdV3, EtcdV3Options};
use highhock::memory_store::MemoryStore;
use highhock::record_store::Store;
use highhock::zone::Zone;
use highhock_actors::{
    ExpectedValue, Expiry, GrantOutcome, LeaseId, LeaseNamespace, Precondition, RecordKey,
    RecordStore, StoreError, StoredRecord, Write, WriteOutcome,
};

use crate::support::cluster::Cluster as EtcdCluster;
use crate::support::etcd::{Etcd, Release};
use crate::support::unique;

pub const TTL: Duration = Duration::from_secs(60);
pub const VALUE: &str = r#"{"host":"10.77.66.0","port":8080,"ttl":60}"#;
pub const OTHER: &str = r#"{"host":"10.77.66.99","port":8080,"ttl":60}"#;

/// Long enough for a machine that runs other tests too.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub enum ClusterSize {
    Single,
    Three,
}

pub enum Servers {
    Single(Etcd),
    Three(EtcdCluster),
}

impl Servers {
    fn urls(&self) -> String {
        match self {
            Self::Single(etcd) => etcd.url(),
            Self::Three(three) => three.urls(),
        }
    }

    fn any_member(&self) -> &Etcd {
        match self {
            Self::Single(etcd) => etcd,
            Self::Three(three) => &three.members[1],
        }
    }
}

/// The store of one column of the matrix.
pub enum StoreUnderTest {
    /// A running etcd, used by this API.
    Etcd(Api, Servers),
    /// The memory store.
    Memory,
}

impl StoreUnderTest {
    /// Returns `None` if this machine does not have this etcd.
    pub fn start(api: Api, release: Release, size: ClusterSize) -> Option<Self> {
        let servers = match size {
            ClusterSize::Single => Servers::Single(Etcd::start_release(release)?),
            ClusterSize::Three => Servers::Three(EtcdCluster::start(release)?),
        };
        Some(Self::Etcd(api, servers))
    }

    pub fn has_leases(&self) -> bool {
        !matches!(self, Self::Etcd(Api::V2, _))
    }

    fn store(&self, root: &str) -> Store {
        let root = RecordKey::from_path(root);
        match self {
            Self::Etcd(api, servers) => etcd_store(*api, servers, root),
            Self::Memory => Store::Memory(MemoryStore::new(root, Zone::new())),
        }
    }
}

/// The domain of one behaviour, with a store client and a lease namespace.
pub struct TestDomain<'a> {
    target: &'a StoreUnderTest,
    root: String,
    pub store: Store,
    pub namespace: LeaseNamespace,
}

impl<'a> TestDomain<'a> {
    pub fn new(target: &'a StoreUnderTest, name: &str) -> Self {
        let root = format!("skydns/local/{}", name.replace('_', "-"));
        let store = target.store(&root);
        let namespace =
            LeaseNamespace::from_hash(u64::from(unique()) << 20 | u64::from(std::process::id()));
        Self { target, root, store, namespace }
    }

    pub fn has_leases(&self) -> bool {
        self.target.has_leases()
    }

    /// Returns another client of the same domain.
    pub fn another_store(&self) -> Store {
        match &self.store {
            Store::EtcdV2(_) | Store::EtcdV3(_) => self.target.store(&self.root),
            Store::Memory(memory) => Store::Memory(memory.clone()),
        }
    }

    /// Grants the lease of this number if it does not exist, and returns its id. Returns `None`
    /// for v2.
    pub async fn lease(&self, number: u8) -> Option<LeaseId> {
        if !self.has_leases() {
            return None;
        }
        let id = self.namespace.lease(number);
        let granted = self.store.grant(id, TTL).await.unwrap();
        assert!(matches!(granted, GrantOutcome::Fresh | GrantOutcome::Existed));
        Some(id)
    }

    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    pub fn key(&self, name: &str) -> RecordKey {
        RecordKey::from_path(&self.path(name))
    }

    pub fn put(&self, name: &str, lease: Option<LeaseId>) -> Write {
        self.put_value(name, VALUE, lease, Precondition::Absent)
    }

    pub fn put_value(
        &self,
        name: &str,
        value: &str,
        lease: Option<LeaseId>,
        precondition: Precondition,
    ) -> Write {
        Write::Put { key: self.key(name), value: value.into(), ttl: TTL, lease, precondition }
    }

    /// Builds a put that expects the value `old`.
    pub fn swap(
        &self,
        name: &str,
        old: &str,
        version: Option<u64>,
        lease: Option<LeaseId>,
    ) -> Write {
        let precondition = Precondition::Equals(ExpectedValue { version, ..expect_value(old) });
        self.put_value(name, VALUE, lease, precondition)
    }

    pub fn delete(&self, name: &str, value: &str, version: Option<u64>) -> Write {
        Write::Delete {
            key: self.key(name),
            expected: ExpectedValue { version, ..expect_value(value) },
        }
    }

    pub async fn write(&self, write: Write) -> Result<WriteOutcome, StoreError> {
        write_to(&self.store, write).await
    }

    pub async fn read(&self, name: &str) -> Result<Option<StoredRecord>, StoreError> {
        let mut outcomes = self.store.read(vec![self.key(name)]).await;
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0)
    }

    /// Returns the record at a name, which must exist.
    pub async fn found(&self, name: &str) -> StoredRecord {
        self.read(name).await.unwrap().expect("an existing record")
    }

    /// Returns a value that contains `text` and that the store accepts. etcd accepts any value.
    pub fn value_with(&self, text: &str) -> String {
        match self.target {
            StoreUnderTest::Etcd(..) => text.to_owned(),
            StoreUnderTest::Memory => {
                serde_json::json!({ "host": "10.77.66.0", "text": text }).to_string()
            }
        }
    }

    /// Puts a value as another client, replacing any value, with a TTL in seconds or for ever.
    /// Returns its lease in v3.
    pub fn foreign_put(&self, name: &str, value: &str, ttl: Option<u64>) -> Option<LeaseId> {
        let path = self.path(name);
        match (self.target, &self.store) {
            (StoreUnderTest::Etcd(Api::V2, servers), _) => {
                servers.any_member().put(&path, value, ttl);
                None
            }
            (StoreUnderTest::Etcd(Api::V3, servers), _) => {
                let etcd = servers.any_member().v3();
                let lease = ttl.map(|ttl| etcd.grant(ttl, None));
                etcd.put(&format!("/{path}"), value, lease);
                lease.map(LeaseId)
            }
            (StoreUnderTest::Memory, store) => self.put_in_memory(store, name, value, ttl),
        }
    }

    /// The memory store has no second process, so the same client writes.
    fn put_in_memory(
        &self,
        store: &Store,
        name: &str,
        value: &str,
        ttl: Option<u64>,
    ) -> Option<LeaseId> {
        let lease = ttl.map(|ttl| {
            let id = LeaseNamespace::from_hash(u64::from(unique())).lease(0);
            let granted = ready_now(store.grant(id, Duration::from_secs(ttl))).unwrap();
            assert_eq!(granted, GrantOutcome::Fresh);
            id
        });
        let precondition = match ready_now(self.read(name)).unwrap() {
            Some(found) => Precondition::Equals(exact_expectation(found)),
            None => Precondition::Absent,
        };
        let put = self.put_value(name, value, lease, precondition);
        assert_eq!(ready_now(write_to(store, put)).unwrap(), WriteOutcome::Done);
        lease
    }

    pub fn foreign_delete(&self, name: &str) {
        match self.target {
            StoreUnderTest::Etcd(Api::V2, servers) => servers.any_member().remove(&self.path(name)),
            StoreUnderTest::Etcd(Api::V3, servers) => {
                servers.any_member().v3().delete(&format!("/{}", self.path(name)));
            }
            StoreUnderTest::Memory => {
                let expected = exact_expectation(ready_now(self.found(name)));
                let delete = Write::Delete { key: self.key(name), expected };
                assert_eq!(ready_now(self.write(delete)).unwrap(), WriteOutcome::Done);
            }
        }
    }

    /// Returns all names with a value in the domain.
    pub fn names(&self) -> Vec<String> {
        let inside = format!("{}/", self.root);
        let keys: Vec<String> = match (self.target, &self.store) {
            (StoreUnderTest::Etcd(Api::V3, servers), _) => {
                let held = servers.any_member().v3().list(&format!("/{inside}"));
                held.into_iter().map(|kv| kv.key.trim_start_matches('/').to_owned()).collect()
            }
            (StoreUnderTest::Etcd(Api::V2, servers), _) => {
                let held = servers.any_member().list(&self.root);
                held.into_iter().filter(|node| !node.dir).map(|node| node.key).collect()
            }
            (StoreUnderTest::Memory, Store::Memory(memory)) => {
                let keys = memory.keys().into_iter().map(|key| key.as_str().to_owned());
                // The memory store also contains keys outside the domain.
                keys.filter(|key| key.starts_with(&inside)).collect()
            }
            (StoreUnderTest::Memory, Store::EtcdV2(_) | Store::EtcdV3(_)) => {
                unreachable!("the memory store has a memory client")
            }
        };
        let mut names = keys
            .iter()
            .map(|key| key.strip_prefix(&inside).expect("a key in the domain").to_owned())
            .collect::<Vec<_>>();
        names.sort();
        names
    }
}

/// Returns the output of a memory store's future, which is always ready.
fn ready_now<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().expect("a ready future")
}

fn etcd_store(api: Api, servers: &Servers, root: RecordKey) -> Store {
    let log = slog::Logger::root(slog::Discard, slog::o!());
    let urls = servers.urls().split(',').map(|url| url.parse().unwrap()).collect();
    let cluster = Cluster { timeout: TIMEOUT, ..Cluster::new(urls) };
    match api {
        Api::V2 => {
            let options = EtcdV2Options { cluster, root, prefix: "skydns".into() };
            Store::EtcdV2(EtcdV2::new(options, log).unwrap())
        }
        Api::V3 => Store::EtcdV3(EtcdV3::new(EtcdV3Options { cluster, root }, log).unwrap()),
    }
}

/// Builds a precondition that exactly this record meets.
fn exact_expectation(found: StoredRecord) -> ExpectedValue {
    let lease = match found.expiry {
        Expiry::Lease(id) => Some(id),
        Expiry::Never | Expiry::Ttl(_) => None,
    };
    ExpectedValue { value: found.value, lease, version: Some(found.version) }
}

pub fn expect_value(value: &str) -> ExpectedValue {
    ExpectedValue { value: value.into(), lease: None, version: None }
}

pub async fn write_to(store: &Store, write: Write) -> Result<WriteOutcome, StoreError> {
    let mut outcomes = store.write(vec![write]).await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}
