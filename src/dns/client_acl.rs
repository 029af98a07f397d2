//! [`ClientAcl`]: the clients that may use forwarding. See "Forwarding" in `config/dns.md`.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use network_interface::{NetworkInterface, NetworkInterfaceConfig};
use tokio::time::Instant;

/// The time for which the addresses of this host are cached.
const OWN_ADDRESSES_TTL: Duration = Duration::from_secs(10);

/// Permits forwarding for this host and for private networks. Other clients are refused, because
/// an open resolver can be abused to flood third parties (RFC 5358).
///
/// The host's own addresses are permitted even if they are public. Queries of a container come
/// from one of them if the container uses the host's network, or if its queries pass the gateway
/// of another network.
pub(super) struct ClientAcl {
    lookup: fn() -> HashSet<IpAddr>,
    cached: Mutex<Option<(Instant, HashSet<IpAddr>)>>,
}

impl ClientAcl {
    /// Creates an ACL with the current addresses of this host.
    pub(super) fn new() -> Self {
        Self::with_lookup(own_addresses)
    }

    fn with_lookup(lookup: fn() -> HashSet<IpAddr>) -> Self {
        Self { lookup, cached: Mutex::new(None) }
    }

    /// Returns `true` if a client at this address may use forwarding.
    pub(super) fn allows(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        is_private(source) || self.is_own(source)
    }

    fn is_own(&self, source: IpAddr) -> bool {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.as_ref().is_none_or(|(looked_up, _)| looked_up.elapsed() >= OWN_ADDRESSES_TTL) {
            *cached = Some((Instant::now(), (self.lookup)()));
        }
        cached.as_ref().is_some_and(|(_, addresses)| addresses.contains(&source))
    }
}

/// Returns the addresses of the host's interfaces, or an empty set if they cannot be read.
pub(super) fn own_addresses() -> HashSet<IpAddr> {
    let interfaces = NetworkInterface::show().unwrap_or_default();
    interfaces.iter().flat_map(|interface| &interface.addr).map(|addr| addr.ip()).collect()
}

/// Returns `true` for loopback, private (RFC 1918, RFC 4193), shared (RFC 6598) and link-local
/// addresses (RFC 3927; RFC 4291, section 2.5.6).
fn is_private(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let shared = first == 100 && second & 0xc0 == 64;
            address.is_loopback() || address.is_private() || address.is_link_local() || shared
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("valid address")
    }

    #[test]
    fn allows_private_and_own_addresses_only() {
        let client_acl =
            ClientAcl::with_lookup(|| HashSet::from([ip("203.0.113.7"), ip("2001:db8::7")]));
        for allowed in [
            "127.0.0.1",
            "::1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.7.7",
            "100.64.0.1",
            "100.127.255.255",
            "fd00::1",
            "fe80::1",
            "::ffff:10.1.2.3",
            "203.0.113.7",
            "::ffff:203.0.113.7",
            "2001:db8::7",
        ] {
            assert!(client_acl.allows(ip(allowed)), "{allowed}");
        }
        for denied in [
            "8.8.8.8",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "203.0.113.8",
            "2001:db8::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(!client_acl.allows(ip(denied)), "{denied}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn own_addresses_are_refreshed() {
        static LAST: AtomicU8 = AtomicU8::new(1);
        let lookup = || HashSet::from([IpAddr::from([203, 0, 113, LAST.load(Ordering::Relaxed)])]);
        let client_acl = ClientAcl::with_lookup(lookup);
        assert!(client_acl.allows(ip("203.0.113.1")));
        LAST.store(2, Ordering::Relaxed);
        assert!(!client_acl.allows(ip("203.0.113.2")));
        tokio::time::advance(OWN_ADDRESSES_TTL).await;
        assert!(client_acl.allows(ip("203.0.113.2")));
        assert!(!client_acl.allows(ip("203.0.113.1")));
    }

    #[test]
    fn finds_own_addresses() {
        assert!(own_addresses().contains(&ip("127.0.0.1")));
    }
}
