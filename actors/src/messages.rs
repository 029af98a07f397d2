//! Every message between the actors, in the order of the flow.
//!
//! The poller reports to the registry, the registry to the watchers, and the watchers and the
//! registry to the inserter. A message carries the current state, not a step: a receiver
//! reaches the same result if a message arrives twice, or if only the latest of three arrives.
//! ARCHITECTURE.md lists the messages with their senders and receivers.
//!
//! A field `since` is the time of a change, for the measured latency from a change to its
//! record. It is the time at which an event or a listing first reported the oldest change that
//! the message contains. It is `None` if the message contains no change, or only changes from
//! before the first listing of this process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
#[cfg(feature = "test-hooks")]
use std::time::Duration;

use actix::Message;
use tokio::time::Instant;

use crate::model::container::{ContainerId, ContainerSummary, EngineTime, Protocol};
use crate::model::event::Event;
use crate::model::event_history::EventHistory;
use crate::model::network_path::{NetworkChain, NetworkGuests};
use crate::model::record::DesiredRecord;
use crate::runtime::latest_sender::{Coalesce, earlier};
use crate::status::{ContainerReport, RecordReport, RecordsStatus};

// To the poller.

/// Requests a listing now.
///
/// The supervisor sends it when the registry or the inserter was restarted. The inserter sends
/// it when a newer listing must confirm a withdrawal or identify orphaned records. The daemon
/// sends it after the machine was suspended.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Poll;

// From the poller to the registry.

/// Returns the last reported state of each container.
///
/// The poller sends it after each listing and reports only the differences.
#[derive(Clone, Debug, Message)]
#[rtype(result = "KnownContainers")]
pub struct GetKnownContainers;

/// The containers that the registry knows: the reply to [`GetKnownContainers`].
#[derive(Clone, Debug)]
pub struct KnownContainers {
    /// The last reported state of each container.
    pub containers: BTreeMap<ContainerId, KnownContainer>,
    /// `true` if the registry has received a complete listing. A restarted registry has none.
    pub has_listing: bool,
}

/// The last reported state of one container.
#[derive(Clone, Debug)]
pub struct KnownContainer {
    /// The latest row of the container. `None` if only events have named it so far.
    pub summary: Option<Arc<ContainerSummary>>,
    /// `true` if an event reported since the latest listing that the container ended.
    pub is_down: bool,
}

/// Returns the number of records that belong to the given containers, and the total.
///
/// The poller sends it to detect a suspect listing (ARCHITECTURE.md, "Suspect listings").
#[derive(Clone, Debug, Message)]
#[rtype(result = "AffectedRecords")]
pub struct CountAffectedRecords {
    /// The containers that are missing in the listing.
    pub containers: Vec<ContainerId>,
}

/// The share of records that a withdrawal affects: the reply to [`CountAffectedRecords`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AffectedRecords {
    /// The desired records of the given containers.
    pub affected: usize,
    /// The desired records of all containers.
    pub total: usize,
}

/// An event named a container.
///
/// The poller sends one message per event, and reads the next event when the registry has
/// handled this one.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ContainerEvent {
    /// The event.
    pub event: Event,
}

/// A container is in the latest listing, and its row is new.
///
/// The reply is `true` if an event had announced the change before the listing did. The poller
/// uses the reply to detect an event stream that is open but silent.
#[derive(Clone, Debug, Message)]
#[rtype(result = "bool")]
pub struct ContainerSeen {
    /// The row of the container.
    pub summary: Arc<ContainerSummary>,
}

/// A container that the registry knows is not in the latest listing.
///
/// The reply is `true` if an event had announced the end before the listing did.
#[derive(Clone, Debug, Message)]
#[rtype(result = "bool")]
pub struct ContainerGone {
    /// The container.
    pub container: ContainerId,
    /// The time at which the listing was requested. The listing does not override an inspection
    /// or an event that is newer.
    pub requested_at: Instant,
}

