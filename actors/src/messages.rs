//! Every message between the actors, in the order of the flow: from the poller to the
//! registry, from the registry to the watchers, from the watchers to the inserter.
//!
//! A message carries the current state, not a step: receiving it twice, or only the newest of
//! three, has the same result.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
#[cfg(feature = "test-hooks")]
use std::time::Duration;

use actix::Message;
use tokio::time::Instant;

use crate::model::container::{ContainerId, ContainerSummary, EngineTime};
use crate::model::event::Event;
use crate::model::event_history::EventHistory;
use crate::model::network_path::NetworkChain;
use crate::model::record::DesiredRecord;
use crate::runtime::latest_sender::{Coalesce, earlier};
use crate::status::{ContainerReport, RecordReport, RecordsStatus};

/// Asks for a listing now.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Poll;

/// A container is in the newest listing, and its row is new. The answer tells whether an
/// event had told of a change since the listing before.
#[derive(Clone, Debug, Message)]
#[rtype(result = "bool")]
pub struct ContainerSeen {
    /// The row.
    pub summary: Arc<ContainerSummary>,
}

/// A container is not in the newest listing. The answer tells whether an event had told
/// of that.
#[derive(Clone, Debug, Message)]
#[rtype(result = "bool")]
pub struct ContainerGone {
    /// Which one.
    pub container: ContainerId,
    /// When that listing was asked for: it says nothing of what was inspected later.
    pub requested_at: Instant,
}

/// The registry has heard of every difference to the newest listing.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ListingComplete {
    /// When that listing was asked for.
    pub requested_at: Instant,
}

/// An event named a container.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ContainerEvent {
    /// What it tells.
    pub event: Event,
}

/// Tells that a container shares another's network, which a watcher learns by inspecting.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct NetworkDependency {
    /// Which one.
    pub container: ContainerId,
    /// Through whom.
    pub chain: NetworkChain,
    /// Whether there was a way to it by them.
    pub is_reachable: bool,
}

/// Asks what the registry knows.
#[derive(Clone, Debug, Message)]
#[rtype(result = "KnownContainers")]
pub struct GetKnownContainers;

/// What the registry knows.
#[derive(Clone, Debug)]
pub struct KnownContainers {
    /// Of every container.
    pub containers: BTreeMap<ContainerId, KnownContainer>,
    /// Whether it has heard of a listing yet: a new one has not.
    pub has_listing: bool,
}

/// What the registry knows of a container.
#[derive(Clone, Debug)]
pub struct KnownContainer {
    /// Its newest row; `None`: only events have named it so far.
    pub summary: Option<Arc<ContainerSummary>>,
    /// Whether an event told since the newest listing that it ended.
    pub is_down: bool,
}

/// Asks how many of all records are of these containers.
#[derive(Clone, Debug, Message)]
#[rtype(result = "AffectedRecords")]
pub struct CountAffectedRecords {
    /// Which ones.
    pub containers: Vec<ContainerId>,
}

/// What containers weigh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AffectedRecords {
    /// How many records are to be for them.
    pub affected: usize,
    /// How many for all.
    pub total: usize,
}

/// The inserter is a new one and knows nothing: all is to be told again.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct InserterRestarted;

/// Asks for what is known of every container.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<ContainerReport>")]
pub struct GetContainers;

/// Asks whether Docker was listed, and all that are watched were inspected and have told
/// the inserter what follows.
#[derive(Clone, Debug, Message)]
#[rtype(result = "bool")]
pub struct IsCaughtUp;

/// All that is known from listings and events of the container.
#[derive(Clone, Debug, Default, Message)]
#[rtype(result = "()")]
pub struct Observation {
    /// Its newest row; `None`: only events have named it so far.
    pub summary: Option<Arc<ContainerSummary>>,
    /// What events told of it.
    pub history: EventHistory,
    /// How often something was told for which it is to be inspected, whatever its row says.
    pub refresh_generation: u64,
    /// When a change that this tells of was first told of; `None`: it tells of none, or of
    /// one from before this process looked.
    pub since: Option<Instant>,
}

