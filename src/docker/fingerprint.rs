//! A hash of the facts that both a listing row and an inspection contain.
//!
//! The core compares the fingerprint of a new row with the one of the last inspection. Equal
//! fingerprints mean that the container need not be inspected again.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use super::wire::EndpointSettings;

/// The facts that both a row and an inspection contain.
///
/// Excluded facts:
///
/// - the text of the uptime, because it grows;
/// - the image's name, because it changes when a tag moves, while the container stays;
/// - ports that are exposed and not bound, because an inspection has more of them;
/// - links of other containers, because only rows have them;
/// - the network mode, because it never changes during a container's life.
#[derive(Hash)]
pub(super) struct FingerprintInput<'a> {
    pub id: &'a str,
    /// The name without Docker's leading slash.
    pub name: &'a str,
    /// `State` of the row, or `State.Status` of the inspection.
    pub state: &'a str,
    /// The text in parentheses in the `Status` of a row: the health, or a pause.
    pub note: Option<&'a str>,
    pub ports: BTreeSet<PortMapping<'a>>,
    pub labels: &'a BTreeMap<String, String>,
    /// The networks that the container has joined, by name.
    pub networks: BTreeMap<&'a str, &'a EndpointSettings>,
}

/// A port that the engine forwards from the host to the container.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PortMapping<'a> {
    /// The address, or the unparsed text if it is not an address.
    pub host_address: Result<IpAddr, &'a str>,
    pub host_port: u16,
    pub port: u16,
    pub proto: &'a str,
}

impl FingerprintInput<'_> {
    /// Returns the hash of all facts. It is stable within one process only.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// Returns the networks without those that the container is about to leave (`null` in JSON).
pub(super) fn joined_networks(
    networks: &BTreeMap<String, Option<EndpointSettings>>,
) -> BTreeMap<&str, &EndpointSettings> {
    let joined =
        networks.iter().filter_map(|(name, attachment)| Some((&**name, attachment.as_ref()?)));
    joined.collect()
}
