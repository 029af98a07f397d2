//! [`Service`]: a service that a container declares, with the attributes of its records.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use super::container::Protocol;
use super::record::Host;
use crate::model::names::{ServiceName, truncate};

/// The largest number of characters of a skipped entry that are kept.
const ENTRY_MAX: usize = 200;

/// The attributes of a service: the fields of a SkyDNS record beside the port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// SRV priority: the lowest is tried first.
    pub priority: Option<u16>,
    /// SRV weight: the share among equals in priority; DNS servers count 0 as 100.
    pub weight: Option<u16>,
    /// The time for which a resolver may cache the answer, 1 to 86400 seconds.
    pub ttl: Option<NonZeroU32>,
    /// The text of a TXT record, not empty.
    pub text: Option<String>,
    /// SkyDNS group: one label. Records of different groups don't appear in one
    /// answer.
    pub group: Option<String>,
    /// The host to publish in place of the chosen address.
    pub host: Option<Host>,
}

/// A service that a container declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The name, without the domain.
    pub name: ServiceName,
    /// The container's own port.
    pub port: NonZeroU16,
    /// The declared protocol. If it is `None`, the first published protocol of the port is used,
    /// TCP before UDP.
    pub proto: Option<Protocol>,
    /// The discovery method that found the service (`env`, `label`, `registrator`, `compose`).
    pub method: &'static str,
    /// The attributes of its records.
    pub attributes: Attributes,
}

/// A declaration of a container that HighHock cannot publish.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SkippedEntry {
    /// The declaration, unchanged up to a length of 200 characters.
    pub entry: String,
    /// The reason, for the author of the container.
    pub reason: String,
}

/// Formats the service as `name:port` or `name:port/proto`, like the variable `DISCOVER`.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.port)?;
        match self.proto {
            Some(proto) => write!(f, "/{proto}"),
            None => Ok(()),
        }
    }
}

impl SkippedEntry {
    /// Creates a skipped entry. A long `entry` is truncated.
    pub fn new(entry: &str, reason: impl Into<String>) -> Self {
        Self { entry: truncate(entry, ENTRY_MAX), reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncates_long_entry_between_characters() {
        let whole = "ä".repeat(200);
        assert_eq!(SkippedEntry::new(&whole, "too long").entry, whole);
        assert_eq!(SkippedEntry::new(&format!("{whole}b"), "too long").entry, format!("{whole}…"));
    }
}
