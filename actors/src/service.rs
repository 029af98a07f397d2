//! A service that a container offers, and the names that DNS allows.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use crate::container::Proto;
use crate::record::Host;

/// A domain name: one or more labels, lower case, without a final dot.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(String);

/// A service's name before the domain: one or more labels, lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(String);

/// What SkyDNS lets a record say beyond host and port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// SRV priority.
    pub priority: Option<u16>,
    /// SRV weight.
    pub weight: Option<u16>,
    /// Seconds that a resolver may keep the answer.
    pub ttl: Option<NonZeroU32>,
    /// The text of a TXT record.
    pub text: Option<String>,
    /// SkyDNS group.
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
    /// The port's protocol, where the container says which.
    pub proto: Option<Proto>,
    /// Which extractor found it (`env`, `label`).
    pub method: &'static str,
    /// What else its record is to say.
    pub attributes: Attributes,
}

/// Something that a container says and that HighHock can't publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// What the container says, to the letter (cut where it is very long).
    pub entry: String,
    /// Why it is left out, in words for the container's author.
    pub reason: String,
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl DomainName {
    /// Reads a domain name: labels of letters, digits, `-` and `_`, at most 63 bytes each, 253 in
    /// all; lower-cased; one final dot is taken off.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_ascii_lowercase()))
    }
    /// Its labels, from the left.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }
}
impl ServiceName {
    /// Reads a service's name, as it stands before `domain`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str, _domain: &DomainName) -> Result<Self, String> {
        Ok(Self(text.to_ascii_lowercase()))
    }
    /// Its labels, from the left.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }
}
