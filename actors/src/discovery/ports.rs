//! The published ports of a container, for the discovery methods that publish each of them.

use std::num::NonZeroU16;

use crate::model::container::{Container, NetworkMode, Protocol};

/// Returns the published ports of a container without duplicates, ordered by number and then
/// by protocol (TCP, UDP, SCTP).
///
/// In the network of the host or of another container the engine publishes no port. There the
/// exposed ports count as published (`EXPOSE` of the image, `--expose`), as in Registrator.
pub fn published_ports(container: &Container) -> Vec<(NonZeroU16, Protocol)> {
    distinct(match &container.network {
        NetworkMode::Own => {
            let assigned = container.bindings.iter().filter(|binding| binding.host_port != 0);
            assigned.map(|binding| (binding.port, binding.proto)).collect()
        }
        NetworkMode::Host | NetworkMode::Container(_) => container.exposed.clone(),
        NetworkMode::None => Vec::new(),
    })
}

/// Returns the ports of a Compose service, likewise.
///
/// In the network of another container these are the ports that the other one publishes, and
/// that only this container claims.
pub fn compose_ports(container: &Container) -> Vec<(NonZeroU16, Protocol)> {
    match (&container.network, &container.shared_ports) {
        (NetworkMode::Container(_), Some(shared)) => distinct(shared.clone()),
        _ => published_ports(container),
    }
}

fn distinct(mut ports: Vec<(u16, Protocol)>) -> Vec<(NonZeroU16, Protocol)> {
    ports.sort_unstable();
    ports.dedup();
    ports.into_iter().filter_map(|(port, proto)| Some((NonZeroU16::new(port)?, proto))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_published_port_counts_once() {
        let own = Container { exposed: vec![(9, Protocol::Tcp)], ..Container::sample() }
            .bind("443/tcp -> 0.0.0.0:8443")
            .bind("80/udp -> 0.0.0.0:80")
            .bind("80/tcp -> 0.0.0.0:8080")
            .bind("80/tcp -> [::]:8080")
            .bind("81/tcp -> 0.0.0.0:0");
        let other = || NetworkMode::Container("abc".into());
        for (network, expected) in [
            (NetworkMode::Own, &["80/tcp", "80/udp", "443/tcp"][..]),
            (NetworkMode::Host, &["9/tcp"]),
            (other(), &["9/tcp"]),
            (NetworkMode::None, &[]),
        ] {
            let ports = published_ports(&Container { network, ..own.clone() });
            let ports: Vec<_> =
                ports.iter().map(|(port, proto)| format!("{port}/{proto}")).collect();
            assert_eq!(ports, expected);
        }
    }

    #[test]
    fn compose_service_has_its_share_of_a_shared_network() {
        let exposed = vec![(8080, Protocol::Tcp), (6881, Protocol::Tcp)];
        let guest = Container {
            network: NetworkMode::Container("vpn".into()),
            exposed: exposed.clone(),
            ..Container::sample()
        };
        let ports = |shared_ports, network| {
            compose_ports(&Container { shared_ports, network, ..guest.clone() }).len()
        };
        let shared = || NetworkMode::Container("vpn".into());
        assert_eq!(ports(Some(vec![(8080, Protocol::Tcp)]), shared()), 1);
        assert_eq!(ports(Some(Vec::new()), shared()), 0);
        assert_eq!(ports(None, shared()), 2);
        assert_eq!(ports(Some(Vec::new()), NetworkMode::Host), 2);
    }
}
