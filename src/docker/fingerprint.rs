//! What a row of the listing and an inspection both tell of a container, as one number
//! to compare.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use super::wire::EndpointSettings;

/// The facts that both tell.
///
/// Left out: the uptime's text, since it grows; the image's name, since it changes with a
/// tag that moves on while the container stays; ports that are exposed and not bound, as
/// an inspection has more of them; other containers' links to it, which only rows have;
/// its network mode, which stays what it is for all of a container's life.
#[derive(Hash)]
pub(super) struct FingerprintInput<'a> {
    pub id: &'a str,
    /// Without Docker's leading slash.
    pub name: &'a str,
    /// `State` of the row, `State.Status` of the inspection.
    pub state: &'a str,
    /// What stands in brackets in a row's `Status`: of health, or of a pause.
    pub note: Option<&'a str>,
    pub ports: BTreeSet<PortMapping<'a>>,
    pub labels: &'a BTreeMap<String, String>,
    /// The networks that it is in, by name.
    pub networks: BTreeMap<&'a str, &'a EndpointSettings>,
}

/// A port of the container's that the engine forwards to it.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PortMapping<'a> {
    /// The text itself, where it is no address.
    pub host_address: Result<IpAddr, &'a str>,
    pub host_port: u16,
    pub port: u16,
    pub proto: &'a str,
}

impl FingerprintInput<'_> {
    /// The same number for the same facts, within one process.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// The networks that it is in, without those that it is about to leave.
pub(super) fn joined_networks(
    networks: &BTreeMap<String, Option<EndpointSettings>>,
) -> BTreeMap<&str, &EndpointSettings> {
    let joined_networks =
        networks.iter().filter_map(|(name, attachment)| Some((&**name, attachment.as_ref()?)));
    joined_networks.collect()
}
