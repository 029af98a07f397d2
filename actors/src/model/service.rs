//! A service that a container offers, and the names that DNS allows.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use super::container::Protocol;
use super::record::Host;
use crate::model::names::{ServiceName, truncate};

/// How many characters of what a container says are kept with a reason.
const ENTRY_MAX: usize = 200;

/// What SkyDNS lets a record say beyond host and port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// SRV priority: the lowest is tried first.
    pub priority: Option<u16>,
    /// SRV weight: the share among equals in priority; DNS servers count 0 as 100.
    pub weight: Option<u16>,
    /// Seconds that a resolver may keep the answer, 1 to 86400.
    pub ttl: Option<NonZeroU32>,
    /// The text of a TXT record; not empty.
    pub text: Option<String>,
    /// SkyDNS group: one label. Records of different groups don't appear in one
    /// answer.
    pub group: Option<String>,
    /// What to publish in place of the address that the engine forwards from.
    pub host: Option<Host>,
}

/// A service that a container says it offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name before the domain.
    pub name: ServiceName,
    /// The container's own port.
    pub port: NonZeroU16,
    /// The port's protocol, where the container says which; else the first that is
    /// published, TCP before UDP.
    pub proto: Option<Protocol>,
    /// Which extractor found it (`env`, `label`, `registrator`, `compose`).
    pub method: &'static str,
    /// What else its record is to say.
    pub attributes: Attributes,
}

/// Something that a container says and that HighHock can't publish.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SkippedEntry {
    /// What the container says, to the letter (cut where it is very long).
    pub entry: String,
    /// Why it is left out, in words for the container's author.
    pub reason: String,
}

/// As a container's author would write it: `name:port`, and `/proto` where the
/// container says which.
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
    /// Notes that `entry` is left out, for this reason.
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
