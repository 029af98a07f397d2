//! The rows of `/actors`, `/containers`, `/records`, `/changes` and `/config` (deploy/README.md,
//! "Admin interface").

use std::time::SystemTime;

use highhock_actors::runtime::metrics::{HistogramSnapshot, MailboxSnapshot};
use highhock_actors::status::{ContainerReport, RecentChange};
use highhock_actors::{RecordReport, StandbyReason};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::settings::EffectiveKey;
use crate::text::rfc3339::rfc3339;

/// The mailbox of an actor type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActorRow {
    /// The name of the type.
    pub actor: String,
    /// The number of running instances.
    pub instances: u64,
    /// The number of queued messages, over all instances.
    pub depth: u64,
    /// The capacity of one instance's mailbox.
    pub capacity: usize,
    /// The largest depth so far.
    pub high_water: u64,
    /// The number of messages that entered the mailbox.
    pub enqueued: u64,
    /// The number of handled messages.
    pub handled: u64,
    /// The number of queued states that a newer state replaced.
    pub coalesced: u64,
    /// The number of messages without a running recipient.
    pub refused: u64,
    /// The number of restarts after a failure.
    pub restarts: u64,
    /// The number of panics.
    pub panics: u64,
    /// The time between entering the mailbox and the start of the handler.
    pub wait_seconds: TimingRow,
    /// The time in the handler.
    pub handle_seconds: TimingRow,
}

/// The distribution of a duration, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimingRow {
    /// The number of measured durations.
    pub count: u64,
    /// The sum.
    pub sum: f64,
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The maximum.
    pub max: f64,
}

impl From<MailboxSnapshot> for ActorRow {
    fn from(mailbox: MailboxSnapshot) -> Self {
        Self {
            actor: mailbox.actor.to_owned(),
            instances: mailbox.instances,
            depth: mailbox.depth,
            capacity: mailbox.capacity,
            high_water: mailbox.high_water,
            enqueued: mailbox.enqueued,
            handled: mailbox.handled,
            coalesced: mailbox.coalesced,
            refused: mailbox.refused,
            restarts: mailbox.restarts,
            panics: mailbox.panics,
            wait_seconds: mailbox.wait.into(),
            handle_seconds: mailbox.handling.into(),
        }
    }
}

impl From<HistogramSnapshot> for TimingRow {
    fn from(timing: HistogramSnapshot) -> Self {
        Self {
            count: timing.count,
            sum: timing.sum.as_secs_f64(),
            p50: timing.p50.as_secs_f64(),
            p99: timing.p99.as_secs_f64(),
            max: timing.max.as_secs_f64(),
        }
    }
}

/// A watched container.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ContainerRow {
    id: String,
    name: String,
    state: &'static str,
    /// The reason for which nothing of the container is published.
    withheld: Option<String>,
    services: Vec<ServiceRow>,
    skipped: Vec<SkippedRow>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct ServiceRow {
    name: String,
    port: u16,
    proto: Option<&'static str>,
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct SkippedRow {
    entry: String,
    reason: String,
}

impl From<ContainerReport> for ContainerRow {
    fn from(container: ContainerReport) -> Self {
        let services = container.services.iter().map(|service| ServiceRow {
            name: service.name.to_string(),
            port: service.port.get(),
            proto: service.proto.map(|proto| proto.as_str()),
            method: service.method,
        });
        let skipped = container.skipped.into_iter();
        let skipped = skipped.map(|entry| SkippedRow { entry: entry.entry, reason: entry.reason });
        Self {
            id: container.id.as_str().to_owned(),
            name: container.name,
            state: container.state.as_str(),
            withheld: container.withheld,
            services: services.collect(),
            skipped: skipped.collect(),
        }
    }
}

/// A desired record with its state.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RecordRow {
    key: String,
    /// The exact JSON in the store, in the order of its fields.
    value: Box<RawValue>,
    container: String,
    state: &'static str,
    /// The kind of reason for which the record is on standby.
    standby: Option<&'static str>,
    reason: Option<String>,
    refreshed: Option<String>,
}

impl From<RecordReport> for RecordRow {
    fn from(record: RecordReport) -> Self {
        Self {
            key: record.key.as_str().to_owned(),
            // The values of the core are always JSON.
            value: RawValue::from_string(record.value).unwrap_or_default(),
            container: record.container.as_str().to_owned(),
            state: record.state.as_str(),
            standby: record.standby.map(StandbyReason::as_str),
            reason: record.reason,
            refreshed: record.refreshed.map(rfc3339),
        }
    }
}

/// A change of a container or a record.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ChangeRow {
    at: String,
    what: &'static str,
    container: Option<ChangedContainerRow>,
    key: Option<String>,
    reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct ChangedContainerRow {
    id: String,
    name: String,
}

impl From<RecentChange> for ChangeRow {
    fn from(change: RecentChange) -> Self {
        let container = change.container.map(|changed| ChangedContainerRow {
            id: changed.id.as_str().to_owned(),
            name: changed.name,
        });
        Self {
            at: rfc3339(wall_clock_time(change.at)),
            what: change.kind.as_str(),
            container,
            key: change.key.map(|key| key.as_str().to_owned()),
            reason: change.reason,
        }
    }
}

/// A key of the configuration in effect.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ConfigRow {
    key: &'static str,
    value: Value,
    /// `default`, `file`, `environment` or `flag`.
    layer: &'static str,
    /// The name of the file, variable or flag.
    place: Option<String>,
    /// The value in effect if `value` is null.
    otherwise: Option<&'static str>,
}

impl From<EffectiveKey> for ConfigRow {
    fn from(key: EffectiveKey) -> Self {
        let EffectiveKey { key, value, layer, place, otherwise } = key;
        Self { key, value, layer: layer.as_str(), place, otherwise }
    }
}

/// Converts a past instant to wall-clock time.
pub(super) fn wall_clock_time(instant: Instant) -> SystemTime {
    let now = SystemTime::now();
    now.checked_sub(instant.elapsed()).unwrap_or(now)
}
