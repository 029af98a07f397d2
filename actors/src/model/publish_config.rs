//! [`PublishConfig`]: the settings that apply to all records of this host.

use std::net::Ipv6Addr;
use std::num::NonZeroU32;

use super::names::DomainName;
use super::record::Host;

/// The owner of the published address (`discovery.address`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressOwner {
    /// The host, with the port that the engine forwards to the container.
    Host,
    /// The container, with its own port.
    Container,
}

/// The layout of the keys of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyLayout {
    /// One key per name.
    Flat,
    /// One key per instance, below the name.
    Instance,
}

/// A discovery method: the source from which services are derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscoveryMethod {
    /// The variables `DISCOVER` and `DISCOVERY`.
    Env,
    /// The label `highhock.discover`.
    Label,
    /// Registrator's variables and labels, `SERVICE_NAME` and the like.
    Registrator,
    /// The labels that Docker Compose sets.
    Compose,
}

impl DiscoveryMethod {
    /// Returns the method's name in settings and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::Label => "label",
            Self::Registrator => "registrator",
            Self::Compose => "compose",
        }
    }
}

/// The settings that apply to all records of this host.
#[derive(Clone, Debug)]
pub struct PublishConfig {
    /// The first part of every key, one label.
    pub prefix: String,
    /// The domain below which services are published.
    pub domain: DomainName,
    /// The layout of the keys.
    pub layout: KeyLayout,
    /// The name of this host in instance keys: one label, lower case, at most 30 bytes.
    pub hostname: String,
    /// The owner of the published address.
    pub address: AddressOwner,
    /// The address of this host.
    pub host: Host,
    /// The IPv6 address of this host, if it is published beside `host`. Requires
    /// [`KeyLayout::Instance`], because a name has only one record in [`KeyLayout::Flat`].
    pub host6: Option<Ipv6Addr>,
    /// The default `ttl` of a record, in seconds.
    pub ttl: NonZeroU32,
    /// The discovery methods, in their order.
    pub methods: Vec<DiscoveryMethod>,
    /// `true` if Compose services are published as `<service>.<project>`.
    pub compose_project: bool,
    /// `true` if a container with a health check must be healthy to be published.
    pub health: bool,
    /// `true` if the DNS server supports a text in a record that points to a host name. CoreDNS
    /// returns only the text of such a record, neither its host nor its port.
    pub text_beside_name: bool,
}

#[cfg(test)]
impl PublishConfig {
    /// A plain configuration as the basis of tests.
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
