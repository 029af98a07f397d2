//! The records and the DNS server of a daemon in standalone mode.

use highhock_actors::RecordKey;
use slog::{Logger, o};

use crate::admin::DnsReport;
use crate::dns::{DnsError, DnsServer, DnsStats};
use crate::memory_store::MemoryStore;
use crate::resolve;
use crate::settings::{Settings, StoreKind};
use crate::zone::Zone;

/// The record store and the DNS server of standalone mode, which take the place of etcd and
/// CoreDNS. They outlive the cores, so that a reload interrupts no DNS query.
pub(super) struct Standalone {
    zone: Zone,
    store: MemoryStore,
    server: DnsServer,
    domain: String,
}

impl Standalone {
    /// Starts the DNS server with an empty zone. Returns `None` if the records are kept in etcd.
    ///
    /// # Errors
    /// Returns an error if the DNS server cannot start with these settings.
    pub fn start(settings: &Settings, log: &Logger) -> Result<Option<Self>, DnsError> {
        if settings.store == StoreKind::Etcd {
            return Ok(None);
        }
        let (dns, zone) = (resolve::dns_settings(settings), Zone::new());
        let root = RecordKey::domain_directory(&dns.prefix, &dns.domain);
        let domain = dns.domain.to_string();
        let store = MemoryStore::new(root, zone.clone());
        let server = DnsServer::start(dns, zone.clone(), &log.new(o!("edge" => "dns")))?;
        let standalone = Self { zone, store, server, domain };
        let DnsReport { domain, addresses } = standalone.report();
        notice!(log, "dns listening"; "addresses" => addresses.join(", "), "domain" => domain);
        Ok(Some(standalone))
    }

    /// Returns a handle of the record store.
    pub fn store(&self) -> MemoryStore {
        self.store.clone()
    }

    /// Returns the zone from which the server answers.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Returns the domain and the listen addresses.
    pub fn report(&self) -> DnsReport {
        let addresses = self.server.addresses().iter().map(ToString::to_string).collect();
        DnsReport { domain: self.domain.clone(), addresses }
    }

    /// Returns a handle of the server's counters.
    pub fn stats(&self) -> DnsStats {
        self.server.stats()
    }
}
