//! The operator's choices that hold for all records of this host.

use std::net::Ipv6Addr;
use std::num::NonZeroU32;

use super::names::DomainName;
use super::record::Host;

/// Whose address is published (`discovery.address`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressOwner {
    /// The host's, with the port that the engine forwards to the container.
    Host,
    /// The container's, with its own port.
    Container,
}

/// How keys are laid out under a service's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyLayout {
    /// One key a name.
    Flat,
    /// One key an instance, below the name.
    Instance,
}

/// A way for a container to say what it offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscoveryMethod {
    /// The variables `DISCOVER` and `DISCOVERY`.
    Env,
    /// The label `highhock.discover`.
    Label,
    /// Registrator's variables and labels, `SERVICE_NAME` and the like.
    Registrator,
    /// The labels that Docker Compose gives its containers.
    Compose,
}

impl DiscoveryMethod {
    /// The name that settings and reports have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::Label => "label",
            Self::Registrator => "registrator",
            Self::Compose => "compose",
        }
    }
}

/// What is the same for all of this host's records.
#[derive(Clone, Debug)]
pub struct PublishConfig {
    /// First part of every key; one label.
    pub prefix: String,
    /// The domain that services are put under.
    pub domain: DomainName,
    /// How keys are laid out.
    pub layout: KeyLayout,
    /// This host in instance keys: one label, lower case, at most 30 bytes.
    pub hostname: String,
    /// Whose address to publish.
    pub address: AddressOwner,
    /// This host's address.
    pub host: Host,
    /// Its IPv6 address, where IPv6 is published beside the first address. For
    /// [`KeyLayout::Instance`] only: in the other a name has one record.
    pub host6: Option<Ipv6Addr>,
    /// The `ttl` in a record, in seconds, where a container says no other.
    pub ttl: NonZeroU32,
    /// Which extractors run, in which order.
    pub methods: Vec<DiscoveryMethod>,
    /// Whether Compose services are put under their project: `<service>.<project>`.
    pub compose_project: bool,
    /// Whether a container with a health check must be healthy to be published.
    pub health: bool,
    /// Whether a text beside a host's name does no harm. CoreDNS would answer that
    /// text and nothing else: neither the host nor the port.
    pub text_beside_name: bool,
}

#[cfg(test)]
impl PublishConfig {
    /// The rules of a host with nothing particular about it, for tests to build on.
    pub(crate) fn sample() -> Self {
        Self {
            prefix: "skydns".into(),
            domain: DomainName::parse("highhock.local").unwrap(),
            layout: KeyLayout::Flat,
            hostname: "node1".into(),
            address: AddressOwner::Host,
            host: Host::parse("10.77.66.0").unwrap(),
            host6: None,
            ttl: NonZeroU32::new(60).unwrap(),
            methods: vec![DiscoveryMethod::Env, DiscoveryMethod::Label],
            compose_project: false,
            health: true,
            text_beside_name: true,
        }
    }
}
