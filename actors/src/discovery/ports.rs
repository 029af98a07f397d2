//! The published ports of a container, for the discovery methods that publish each of them.

use std::num::NonZeroU16;

use crate::model::container::{Container, NetworkMode, Protocol};

/// Returns the published ports of a container without duplicates, ordered by number and then
/// by protocol (TCP, UDP, SCTP).
///
/// In the network of the host or of another container the engine publishes no port. There the
/// exposed ports count as published (`EXPOSE` of the image, `--expose`), as in Registrator.
pub fn published_ports(container: &Container) -> Vec<(NonZeroU16, Protocol)> {
    let mut ports: Vec<_> = match &container.network {
        NetworkMode::Own => {
            let assigned = container.bindings.iter().filter(|binding| binding.host_port != 0);
            assigned.map(|binding| (binding.port, binding.proto)).collect()
        }
        NetworkMode::Host | NetworkMode::Container(_) => container.exposed.clone(),
        NetworkMode::None => Vec::new(),
    };
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
}
