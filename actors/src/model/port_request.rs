//! [`PortRequest`]: a port that a container was created to publish.

use std::net::IpAddr;

use super::address_family::AddressFamily;
use super::protocol::Protocol;

/// A port that a container was created to publish (Docker API: an entry of
/// `HostConfig.PortBindings`, or an exposed port with `HostConfig.PublishAllPorts`).
///
/// The engine publishes a requested port only if a network of the container supports that. A
/// request without a binding shows that no network of the container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRequest {
    /// The container's own port.
    pub port: u16,
    /// The protocol.
    pub proto: Protocol,
    /// The requested address of the host. `None` means all addresses of both families.
    pub host_address: Option<IpAddr>,
}

impl PortRequest {
    /// Returns `true` if the request includes an address of this family.
    pub fn includes(&self, family: AddressFamily) -> bool {
        self.host_address.is_none_or(|address| AddressFamily::of(address.to_canonical()) == family)
    }
}

#[cfg(test)]
impl PortRequest {
    /// Parses `80/tcp`, or `80/tcp -> 127.0.0.1`.
    pub(crate) fn sample(shown: &str) -> Self {
        let (inside, address) = match shown.split_once(" -> ") {
            Some((inside, address)) => (inside, Some(address.parse().unwrap())),
            None => (shown, None),
        };
        let (port, proto) = inside.split_once('/').unwrap();
        Self { port: port.parse().unwrap(), proto: proto.parse().unwrap(), host_address: address }
    }
}
