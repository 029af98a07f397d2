//! The ports of a shared network that belong to one of the containers in it.
//!
//! The owner of the network publishes the ports, and each of its guests may serve some of them.
//! The rules are in `config/README.md`, "Discovery methods".

use std::collections::BTreeSet;

use crate::discovery::is_compose_service;
use crate::model::container::{Container, ContainerId, NetworkMode, Protocol};
use crate::model::network_path::NetworkGuests;
use crate::model::publish_config::{DiscoveryMethod, PublishConfig};
use crate::publish::endpoint::{NetworkAccess, PortAccess};

type Port = (u16, Protocol);

/// Returns the network whose published ports name the container, or `None` if its names do not
/// depend on the other guests of a network. `access` is the access to the container's ports.
///
/// A guest of the host's network, or of a container that does not run, has its exposed ports.
pub(crate) fn shared_network<'a>(
    container: &Container,
    access: &'a PortAccess,
    config: &PublishConfig,
) -> Option<&'a NetworkAccess> {
    let is_guest = matches!(container.network, NetworkMode::Container(_));
    match access {
        PortAccess::Networks(network) if is_guest && is_named_by_ports(container, config) => {
            Some(network)
        }
        _ => None,
    }
}

fn is_named_by_ports(container: &Container, config: &PublishConfig) -> bool {
    config.methods.contains(&DiscoveryMethod::Compose) && is_compose_service(container)
}

/// Returns the published ports of a shared network that only `container` claims.
///
/// A guest that was never inspected claims nothing: one unreadable container must not withhold
/// the names of all others. A guest whose later inspections fail keeps its claims.
pub(crate) fn shared_ports(
    container: &Container,
    network: &NetworkAccess,
    guests: &NetworkGuests,
) -> Vec<Port> {
    let peers = guests.iter().filter(|(id, _)| **id != container.id);
    let peers: Vec<&[Port]> = peers.filter_map(|(_, exposed)| exposed.as_deref()).collect();
    claimed_ports(&published_ports(network), &container.exposed, &peers)
}

/// Returns `true` if every guest was inspected, and `container` is one of the guests.
pub(super) fn are_claims_known(container: &ContainerId, guests: Option<&NetworkGuests>) -> bool {
    guests.is_some_and(|guests| {
        guests.contains_key(container) && guests.values().all(Option::is_some)
    })
}

fn published_ports(network: &NetworkAccess) -> BTreeSet<Port> {
    let assigned = network.bindings.iter().filter(|binding| binding.host_port != 0);
    assigned.map(|binding| (binding.port, binding.proto)).collect()
}

/// Returns the published ports that only one guest claims, with the exposed ports `own`.
///
/// A guest claims the published ports that it exposes. A guest that exposes none of them claims
/// those that no other guest exposes.
fn claimed_ports(published: &BTreeSet<Port>, own: &[Port], peers: &[&[Port]]) -> Vec<Port> {
    let exposes_none = |exposed: &[Port]| !exposed.iter().any(|port| published.contains(port));
    let is_foreign = |port: &Port| peers.iter().any(|peer| peer.contains(port));
    let free = published.iter().copied().filter(|port| !is_foreign(port));
    if !exposes_none(own) {
        return free.filter(|port| own.contains(port)).collect();
    }
    if peers.iter().any(|peer| exposes_none(peer)) { Vec::new() } else { free.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(numbers: &[u16]) -> Vec<Port> {
        numbers.iter().map(|number| (*number, Protocol::Tcp)).collect()
    }

    #[test]
    fn port_belongs_to_its_only_claimant() {
        for (published, own, peers, expected) in [
            // The only guest.
            (&[8080][..], &[8080, 6881][..], &[][..], &[8080][..]),
            (&[8080, 6881], &[8080, 6881], &[], &[6881, 8080]),
            (&[8080], &[], &[], &[8080]),
            (&[8080, 9000], &[8080], &[], &[8080]),
            (&[], &[8080], &[], &[]),
            // A guest that exposes other ports than its peer.
            (&[8080, 9696], &[8080, 6881], &[&[9696][..]], &[8080]),
            (&[8080, 9696], &[9696], &[&[8080, 6881]], &[9696]),
            // A guest that exposes none of the published ports has those that are left.
            (&[8080, 9696], &[], &[&[9696]], &[8080]),
            (&[8080, 9696], &[1234], &[&[9696]], &[8080]),
            (&[8080, 9696], &[9696], &[&[]], &[9696]),
            // Several claimants.
            (&[8080], &[8080], &[&[8080]], &[]),
            (&[8080, 9696], &[8080, 9696], &[&[8080]], &[9696]),
            (&[8080], &[], &[&[]], &[]),
            (&[8080], &[], &[&[1234]], &[]),
        ] {
            let published = ports(published).into_iter().collect();
            let peers: Vec<_> = peers.iter().map(|peer| ports(peer)).collect();
            let peers: Vec<_> = peers.iter().map(Vec::as_slice).collect();
            let found = claimed_ports(&published, &ports(own), &peers);
            assert_eq!(found, ports(expected), "{published:?} {own:?} {peers:?}");
        }
    }

    #[test]
    fn claims_are_known_if_every_guest_was_inspected() {
        let guests = |guests: &[(&str, bool)]| -> NetworkGuests {
            let ports = |is_known: bool| is_known.then(|| ports(&[8080]).into());
            guests.iter().map(|(id, is_known)| (ContainerId::new(id), ports(*is_known))).collect()
        };
        for (guests, expected) in [
            (Some(guests(&[("qb", true), ("other", true)])), true),
            (Some(guests(&[("qb", true), ("other", false)])), false),
            (Some(guests(&[("other", true)])), false),
            (None, false),
        ] {
            let is_known = are_claims_known(&ContainerId::new("qb"), guests.as_ref());
            assert_eq!(is_known, expected, "{guests:?}");
        }
    }
}
