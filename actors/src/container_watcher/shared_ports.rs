//! The ports of a shared network that belong to one of the containers in it.
//!
//! The owner of the network publishes the ports, and each of its guests may serve some of them.
//! The rules are in `config/README.md`, "Discovery methods".

use std::collections::BTreeSet;

use crate::model::container::{Container, ContainerId, ContainerSummary, NetworkMode, Protocol};
use crate::model::network_path::NetworkChain;
use crate::ports::container_source::{ContainerSource, SourceError};
use crate::publish::endpoint::PortAccess;

type Port = (u16, Protocol);

/// Returns the ports that the owner of a shared network publishes, and that only `container`
/// claims. `chain` leads to the owner, and `access` is the access to its ports.
///
/// # Errors
/// Returns an error if one of the requests failed.
pub(super) async fn shared_ports<S: ContainerSource>(
    source: &S,
    container: &Container,
    chain: &NetworkChain,
    access: &PortAccess,
) -> Result<Vec<Port>, SourceError> {
    let published = published(access);
    if published.is_empty() {
        return Ok(Vec::new());
    }
    let mut peers = Vec::new();
    for id in peers_of(&container.id, chain, &source.list().await?.containers) {
        peers.extend(source.inspect(id.as_str()).await?.map(|peer| peer.exposed));
    }
    Ok(claimed_ports(&published, &container.exposed, &peers))
}

fn published(access: &PortAccess) -> BTreeSet<Port> {
    let PortAccess::Networks(access) = access else { return BTreeSet::new() };
    let assigned = access.bindings.iter().filter(|binding| binding.host_port != 0);
    assigned.map(|binding| (binding.port, binding.proto)).collect()
}

/// Returns the other guests of the network to which `chain` leads.
fn peers_of(
    container: &ContainerId,
    chain: &NetworkChain,
    rows: &[ContainerSummary],
) -> BTreeSet<ContainerId> {
    let hops: BTreeSet<&ContainerId> = chain.hops.iter().collect();
    let mut members: BTreeSet<&ContainerId> = hops.iter().copied().chain([container]).collect();
    // A guest may share the network through another guest, so the search ends without a new one.
    loop {
        let joins = |row: &&ContainerSummary| {
            !members.contains(&row.id) && is_guest_of(&row.network, &members, rows)
        };
        let Some(guest) = rows.iter().find(joins) else { break };
        members.insert(&guest.id);
    }
    members.retain(|id| *id != container && !hops.contains(id));
    members.into_iter().cloned().collect()
}

fn is_guest_of(
    network: &NetworkMode,
    members: &BTreeSet<&ContainerId>,
    rows: &[ContainerSummary],
) -> bool {
    let NetworkMode::Container(target) = network else { return false };
    let is_named = |row: &ContainerSummary| row.name == *target && members.contains(&row.id);
    members.iter().any(|id| id.as_str() == target) || rows.iter().any(is_named)
}

/// Returns the published ports that only one guest claims, with the exposed ports `own`.
///
/// A guest claims the published ports that it exposes. A guest that exposes none of them claims
/// those that no other guest exposes.
fn claimed_ports(published: &BTreeSet<Port>, own: &[Port], peers: &[Vec<Port>]) -> Vec<Port> {
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
            let found = claimed_ports(&published, &ports(own), &peers);
            assert_eq!(found, ports(expected), "{published:?} {own:?} {peers:?}");
        }
    }

    #[test]
    fn peers_are_all_other_guests_of_the_network() {
        let row = |id: &str, target: Option<&str>| ContainerSummary {
            id: ContainerId::new(id),
            name: format!("name-{id}"),
            network: target
                .map_or(NetworkMode::Own, |target| NetworkMode::Container(target.into())),
            condition: None,
            fingerprint: 0,
            uptime: None,
        };
        let rows = [
            row("vpn", None),
            row("qb", Some("vpn")),
            row("far", Some("near")),
            row("near", Some("name-vpn")),
            row("own", None),
            row("other", Some("own")),
        ];
        let chain = |hops: &[&str]| NetworkChain {
            hops: hops.iter().map(|hop| ContainerId::new(hop)).collect(),
            target: None,
        };
        for (id, hops, expected) in [
            ("qb", &["vpn"][..], &["far", "near"][..]),
            ("far", &["near", "vpn"], &["qb"]),
            ("other", &["own"], &[]),
        ] {
            let peers = peers_of(&ContainerId::new(id), &chain(hops), &rows);
            let peers: Vec<_> = peers.iter().map(ContainerId::as_str).collect();
            assert_eq!(peers, expected, "{id}");
        }
    }
}