/// Every difference of the latest listing was reported.
///
/// The poller sends it last.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ListingReported {
    /// The time at which the listing was requested.
    pub requested_at: Instant,
    /// `true` if a container that is not in the registry does not exist. `false` if a row of the
    /// listing names no container, or if the listing must be confirmed.
    pub is_complete: bool,
}

// Between the registry and the watchers.

/// The information from listings and events about one container.
///
/// The registry sends it to the container's watcher when the row or the event history has
/// changed, or when an inspection is needed. A queued observation is replaced by the latest one.
#[derive(Clone, Debug, Default, Message)]
#[rtype(result = "()")]
pub struct Observation {
    /// The latest row of the container. `None` if only events have named it so far.
    pub summary: Option<Arc<ContainerSummary>>,
    /// The events of the container.
    pub history: EventHistory,
    /// A number that grows with each reason to inspect the container although its row has not
    /// changed.
    pub refresh_generation: u64,
    /// All guests of the network that the container uses, with the container itself. `None` if
    /// the registry knows of no such network, or if no discovery method needs them.
    pub guests: Option<Arc<NetworkGuests>>,
    /// The time of the oldest change in this message, see the module's documentation.
    pub since: Option<Instant>,
}

impl Coalesce for Observation {
    fn merge_older(&mut self, older: &Self) {
        self.since = earlier(self.since, older.since);
    }
}

/// The container was missing in a listing.
///
/// The registry sends it to the container's watcher. The reply arrives when the inserter has
/// handled the withdrawal.
#[derive(Clone, Debug, Message)]
#[rtype(result = "RemovalOutcome")]
pub struct ContainerRemoved {
    /// The time at which the listing was requested.
    pub requested_at: Instant,
    /// The time of the listing's reply, unless an event had announced the end before.
    pub since: Option<Instant>,
}

/// The reply of a watcher to [`ContainerRemoved`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalOutcome {
    /// The inserter has handled the withdrawal of the container's records.
    Withdrawn,
    /// The watcher has newer information, and the listing is ignored. The container was
    /// inspected or named by an event after the listing was requested, or an inspection is in
    /// flight.
    Superseded,
}

/// The container uses the network of another container.
///
/// A watcher sends it after an inspection. The registry then has the container inspected again
/// when another container of the chain changes, and sends the ports to the other guests of the
/// network.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct NetworkDependency {
    /// The container that uses another's network.
    pub container: ContainerId,
    /// The containers through which it has its network.
    pub chain: NetworkChain,
    /// The ports that the container exposes.
    pub exposed: Arc<[(u16, Protocol)]>,
    /// `true` if the inspection found an address or a published port at the end of the chain.
    pub is_reachable: bool,
}

// To the inserter.

/// The desired records of one container.
///
/// A watcher sends the complete state each time. The inserter withdraws the records of the
/// container that are not in it.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Domain {
    /// The container.
    pub container: ContainerId,
    /// The container's name.
    pub name: Arc<str>,
    /// The start time of the container. If two containers have a desired record with the same
    /// key, the container that started earlier holds the key.
    pub started: EngineTime,
    /// The desired records, in the order in which the container declares them.
    pub desired: Arc<[DesiredRecord]>,
    /// The time of the oldest change in this message, see the module's documentation.
    pub since: Option<Instant>,
}

impl Domain {
    /// Returns the domain of a container that has no desired records.
    pub fn empty(container: ContainerId) -> Self {
        Self {
            container,
            name: Arc::from(""),
            started: EngineTime(0),
            desired: Arc::from(Vec::new()),
            since: None,
        }
    }
}

impl Coalesce for Domain {
    fn merge_older(&mut self, older: &Self) {
        self.since = earlier(self.since, older.since);
    }
}

