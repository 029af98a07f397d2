//! An etcd of one column of the matrix, and a domain in it for each behaviour.

use std::time::Duration;

use highhock::etcd::{Api, Cluster, EtcdStore, EtcdV2, EtcdV2Options, EtcdV3, EtcdV3Options};
use highhock_actors::{
    Expected, Found, Granted, Guard, LeaseFamily, LeaseId, RecordKey, RecordStore, StoreError,
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

enum Servers {
    Alone(Etcd),
    Three(Three),
}

/// A running etcd, and by which API it is spoken to.
pub struct Bed {
    api: Api,
    servers: Servers,
}

impl Bed {
    /// `None`: this machine has no such etcd.
    pub fn start(api: Api, release: Release, size: Size) -> Option<Self> {
        let servers = match size {
            Size::Alone => Servers::Alone(Etcd::start_release(release)?),
            Size::Three => Servers::Three(Three::start(release)?),
        };
        Some(Self { api, servers })
    }

    fn urls(&self) -> String {
        match &self.servers {
            Servers::Alone(etcd) => etcd.url(),
            Servers::Three(three) => three.urls(),
        }
    }

    fn etcd(&self) -> &Etcd {
        match &self.servers {
            Servers::Alone(etcd) => etcd,
            Servers::Three(three) => &three.members[1],
        }
    }
}

/// A domain of a behaviour's own, with a store and, where records hang on one, a
/// lease for it.
pub struct Field<'a> {
    bed: &'a Bed,
    root: String,
    pub store: EtcdStore,
    pub family: LeaseFamily,
}

impl<'a> Field<'a> {
    pub fn new(bed: &'a Bed, name: &str) -> Self {
        let root = format!("skydns/local/{}", name.replace('_', "-"));
        let store = store(bed, &root);
        let family = LeaseFamily::new(u64::from(unique()) << 20 | u64::from(std::process::id()));
        Self { bed, root, store, family }
    }

    pub fn has_leases(&self) -> bool {
        self.bed.api == Api::V3
    }

    /// Another client in the same domain.
    pub fn another_store(&self) -> EtcdStore {
        store(self.bed, &self.root)
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

    /// Puts as somebody else would, whatever is there, for so many seconds; for
    /// ever where there is no such number. Gives the lease, in v3.
    pub fn foreign_put(&self, name: &str, value: &str, ttl: Option<u64>) -> Option<LeaseId> {
        let (etcd, path) = (self.bed.etcd(), self.path(name));
        if !self.has_leases() {
            etcd.put(&path, value, ttl);
            return None;
        }
        let lease = ttl.map(|ttl| etcd.v3().grant(ttl, None));
        etcd.v3().put(&format!("/{path}"), value, lease);
        lease.map(LeaseId)
    }

    pub fn foreign_delete(&self, name: &str) {
        match self.has_leases() {
            true => drop(self.bed.etcd().v3().delete(&format!("/{}", self.path(name)))),
            false => self.bed.etcd().remove(&self.path(name)),
        }
    }

    /// All names in the domain that hold a value.
    pub fn names(&self) -> Vec<String> {
        let keys = match self.has_leases() {
            true => {
                let held = self.bed.etcd().v3().list(&format!("/{}/", self.root));
                held.into_iter().map(|kv| kv.key.trim_start_matches('/').to_owned()).collect()
            }
            false => {
                let held = self.bed.etcd().list(&self.root);
                held.into_iter().filter(|node| !node.dir).map(|node| node.key).collect::<Vec<_>>()
            }
        };
        let inside = format!("{}/", self.root);
        let mut names = keys
            .iter()
            .map(|key| key.strip_prefix(&inside).expect("a key in the domain").to_owned())
            .collect::<Vec<_>>();
        names.sort();
        names
    }
}

fn store(bed: &Bed, root: &str) -> EtcdStore {
    let log = slog::Logger::root(slog::Discard, slog::o!());
    let urls = bed.urls().split(',').map(|url| url.parse().unwrap()).collect();
    let cluster = Cluster { timeout: PATIENCE, ..Cluster::new(urls) };
    let root = RecordKey::from_path(root);
    match bed.api {
        Api::V2 => {
            let options = EtcdV2Options { cluster, root, prefix: "skydns".into() };
            EtcdStore::V2(EtcdV2::new(options, log).unwrap())
        }
        Api::V3 => EtcdStore::V3(EtcdV3::new(EtcdV3Options { cluster, root }, log).unwrap()),
    }
}

pub fn expect(value: &str) -> Expected {
    Expected { value: value.into(), lease: None, version: None }
}

pub async fn write_to(store: &EtcdStore, write: Write) -> Result<Written, StoreError> {
    let mut outcomes = store.write(vec![write]).await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}
