//! From what a container is to the records that should stand for it.

use std::num::NonZeroU32;

use crate::container::Container;
use crate::endpoint::Reach;
use crate::record::{Host, RecordKey, RecordValue};
use crate::service::{DomainName, Service, Skipped};

/// How keys are laid out under a service's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One key a name.
    Flat,
    /// One key an instance, below the name.
    Instance,
}

/// A way for a container to say what it offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The variables `DISCOVER` and `DISCOVERY`.
    Env,
    /// The label `highhock.discover`.
    Label,
}

/// What is the same for all of this host's records.
#[derive(Clone, Debug)]
pub struct Rules {
    /// First part of every key; one label.
    pub prefix: String,
    /// The domain that services are put under.
    pub domain: DomainName,
    /// How keys are laid out.
    pub layout: Layout,
    /// This host in instance keys: one label, lower case, at most 30 bytes.
    pub hostname: String,
    /// The address to publish.
    pub host: Host,
    /// The `ttl` in a record, in seconds, where a container says no other.
    pub ttl: NonZeroU32,
    /// Which extractors run, in which order.
    pub methods: Vec<Method>,
    /// Whether a container with a health check must be healthy to be published.
    pub health: bool,
}

/// A record that should stand for a container's service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedRecord {
    /// Where.
    pub key: RecordKey,
    /// What.
    pub value: RecordValue,
    /// Whether `value.host` is an address of this host's own (not one that the
    /// container's attributes name): an earlier record of it is known by that.
    pub own_host: bool,
}

/// What a container offers, and what of it can't be published.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// The services found, whether or not each can be published.
    pub services: Vec<Service>,
    /// The records that should be, in the container's own order. Empty while the
    /// container is to be left out as a whole.
    pub wanted: Vec<WantedRecord>,
    /// What was left out, and why.
    pub skipped: Vec<Skipped>,
    /// Why the container as a whole is left out for now (paused, unhealthy …).
    pub withheld: Option<String>,
}

/// Works out what a container offers. `reach` says how its ports can be reached.
pub fn offer(_container: &Container, _reach: &Reach, _rules: &Rules) -> Offer {
    todo!()
}
