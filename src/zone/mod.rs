//! [`Zone`]: the records of the DNS server, by key and by address.

pub(crate) mod lease_expiry;
pub(crate) mod record;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use highhock_actors::RecordKey;

pub use lease_expiry::LeaseExpiry;
use record::DnsRecord;

/// The records from which the DNS server answers. A clone refers to the same records.
#[derive(Clone, Debug, Default)]
pub struct Zone(Arc<ZoneInner>);

#[derive(Debug, Default)]
struct ZoneInner {
    records: RwLock<ZoneRecords>,
    is_complete: AtomicBool,
}

#[derive(Debug, Default)]
struct ZoneRecords {
    /// In byte order of the keys, as in etcd. The first of several records decides the group and
    /// the TTL.
    by_key: BTreeMap<Arc<str>, Arc<DnsRecord>>,
    /// The keys of the records with an address.
    by_address: HashMap<IpAddr, BTreeSet<Arc<str>>>,
}

impl Zone {
    /// Creates an empty zone that is not yet complete.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns `true` if the initial set of records has been published completely. Until then, a
    /// missing record may still be published, and the DNS server responds with SERVFAIL instead
    /// of a negative response.
    pub fn is_complete(&self) -> bool {
        self.0.is_complete.load(Ordering::Acquire)
    }

    /// Marks the zone as complete. The mark is permanent.
    pub fn mark_complete(&self) {
        self.0.is_complete.store(true, Ordering::Release);
    }

    /// Publishes a record, replacing a record at its key. With an expiry, the record is visible
    /// until the lease ends.
    ///
    /// # Errors
    /// Returns the reason if the value is not a valid DNS record. The previous record at the key
    /// is then removed.
    pub fn put(
        &self,
        key: &RecordKey,
        value: &str,
        expiry: Option<LeaseExpiry>,
    ) -> Result<(), String> {
        match DnsRecord::parse(key.as_str(), value, expiry) {
            Ok(dns_record) => {
                self.publish(dns_record);
                Ok(())
            }
            Err(reason) => {
                self.remove(key);
                Err(reason)
            }
        }
    }

    /// Publishes a parsed record, replacing a record at its key.
    pub(crate) fn publish(&self, dns_record: DnsRecord) {
        self.write().put(dns_record);
    }

    /// Removes the record at a key, if there is one.
    pub fn remove(&self, key: &RecordKey) {
        self.write().remove(key.as_str());
    }

    /// Returns the live records below a key at any depth, in order of their keys.
    pub(crate) fn below(&self, key: &str) -> Vec<Arc<DnsRecord>> {
        self.read().below(key).cloned().collect()
    }

    /// Returns `true` if a live record is at the key or below it.
    pub(crate) fn has_at_or_below(&self, key: &str) -> bool {
        let records = self.read();
        records.get(key).is_some() || records.below(key).next().is_some()
    }

    /// Returns the live record at a key.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<DnsRecord>> {
        self.read().get(key).cloned()
    }

    /// Returns at most `limit` live records with this address, in order of their keys.
    pub(crate) fn by_address(&self, address: IpAddr, limit: usize) -> Vec<Arc<DnsRecord>> {
        let records = self.read();
        let Some(keys) = records.by_address.get(&address) else { return Vec::new() };
        let found = keys.iter().filter_map(|key| records.by_key.get(key));
        found.filter(|dns_record| dns_record.is_live()).take(limit).cloned().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, ZoneRecords> {
        self.0.records.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, ZoneRecords> {
        self.0.records.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ZoneRecords {
    fn get(&self, key: &str) -> Option<&Arc<DnsRecord>> {
        self.by_key.get(key).filter(|dns_record| dns_record.is_live())
    }

    fn below(&self, key: &str) -> impl Iterator<Item = &Arc<DnsRecord>> {
        // '0' is the byte after '/', so the range contains exactly the keys that start with
        // `key/`.
        let (first, last) = (format!("{key}/"), format!("{key}0"));
        let bounds = (Bound::Excluded(first.as_str()), Bound::Excluded(last.as_str()));
        let found = self.by_key.range::<str, _>(bounds).map(|(_, dns_record)| dns_record);
        found.filter(|dns_record| dns_record.is_live())
    }

    fn put(&mut self, dns_record: DnsRecord) {
        self.remove(&dns_record.key);
        let key = dns_record.key.clone();
        if let Some(address) = dns_record.address {
            self.by_address.entry(address).or_default().insert(key.clone());
        }
        self.by_key.insert(key, Arc::new(dns_record));
    }

    fn remove(&mut self, key: &str) {
        let Some(removed) = self.by_key.remove(key) else { return };
        let Some(address) = removed.address else { return };
        let Some(keys) = self.by_address.get_mut(&address) else { return };
        keys.remove(key);
        if keys.is_empty() {
            self.by_address.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    fn key(path: &str) -> RecordKey {
        RecordKey::from_path(path)
    }

    fn zone(records: &[(&str, &str)]) -> Zone {
        let zone = Zone::new();
        for (path, host) in records {
            zone.put(&key(path), &format!(r#"{{"host":"{host}"}}"#), None).expect("valid record");
        }
        zone
    }

    fn keys(found: Vec<Arc<DnsRecord>>) -> Vec<String> {
        found.iter().map(|dns_record| dns_record.key.to_string()).collect()
    }

    #[test]
    fn below_returns_child_keys_in_byte_order() {
        let zone = zone(&[
            ("p/a", "10.0.0.1"),
            ("p/a/c", "10.0.0.1"),
            ("p/a/b/d", "10.0.0.1"),
            ("p/a-b/c", "10.0.0.1"),
            ("p/a0", "10.0.0.1"),
            ("p/ab", "10.0.0.1"),
        ]);
        assert_eq!(keys(zone.below("p/a")), ["p/a/b/d", "p/a/c"]);
        assert_eq!(keys(zone.below("p")), ["p/a", "p/a-b/c", "p/a/b/d", "p/a/c", "p/a0", "p/ab"],);
    }

    #[test]
    fn moved_records_leave_their_old_address() {
        let zone = zone(&[("p/a", "10.0.0.1"), ("p/b", "10.0.0.1"), ("p/a", "10.0.0.2")]);
        assert_eq!(keys(zone.by_address(IpAddr::from([10, 0, 0, 1]), 9)), ["p/b"]);
        assert_eq!(keys(zone.by_address(IpAddr::from([10, 0, 0, 2]), 9)), ["p/a"]);
        zone.remove(&key("p/a"));
        assert!(zone.by_address(IpAddr::from([10, 0, 0, 2]), 9).is_empty());
        assert!(!zone.read().by_address.contains_key(&IpAddr::from([10, 0, 0, 2])));
    }

    #[test]
    fn invalid_values_remove_the_record() {
        let zone = zone(&[("p/a", "10.0.0.1")]);
        assert!(zone.put(&key("p/a"), "{", None).is_err());
        assert!(zone.get("p/a").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn records_of_an_expired_lease_are_hidden() {
        let zone = Zone::new();
        let expiry = LeaseExpiry::at(Instant::now() + Duration::from_secs(5));
        zone.put(&key("p/a"), r#"{"host":"10.0.0.1"}"#, Some(expiry.clone()))
            .expect("valid record");
        assert!(zone.get("p/a").is_some());

        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(zone.get("p/a").is_none());
        assert!(zone.below("p").is_empty());
        assert!(zone.by_address(IpAddr::from([10, 0, 0, 1]), 9).is_empty());

        expiry.set(Instant::now() + Duration::from_secs(5));
        assert!(zone.get("p/a").is_some());
    }
}
