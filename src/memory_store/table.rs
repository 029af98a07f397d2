//! [`StoreTable`]: the records and leases of a memory store.

use std::collections::BTreeMap;
use std::time::Duration;

use highhock_actors::{
    Change, ExpectedValue, Expiry, GrantOutcome, KeptAlive, Lease, LeaseId, LeaseNamespace,
    LeasedRecords, Precondition, RecordKey, StoreError, StoreErrorKind, StoredRecord, Write,
    WriteOutcome,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::zone::record::DnsRecord;
use crate::zone::{LeaseExpiry, Zone};

/// The records and leases that all clients of one store share. Expired leases and their records
/// remain until [`StoreTable::expire_leases`] is called.
pub(super) struct StoreTable {
    root: RecordKey,
    zone: Zone,
    records: BTreeMap<RecordKey, StoredRecord>,
    leases: BTreeMap<LeaseId, ActiveLease>,
    /// The version of the last write.
    version: u64,
    watchers: Vec<UnboundedSender<Change>>,
}

/// A lease that has not been revoked.
struct ActiveLease {
    ttl: Duration,
    /// Shared with the records of the lease in the zone.
    expiry: LeaseExpiry,
}

impl StoreTable {
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

    /// Removes expired leases and their records.
    pub fn expire_leases(&mut self) {
        let expired = self.leases.iter().filter(|(_, lease)| lease.expiry.remaining().is_zero());
        let expired = expired.map(|(id, _)| *id).collect::<Vec<_>>();
        expired.into_iter().for_each(|id| self.revoke(id));
    }

    /// Returns the time at which the next lease expires without a keep-alive.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.leases.values().map(|lease| lease.expiry.instant()).min()
    }

    pub fn write(&mut self, write: Write) -> Result<WriteOutcome, StoreError> {
        match write {
            Write::Put { key, value, lease, precondition, .. } => {
                let existing = self.records.get(&key);
                match (precondition, existing) {
                    (Precondition::Absent, Some(_)) => return Ok(WriteOutcome::Conflict),
                    (Precondition::Absent, None) => self.check_free(&key)?,
                    (Precondition::Equals(expected), existing) => {
                        if let Some(outcome) = mismatch(&expected, existing) {
                            return Ok(outcome);
                        }
                    }
                }
                self.put(key, value, lease)?;
            }
            Write::Delete { key, expected } => {
                if let Some(outcome) = mismatch(&expected, self.records.get(&key)) {
                    return Ok(outcome);
                }
                self.remove(&key);
            }
            Write::Refresh { key, .. } => {
                let message =
                    format!("refreshing {key}: this store keeps records alive by leases only");
                return Err(StoreError::new(StoreErrorKind::Refused, message));
            }
        }
        Ok(WriteOutcome::Done)
    }

    pub fn read(&self, key: &RecordKey) -> Option<StoredRecord> {
        self.records.get(key).cloned()
    }

    /// Returns the version of the last write.
    pub fn revision(&self) -> u64 {
        self.version
    }

    pub fn keys(&self) -> Vec<RecordKey> {
        self.records.keys().cloned().collect()
    }

    /// Subscribes to all later changes below the root.
    pub fn watch(&mut self) -> UnboundedReceiver<Change> {
        let (watcher, changes) = unbounded_channel();
        self.watchers.push(watcher);
        changes
    }

    pub fn leases(&self, namespace: LeaseNamespace) -> Vec<Lease> {
        let leases = self.leases.iter().filter(|(id, _)| namespace.contains(**id));
        leases.map(|(id, lease)| Lease { id: *id, ttl: lease.ttl }).collect()
    }

    pub fn grant(&mut self, id: LeaseId, ttl: Duration) -> GrantOutcome {
        if self.leases.contains_key(&id) {
            return GrantOutcome::Existed;
        }
        self.leases.insert(id, ActiveLease { ttl, expiry: LeaseExpiry::at(Instant::now() + ttl) });
        GrantOutcome::Fresh
    }

    pub fn keep_alive(&mut self, id: LeaseId) -> KeptAlive {
        let Some(lease) = self.leases.get_mut(&id) else { return KeptAlive::Lost };
        lease.expiry.set(Instant::now() + lease.ttl);
        KeptAlive::For(lease.ttl)
    }

    pub fn revoke(&mut self, id: LeaseId) {
        self.leases.remove(&id);
        let keys = self.records_of(id).map(|(key, _)| key.clone()).collect::<Vec<_>>();
        keys.iter().for_each(|key| self.remove(key));
    }

    /// Returns the records attached to a lease, below the root.
    pub fn leased(&self, id: LeaseId) -> LeasedRecords {
        let records = self.records_of(id).filter(|(key, _)| key.is_below(&self.root));
        let records = records.map(|(key, found)| (key.clone(), found.clone())).collect();
        LeasedRecords { revision: self.version, records }
    }

    fn records_of(&self, id: LeaseId) -> impl Iterator<Item = (&RecordKey, &StoredRecord)> {
        self.records.iter().filter(move |(_, found)| found.expiry == Expiry::Lease(id))
    }

    fn put(
        &mut self,
        key: RecordKey,
        value: String,
        lease: Option<LeaseId>,
    ) -> Result<(), StoreError> {
        let expiry = match lease.map(|id| self.leases.get(&id).ok_or(id)).transpose() {
            Ok(lease) => lease.map(|lease| lease.expiry.clone()),
            Err(id) => {
                let message = format!("putting {key}: lease {id} does not exist");
                return Err(StoreError::new(StoreErrorKind::LeaseLost, message));
            }
        };
        let dns_record = DnsRecord::parse(key.as_str(), &value, expiry).map_err(|reason| {
            let message = format!("putting {key}: the value is not a DNS record: {reason}");
            StoreError::new(StoreErrorKind::Refused, message)
        })?;
        self.zone.publish(dns_record);
        self.version += 1;
        let expiry = lease.map_or(Expiry::Never, Expiry::Lease);
        let found = StoredRecord { value, version: self.version, expiry };
        self.records.insert(key.clone(), found.clone());
        self.notify(Change { key, now: Some(found) });
        Ok(())
    }

    fn remove(&mut self, key: &RecordKey) {
        self.version += 1;
        self.zone.remove(key);
        self.records.remove(key);
        self.notify(Change { key: key.clone(), now: None });
    }

    fn notify(&mut self, change: Change) {
        if change.key.is_below(&self.root) {
            self.watchers.retain(|watcher| watcher.send(change.clone()).is_ok());
        }
    }

    /// Checks that there is no record above or below `key`, because one record would hide the
    /// other. See "Nested names" in `config/README.md`.
    fn check_free(&self, key: &RecordKey) -> Result<(), StoreError> {
        let existing = if let Some(child) = self.first_below(key) {
            format!("there are records below it, such as {child}")
        } else if let Some(ancestor) = self.first_above(key) {
            format!("there is a record at {ancestor}, above it")
        } else {
            return Ok(());
        };
        let message = format!(
            "putting {key}: {existing}, and DNS servers show either a name or names below it; \
             rename one of the services"
        );
        Err(StoreError::new(StoreErrorKind::Blocked, message))
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
        std::iter::successors(parent(key), parent)
            .find(|ancestor| self.records.contains_key(ancestor))
    }
}

/// Returns the outcome of a write whose expectation is not met, or `None` if it is met.
fn mismatch(expected: &ExpectedValue, existing: Option<&StoredRecord>) -> Option<WriteOutcome> {
    let Some(found) = existing else { return Some(WriteOutcome::Missing) };
    let matches = found.value == expected.value
        && expected.lease.is_none_or(|lease| found.expiry == Expiry::Lease(lease))
        && expected.version.is_none_or(|version| found.version == version);
    (!matches).then_some(WriteOutcome::Conflict)
}
