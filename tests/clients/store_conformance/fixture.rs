//! A store of one column of the matrix, and a domain in it for each behaviour.

use std::time::Duration;

use futures_util::FutureExt;
use highhock::etcd::{Api, Cluster, EtcdV2, EtcdV2Options, EtcdV3, EtcdV3Options};
use highhock::memory_store::MemoryStore;
use highhock::record_store::Store;
use highhock::zone::Zone;
use highhock_actors::{
    Expected, Found, Granted, Guard, LeaseFamily, LeaseId, RecordKey, RecordStore, StoreError, Tie,
    Write, Written,
};

use crate::support::cluster::Cluster as Three;
use crate::support::etcd::{Etcd, Release};
use crate::support::unique;

pub const TTL: Duration = Duration::from_secs(60);
pub const VALUE: &str = r#"{"host":"10.77.66.0","port":8080,"ttl":60}"#;
pub const OTHER: &str = r#"{"host":"10.77.66.99","port":8080,"ttl":60}"#;

/// A machine that runs other tests too is slow at times.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub enum Size {
    Alone,
    Three,
}

pub enum Servers {
    Alone(Etcd),
    Three(Three),
}

impl Servers {
    fn urls(&self) -> String {
        match self {
            Self::Alone(etcd) => etcd.url(),
            Self::Three(three) => three.urls(),
        }
    }

    fn one(&self) -> &Etcd {
        match self {
            Self::Alone(etcd) => etcd,
            Self::Three(three) => &three.members[1],
        }
    }
}

/// Where the stores of one column keep their records.
pub enum Bed {
    /// In a running etcd, which is spoken to by this API.
    Etcd(Api, Servers),
    /// In this process.
    Memory,
}

