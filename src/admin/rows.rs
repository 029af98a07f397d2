//! The rows of `/actors`, `/containers`, `/records` and `/config` (SPEC 7).

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

/// An actor type's mailbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActorRow {
    /// The type's name.
    pub actor: String,
    /// How many live.
    pub instances: u64,
    /// Messages waiting, over all instances.
    pub depth: u64,
    /// What one instance's mailbox takes.
    pub capacity: usize,
    /// The largest depth so far.
    pub high_water: u64,
    /// Messages that ever entered.
    pub enqueued: u64,
    /// Messages that were handled.
    pub handled: u64,
    /// States that a newer one replaced before they were sent.
    pub coalesced: u64,
    /// Messages that found no actor to take them.
    pub refused: u64,
    /// How often an instance was replaced after a failure.
    pub restarts: u64,
    /// How often an instance panicked.
    pub panics: u64,
    /// From entering the mailbox to being handled.
    pub wait_seconds: TimingRow,
    /// In the handler.
    pub handle_seconds: TimingRow,
}

/// How long something took; all but the count in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimingRow {
    /// How many were timed.
    pub count: u64,
    /// All of them together.
    pub sum: f64,
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl From<MailboxSnapshot> for ActorRow {
    fn from(meter: MailboxSnapshot) -> Self {
        Self {
            actor: meter.actor.to_owned(),
            instances: meter.instances,
            depth: meter.depth,
            capacity: meter.capacity,
            high_water: meter.high_water,
            enqueued: meter.enqueued,
            handled: meter.handled,
            coalesced: meter.coalesced,
            refused: meter.refused,
            restarts: meter.restarts,
            panics: meter.panics,
            wait_seconds: meter.wait.into(),
            handle_seconds: meter.handling.into(),
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

/// A container under watch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ContainerRow {
    id: String,
    name: String,
    state: &'static str,
    /// Why the container as a whole is left out for now.
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
        let skipped = skipped.map(|one| SkippedRow { entry: one.entry, reason: one.reason });
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

/// A wanted record.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RecordRow {
    key: String,
    /// To the letter, in the order of its parts.
    value: Box<RawValue>,
    container: String,
    state: &'static str,
    /// Why it stands by, in a word.
    standby: Option<&'static str>,
    reason: Option<String>,
    refreshed: Option<String>,
}

impl From<RecordReport> for RecordRow {
    fn from(record: RecordReport) -> Self {
        Self {
            key: record.key.as_str().to_owned(),
            // The core's own values are JSON, always.
            value: RawValue::from_string(record.value).unwrap_or_default(),
            container: record.container.as_str().to_owned(),
            state: record.state.as_str(),
            standby: record.standby.map(StandbyReason::as_str),
            reason: record.reason,
            refreshed: record.refreshed.map(rfc3339),
        }
    }
}

/// Something that happened to a container or a record.
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
        let container = change
            .container
            .map(|one| ChangedContainerRow { id: one.id.as_str().to_owned(), name: one.name });
        Self {
            at: rfc3339(wall_clock_time(change.at)),
            what: change.kind.as_str(),
            container,
            key: change.key.map(|key| key.as_str().to_owned()),
            reason: change.reason,
        }
    }
}

/// A key of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ConfigRow {
    key: &'static str,
    value: Value,
    /// `default`, `file`, `environment` or `flag`.
    layer: &'static str,
    /// Which file, variable or flag.
    place: Option<String>,
    /// What holds where there is no value.
    otherwise: Option<&'static str>,
}

impl From<EffectiveKey> for ConfigRow {
    fn from(key: EffectiveKey) -> Self {
        let EffectiveKey { key, value, layer, place, otherwise } = key;
        Self { key, value, layer: layer.as_str(), place, otherwise }
    }
}

/// What the clock showed at a moment of the past.
pub(super) fn wall_clock_time(instant: Instant) -> SystemTime {
    let now = SystemTime::now();
    now.checked_sub(instant.elapsed()).unwrap_or(now)
}
