//! What a standalone daemon has in place of etcd, for its whole life.

use highhock_actors::RecordKey;
use slog::Logger;

use crate::dns::{DnsError, DnsServer, DnsStatsSnapshot};
use crate::memory_store::MemoryStore;
use crate::resolve;
use crate::settings::{Settings, StoreKind};
use crate::zone::Zone;

/// The records of a standalone daemon, and the server that answers DNS from them.
pub(super) struct Standalone {
    zone: Zone,
    store: MemoryStore,
    server: DnsServer,
}

impl Standalone {
    /// Answers from now on, from no records yet. `None`: records are kept in etcd.
    ///
    /// # Errors
    /// Where DNS can't be answered as the settings say.
    pub fn start(settings: &Settings, log: &Logger) -> Result<Option<Self>, DnsError> {
        if settings.store == StoreKind::Etcd {
            return Ok(None);
        }
        let (dns, zone) = (resolve::dns_settings(settings), Zone::new());
        let root = RecordKey::domain_directory(&dns.prefix, &dns.domain);
        let store = MemoryStore::new(root, zone.clone());
        let server = DnsServer::start(dns, zone.clone(), log)?;
        Ok(Some(Self { zone, store, server }))
    }

    /// A client of the records. They stay while cores come and go.
    pub fn store(&self) -> MemoryStore {
        self.store.clone()
    }

    /// Whether DNS may say that a name is not there.
    pub fn is_complete(&self) -> bool {
        self.zone.is_complete()
    }

    /// All records of this host's containers are there, or were: from now on DNS says of
    /// other names that they are not.
    pub fn complete(&self) {
        self.zone.mark_complete();
    }

    /// Where DNS is answered.
    pub fn addresses(&self) -> Vec<String> {
        self.server.addresses().iter().map(ToString::to_string).collect()
    }

    /// What the server has counted.
    pub fn counts(&self) -> DnsStatsSnapshot {
        self.server.stats().read()
    }
}
