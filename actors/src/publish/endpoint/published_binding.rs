//! [`PublishedBinding`]: a binding of a port with its precedence.

use std::net::IpAddr;
use std::num::NonZeroU16;

use super::{Endpoint, is_link_local};
use crate::model::address_family::AddressFamily;
use crate::model::container::{PortBinding, Protocol};
use crate::model::record::Host;

/// A binding with the port on the host that the engine assigned.
pub(super) struct PublishedBinding {
    pub proto: Protocol,
    pub address: IpAddr,
    pub port: NonZeroU16,
}

/// The precedence of a binding. The lowest rank is chosen, and fields that are listed first
/// weigh more.
///
/// The address comes last, so the result does not depend on the order in which the engine
/// lists the bindings.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BindingRank {
    /// TCP precedes UDP, and UDP precedes SCTP.
    proto: Protocol,
    /// A binding to all addresses precedes a binding to one address.
    is_single_address: bool,
    /// IPv4 precedes IPv6. The families differ only if the published host is a name.
    family: AddressFamily,
    port: NonZeroU16,
    address: IpAddr,
}

impl PublishedBinding {
    /// Returns `None` if the engine has not assigned a port on the host.
    pub fn from_binding(binding: &PortBinding) -> Option<Self> {
        Some(Self {
            proto: binding.proto,
            address: binding.host_address.to_canonical(),
            port: NonZeroU16::new(binding.host_port)?,
        })
    }

    /// Returns the precedence of the binding.
    pub fn rank(&self) -> BindingRank {
        BindingRank {
            proto: self.proto,
            is_single_address: !self.address.is_unspecified(),
            family: self.family(),
            port: self.port,
            address: self.address,
        }
    }

    /// Returns the only address family for which the engine accepts connections.
    pub fn family(&self) -> AddressFamily {
        AddressFamily::of(self.address)
    }

    /// Returns `false` for loopback addresses, which other hosts cannot reach, and for
    /// link-local addresses, which are valid on one link only.
    pub fn is_reachable(&self) -> bool {
        !self.address.is_loopback() && !is_link_local(self.address)
    }

    /// Returns the endpoint at the address of this binding. A binding to all addresses is
    /// reached at `host`.
    pub fn endpoint(&self, host: &Host) -> Endpoint {
        let is_wildcard = self.address.is_unspecified();
        let host = if is_wildcard { host.clone() } else { Host::Address(self.address) };
        Endpoint { host, port: self.port, proto: self.proto }
    }
}