/// The set of live containers: those that the registry has an entry for.
///
/// The registry sends it after each listing. If the listing is complete, the inserter withdraws the
/// records of all other containers.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct LiveContainers {
    /// The live containers, including those whose crashed watcher is not restarted yet.
    pub containers: Arc<BTreeSet<ContainerId>>,
    /// The time at which the listing with these containers was requested.
    pub requested_at: Instant,
    /// `false` if another container may exist: a row of the listing names no container, or the
    /// listing must be confirmed.
    pub is_complete: bool,
}

impl Coalesce for LiveContainers {}

// After a restart of the inserter.

/// The inserter was restarted and has no state.
///
/// The supervisor sends it to the registry, which sends [`ResendDesired`] to each watcher and
/// [`LiveContainers`] to the inserter.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct InserterRestarted;

/// Requests that a watcher sends its [`Domain`] again.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ResendDesired;

// From the daemon and the core to the inserter.

/// Requests an audit of the store now.
///
/// The daemon sends it when the store may have lost records, for example after the machine was
/// suspended.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct CheckNow;

/// Requests a reply when every change is in the store.
///
/// The core sends it as a part of a clean stop.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Flush {
    /// `true` if all records are withdrawn first.
    pub withdraw: bool,
}

// Queries. They change nothing.

/// Returns `true` if the registry received a listing, and every watcher replied `true` to
/// [`IsUpToDate`].
///
/// The core sends it to the registry to find out when the first records are published.
#[derive(Clone, Debug, Message)]
#[rtype(result = "bool")]
pub struct IsCaughtUp;

/// Returns `true` if the container was inspected, and the inserter has handled the resulting
/// [`Domain`].
///
/// The registry sends it to each watcher.
#[derive(Clone, Debug, Message)]
#[rtype(result = "bool")]
pub struct IsUpToDate;

/// Returns the number of desired records in the last [`Domain`] of a watcher.
///
/// The registry sends it to each watcher for [`CountAffectedRecords`].
#[derive(Clone, Debug, Message)]
#[rtype(result = "usize")]
pub struct CountRecords;

/// Returns the number of changes that are not in the store yet.
///
/// The core sends it to the inserter.
#[derive(Clone, Debug, Message)]
#[rtype(result = "usize")]
pub struct CountPendingWrites;

/// Returns a report on every container. Sent to the registry for the admin interface.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<ContainerReport>")]
pub struct GetContainers;

/// Returns the report on one container. The registry sends it to each watcher for
/// [`GetContainers`].
#[derive(Clone, Debug, Message)]
#[rtype(result = "ContainerReport")]
pub struct GetReport;

/// Returns a report on every desired record. Sent to the inserter for the admin interface.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<RecordReport>")]
pub struct GetRecords;

/// Returns the number of records in each state. Sent to the inserter for the admin interface.
#[derive(Clone, Debug, Message)]
#[rtype(result = "RecordsStatus")]
pub struct GetRecordsStatus;

/// Requests a reply as a sign of life.
///
/// The watchdog sends it to the poller, the registry and the inserter.
#[derive(Clone, Debug, actix::Message)]
#[rtype(result = "()")]
pub struct Ping;

// Fault injection. Only tests send these messages.

/// Makes an actor panic.
#[cfg(feature = "test-hooks")]
#[derive(Clone, Debug, actix::Message)]
#[rtype(result = "()")]
pub struct InjectPanic;

/// Makes the watcher of the container with this name panic.
#[cfg(feature = "test-hooks")]
#[derive(Clone, Debug, actix::Message)]
#[rtype(result = "()")]
pub struct InjectWatcherPanic(pub String);

/// Makes an actor handle no further message.
#[cfg(feature = "test-hooks")]
#[derive(Clone, Debug, actix::Message)]
#[rtype(result = "()")]
pub struct InjectHang;

/// Makes an actor handle no message for this time.
#[cfg(feature = "test-hooks")]
#[derive(Clone, Debug, actix::Message)]
#[rtype(result = "()")]
pub struct InjectDelay(pub Duration);