impl Coalesce for Observation {
    fn merge_older(&mut self, older: &Self) {
        self.since = earlier(self.since, older.since);
    }
}

/// The container was missing in a listing.
#[derive(Clone, Debug, Message)]
#[rtype(result = "RemovalOutcome")]
pub struct ContainerRemoved {
    /// When that listing was asked for.
    pub requested_at: Instant,
    /// When it told that, where no event had.
    pub since: Option<Instant>,
}

/// What a watcher says to [`ContainerRemoved`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalOutcome {
    /// What the container offered is withdrawn; the inserter knows.
    Withdrawn,
    /// The container was inspected or named by an event after the listing was asked for, or
    /// is being inspected now: the listing says nothing of it.
    Superseded,
}

/// Tell the inserter again what the container offers.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ResendDesired;

/// Asks how many records the container is to have.
#[derive(Clone, Debug, Message)]
#[rtype(result = "usize")]
pub struct CountRecords;

/// Asks whether the container was inspected, and what follows is with the inserter.
#[derive(Clone, Debug, Message)]
#[rtype(result = "bool")]
pub struct IsUpToDate;

/// Asks for what the watcher knows.
#[derive(Clone, Debug, Message)]
#[rtype(result = "ContainerReport")]
pub struct GetReport;

/// What should be in DNS for one container: its whole state, each time.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Domain {
    /// Which container.
    pub container: ContainerId,
    /// Its name.
    pub name: Arc<str>,
    /// When it was started: of two that want one key, the earlier holds it.
    pub started: EngineTime,
    /// The records, in the container's own order.
    pub desired: Arc<[DesiredRecord]>,
    /// When the change that this tells of was first told of by an event or a listing;
    /// `None`: it tells of none, or of one from before this process looked.
    pub since: Option<Instant>,
}

impl Domain {
    /// Of a container that is to have no record.
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

impl Coalesce for LiveContainers {}

/// Which containers there are. What the inserter holds for any other is withdrawn.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct LiveContainers {
    /// All that the registry watches.
    pub containers: Arc<BTreeSet<ContainerId>>,
    /// When the listing that they are from was asked for.
    pub requested_at: Instant,
}

/// Asks for an answer once every change is in the store.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Flush {
    /// Whether all records are to be withdrawn first.
    pub withdraw: bool,
}

/// Asks how many changes are not in the store.
#[derive(Clone, Debug, Message)]
#[rtype(result = "usize")]
pub struct CountPendingWrites;

/// Have what the store holds looked at now: something happened in which it may have
/// been lost (the machine slept).
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct CheckNow;

/// Asks for all wanted records and how they stand.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<RecordReport>")]
pub struct GetRecords;

/// Asks how many records stand how.
#[derive(Clone, Debug, Message)]
#[rtype(result = "RecordsStatus")]
pub struct GetRecordsStatus;

/// Asks for a sign of life.
#[derive(Clone, Debug, actix::Message)]
#[rtype(result = "()")]
pub struct Ping;

/// Makes an actor fall: for tests of what mends it.
#[cfg(feature = "test-hooks")]
#[derive(Clone, Debug, actix::Message)]
#[rtype(result = "()")]
pub struct InjectPanic;

/// Makes the watcher of the container of this name fall: for tests of what mends it.
#[cfg(feature = "test-hooks")]
#[derive(Clone, Debug, actix::Message)]
#[rtype(result = "()")]
pub struct InjectWatcherPanic(pub String);

/// Makes an actor answer nothing any more: for tests of what notices it.
#[cfg(feature = "test-hooks")]
#[derive(Clone, Debug, actix::Message)]
#[rtype(result = "()")]
pub struct InjectHang;

/// Makes an actor take no message for so long: for tests of what shows that.
#[cfg(feature = "test-hooks")]
#[derive(Clone, Debug, actix::Message)]
#[rtype(result = "()")]
pub struct InjectDelay(pub Duration);
