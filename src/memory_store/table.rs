//! The records and leases that the clients of one store share.

use std::collections::BTreeMap;
use std::time::Duration;

use highhock_actors::{
    Change, Expected, Found, Granted, Guard, KeptAlive, Lease, LeaseFamily, LeaseId, RecordKey,
    StoreError, StoreErrorKind, Tie, Write, Written,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::zone::record::Published;
use crate::zone::{Ends, Zone};

/// The records and leases that the clients of one store share. What has come to its end is
/// there until [`Table::end_what_is_over`].
pub(super) struct Table {
    root: RecordKey,
    zone: Zone,
    records: BTreeMap<RecordKey, Found>,
    leases: BTreeMap<LeaseId, Running>,
    /// Of the last write.
    version: u64,
    watchers: Vec<UnboundedSender<Change>>,
}

/// A lease that is not over.
struct Running {
    ttl: Duration,
    /// Known to those, too, who answer from the zone.
    ends: Ends,
}

impl Table {
    pub fn new(root: RecordKey, zone: Zone) -> Self {
        Self {
            root,
            zone,
            records: BTreeMap::new(),
            leases: BTreeMap::new(),
            version: 0,
            watchers: Vec::new(),
        }
    }

    /// Ends the leases whose time is over, and all that hangs on them.
    pub fn end_what_is_over(&mut self) {
        let over = self.leases.iter().filter(|(_, lease)| lease.ends.left().is_zero());
        let over = over.map(|(id, _)| *id).collect::<Vec<_>>();
        over.into_iter().for_each(|id| self.revoke(id));
    }

    /// When the next lease is over, if it is not kept alive.
    pub fn next_end(&self) -> Option<Instant> {
        self.leases.values().map(|lease| lease.ends.end()).min()
    }

    pub fn write(&mut self, write: Write) -> Result<Written, StoreError> {
        match write {
            Write::Put { key, value, lease, guard, .. } => {
                let there = self.records.get(&key);
                match (guard, there) {
                    (Guard::Absent, Some(_)) => return Ok(Written::Conflict),
                    (Guard::Absent, None) => self.check_free(&key)?,
                    (Guard::Holds(expected), there) => {
                        if let Some(otherwise) = differs(&expected, there) {
                            return Ok(otherwise);
                        }
                    }
                }
                self.put(key, value, lease)?;
            }
            Write::Delete { key, expected } => {
                if let Some(otherwise) = differs(&expected, self.records.get(&key)) {
                    return Ok(otherwise);
                }
                self.remove(&key);
            }
            Write::Refresh { key, .. } => {
                let what = format!("refreshing {key}: in this store a lease keeps records alive");
                return Err(StoreError::new(StoreErrorKind::Refused, what));
            }
        }
        Ok(Written::Done)
    }

    pub fn read(&self, key: &RecordKey) -> Option<Found> {
        self.records.get(key).cloned()
    }

    pub fn keys(&self) -> Vec<RecordKey> {
        self.records.keys().cloned().collect()
    }

    /// All changes below the root from now on.
    pub fn watch(&mut self) -> UnboundedReceiver<Change> {
        let (watcher, changes) = unbounded_channel();
        self.watchers.push(watcher);
        changes
    }

    pub fn leases(&self, family: LeaseFamily) -> Vec<Lease> {
        let of_family = self.leases.iter().filter(|(id, _)| family.has(**id));
        of_family.map(|(id, lease)| Lease { id: *id, ttl: lease.ttl }).collect()
    }

    pub fn grant(&mut self, id: LeaseId, ttl: Duration) -> Granted {
        if self.leases.contains_key(&id) {
            return Granted::Existed;
        }
        self.leases.insert(id, Running { ttl, ends: Ends::at(Instant::now() + ttl) });
        Granted::Fresh
    }

    pub fn keep_alive(&mut self, id: LeaseId) -> KeptAlive {
        let Some(lease) = self.leases.get_mut(&id) else { return KeptAlive::Lost };
        lease.ends.move_to(Instant::now() + lease.ttl);
        KeptAlive::For(lease.ttl)
    }

    pub fn revoke(&mut self, id: LeaseId) {
        self.leases.remove(&id);
        let on_it = self.on(id).map(|(key, _)| key.clone()).collect::<Vec<_>>();
        on_it.iter().for_each(|key| self.remove(key));
    }

    /// What hangs on a lease below the root.
    pub fn leased(&self, id: LeaseId) -> Vec<(RecordKey, Found)> {
        let inside = self.on(id).filter(|(key, _)| key.is_below(&self.root));
        inside.map(|(key, found)| (key.clone(), found.clone())).collect()
    }

    fn on(&self, id: LeaseId) -> impl Iterator<Item = (&RecordKey, &Found)> {
        self.records.iter().filter(move |(_, found)| found.tie == Tie::Lease(id))
    }

    fn put(
        &mut self,
        key: RecordKey,
        value: String,
        lease: Option<LeaseId>,
    ) -> Result<(), StoreError> {
        let ends = match lease.map(|id| self.leases.get(&id).ok_or(id)).transpose() {
            Ok(lease) => lease.map(|lease| lease.ends.clone()),
            Err(id) => {
                let what = format!("putting {key}: there is no lease {id} (any more)");
                return Err(StoreError::new(StoreErrorKind::LeaseLost, what));
            }
        };
        let published = Published::read(key.as_str(), &value, ends).map_err(|why| {
            let what = format!("putting {key}: DNS could not answer that: {why}");
            StoreError::new(StoreErrorKind::Refused, what)
        })?;
        self.zone.publish(published);
        self.version += 1;
        let tie = lease.map_or(Tie::None, Tie::Lease);
        let found = Found { value, version: self.version, tie };
        self.records.insert(key.clone(), found.clone());
        self.tell(Change { key, now: Some(found) });
        Ok(())
    }

    fn remove(&mut self, key: &RecordKey) {
        self.version += 1;
        self.zone.remove(key);
        self.records.remove(key);
        self.tell(Change { key: key.clone(), now: None });
    }

    fn tell(&mut self, change: Change) {
        if change.key.is_below(&self.root) {
            self.watchers.retain(|watcher| watcher.send(change.clone()).is_ok());
        }
    }

    /// Whether no name stands above or below this one, so that one would hide the other.
    fn check_free(&self, key: &RecordKey) -> Result<(), StoreError> {
        let there = if let Some(with) = self.first_below(key) {
            format!("there are records below it, such as {with}")
        } else if let Some(at) = self.first_above(key) {
            format!("there is a record at {at}, above it")
        } else {
            return Ok(());
        };
        let what = format!(
            "putting {key}: {there}, and DNS servers show either a name or names below it; \
             rename one of the services"
        );
        Err(StoreError::new(StoreErrorKind::Blocked, what))
    }

    fn first_below(&self, key: &RecordKey) -> Option<&RecordKey> {
        let from = RecordKey::from_path(&format!("{key}/"));
        let (first, _) = self.records.range(from..).next()?;
        first.is_below(key).then_some(first)
    }

    fn first_above(&self, key: &RecordKey) -> Option<RecordKey> {
        let parent = |key: &RecordKey| {
            let parent = RecordKey::from_path(key.as_str().rsplit_once('/')?.0);
            parent.is_below(&self.root).then_some(parent)
        };
        std::iter::successors(parent(key), parent).find(|above| self.records.contains_key(above))
    }
}

/// What is to be answered where something else is there than expected.
fn differs(expected: &Expected, there: Option<&Found>) -> Option<Written> {
    let Some(found) = there else { return Some(Written::Missing) };
    let as_expected = found.value == expected.value
        && expected.lease.is_none_or(|lease| found.tie == Tie::Lease(lease))
        && expected.version.is_none_or(|version| found.version == version);
    (!as_expected).then_some(Written::Conflict)
}