impl Bed {
    /// `None`: this machine has no such etcd.
    pub fn start(api: Api, release: Release, size: Size) -> Option<Self> {
        let servers = match size {
            Size::Alone => Servers::Alone(Etcd::start_release(release)?),
            Size::Three => Servers::Three(Three::start(release)?),
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

/// A domain of a behaviour's own, with a store and, where records hang on one, a
/// lease for it.
pub struct Field<'a> {
    bed: &'a Bed,
    root: String,
    pub store: Store,
    pub family: LeaseFamily,
}

impl<'a> Field<'a> {
    pub fn new(bed: &'a Bed, name: &str) -> Self {
        let root = format!("skydns/local/{}", name.replace('_', "-"));
        let store = bed.store(&root);
        let family = LeaseFamily::new(u64::from(unique()) << 20 | u64::from(std::process::id()));
        Self { bed, root, store, family }
    }

    pub fn has_leases(&self) -> bool {
        self.bed.has_leases()
    }

    /// Another client in the same domain.
    pub fn another_store(&self) -> Store {
        match &self.store {
            Store::EtcdV2(_) | Store::EtcdV3(_) => self.bed.store(&self.root),
            Store::Memory(memory) => Store::Memory(memory.clone()),
        }
    }

    /// The lease of this number, which is there from now on; none in v2.
    pub async fn lease(&self, number: u8) -> Option<LeaseId> {
        if !self.has_leases() {
            return None;
        }
        let id = self.family.lease(number);
        let granted = self.store.grant(id, TTL).await.unwrap();
        assert!(matches!(granted, Granted::Fresh | Granted::Existed));
        Some(id)
    }

    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    pub fn key(&self, name: &str) -> RecordKey {
        RecordKey::from_path(&self.path(name))
    }

    pub fn put(&self, name: &str, lease: Option<LeaseId>) -> Write {
        self.put_value(name, VALUE, lease, Guard::Absent)
    }

    pub fn put_value(
        &self,
        name: &str,
        value: &str,
        lease: Option<LeaseId>,
        guard: Guard,
    ) -> Write {
        Write::Put { key: self.key(name), value: value.into(), ttl: TTL, lease, guard }
    }

    /// In place of `old`.
    pub fn swap(
        &self,
        name: &str,
        old: &str,
        version: Option<u64>,
        lease: Option<LeaseId>,
    ) -> Write {
        let guard = Guard::Holds(Expected { version, ..expect(old) });
        self.put_value(name, VALUE, lease, guard)
    }

    pub fn delete(&self, name: &str, value: &str, version: Option<u64>) -> Write {
        Write::Delete { key: self.key(name), expected: Expected { version, ..expect(value) } }
    }

    pub async fn write(&self, write: Write) -> Result<Written, StoreError> {
        write_to(&self.store, write).await
    }

    pub async fn read(&self, name: &str) -> Result<Option<Found>, StoreError> {
        let mut outcomes = self.store.read(vec![self.key(name)]).await;
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0)
    }

    /// What is there, where something is.
    pub async fn found(&self, name: &str) -> Found {
        self.read(name).await.unwrap().expect("something is there")
    }

    /// A value that the store takes, with this text in it: etcd takes any.
    pub fn value_with(&self, text: &str) -> String {
        match self.bed {
            Bed::Etcd(..) => text.to_owned(),
            Bed::Memory => serde_json::json!({ "host": "10.77.66.0", "text": text }).to_string(),
        }
    }

    /// Puts as somebody else would, whatever is there, for so many seconds; for
    /// ever where there is no such number. Gives the lease, in v3.
    pub fn foreign_put(&self, name: &str, value: &str, ttl: Option<u64>) -> Option<LeaseId> {
        let path = self.path(name);
        match (self.bed, &self.store) {
            (Bed::Etcd(Api::V2, servers), _) => {
                servers.one().put(&path, value, ttl);
                None
            }
            (Bed::Etcd(Api::V3, servers), _) => {
                let etcd = servers.one().v3();
                let lease = ttl.map(|ttl| etcd.grant(ttl, None));
                etcd.put(&format!("/{path}"), value, lease);
                lease.map(LeaseId)
            }
            (Bed::Memory, store) => self.put_in_memory(store, name, value, ttl),
        }
    }

    /// As another client: there is nobody else in the process.
    fn put_in_memory(
        &self,
        store: &Store,
        name: &str,
        value: &str,
        ttl: Option<u64>,
    ) -> Option<LeaseId> {
        let lease = ttl.map(|ttl| {
            let id = LeaseFamily::new(u64::from(unique())).lease(0);
            let granted = at_once(store.grant(id, Duration::from_secs(ttl))).unwrap();
            assert_eq!(granted, Granted::Fresh);
            id
        });
        let guard = match at_once(self.read(name)).unwrap() {
            Some(found) => Guard::Holds(exactly(found)),
            None => Guard::Absent,
        };
        let put = self.put_value(name, value, lease, guard);
        assert_eq!(at_once(write_to(store, put)).unwrap(), Written::Done);
        lease
    }

    pub fn foreign_delete(&self, name: &str) {
        match self.bed {
            Bed::Etcd(Api::V2, servers) => servers.one().remove(&self.path(name)),
            Bed::Etcd(Api::V3, servers) => {
                servers.one().v3().delete(&format!("/{}", self.path(name)));
            }
            Bed::Memory => {
                let expected = exactly(at_once(self.found(name)));
                let delete = Write::Delete { key: self.key(name), expected };
                assert_eq!(at_once(self.write(delete)).unwrap(), Written::Done);
            }
        }
    }

    /// All names in the domain that hold a value.
    pub fn names(&self) -> Vec<String> {
        let inside = format!("{}/", self.root);
        let keys: Vec<String> = match (self.bed, &self.store) {
            (Bed::Etcd(Api::V3, servers), _) => {
                let held = servers.one().v3().list(&format!("/{inside}"));
                held.into_iter().map(|kv| kv.key.trim_start_matches('/').to_owned()).collect()
            }
            (Bed::Etcd(Api::V2, servers), _) => {
                let held = servers.one().list(&self.root);
                held.into_iter().filter(|node| !node.dir).map(|node| node.key).collect()
            }
            (Bed::Memory, Store::Memory(memory)) => {
                let keys = memory.keys().into_iter().map(|key| key.as_str().to_owned());
                // Others lie elsewhere: the store holds all of them.
                keys.filter(|key| key.starts_with(&inside)).collect()
            }
            (Bed::Memory, Store::EtcdV2(_) | Store::EtcdV3(_)) => {
                unreachable!("it was made in memory")
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

/// What a store in memory answers, which keeps nobody waiting.
fn at_once<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().expect("an answer at once")
}

fn etcd_store(api: Api, servers: &Servers, root: RecordKey) -> Store {
    let log = slog::Logger::root(slog::Discard, slog::o!());
    let urls = servers.urls().split(',').map(|url| url.parse().unwrap()).collect();
    let cluster = Cluster { timeout: PATIENCE, ..Cluster::new(urls) };
    match api {
        Api::V2 => {
            let options = EtcdV2Options { cluster, root, prefix: "skydns".into() };
            Store::EtcdV2(EtcdV2::new(options, log).unwrap())
        }
        Api::V3 => Store::EtcdV3(EtcdV3::new(EtcdV3Options { cluster, root }, log).unwrap()),
    }
}

/// What was found, to the letter.
fn exactly(found: Found) -> Expected {
    let lease = match found.tie {
        Tie::Lease(id) => Some(id),
        Tie::None | Tie::Ttl(_) => None,
    };
    Expected { value: found.value, lease, version: Some(found.version) }
}

pub fn expect(value: &str) -> Expected {
    Expected { value: value.into(), lease: None, version: None }
}

pub async fn write_to(store: &Store, write: Write) -> Result<Written, StoreError> {
    let mut outcomes = store.write(vec![write]).await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}
