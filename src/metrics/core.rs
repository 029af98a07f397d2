//! The families of the core: its mailboxes, its containers and records, and how it stands
//! towards Docker and etcd.

use std::fmt::Result;
use std::time::Duration;

use highhock_actors::RecordState;
use highhock_actors::runtime::metrics::{HistogramSnapshot, MailboxSnapshot, MessageSnapshot};
use highhock_actors::status::RecordsStatus;

use super::snapshot::CoreSnapshot;
use super::writer::{Labels, MetricWriter, family};

/// The buckets of how long a message waits or is handled.
const MESSAGE_BUCKETS: [Duration; 7] = [
    Duration::from_micros(10),
    Duration::from_micros(100),
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(10),
];

/// The buckets of the way from an event to its record.
const RECORD_BUCKETS: [Duration; 14] = [
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(50),
];

impl CoreSnapshot {
    pub(super) fn encode(&self, writer: &mut MetricWriter) -> Result {
        self.encode_mailboxes(writer)?;
        self.encode_messages(writer)?;
        self.encode_containers(writer)?;
        if let Some(records) = &self.status.records {
            encode_records(records, writer)?;
        }
        self.encode_docker_and_etcd(writer)?;
        self.encode_counts(writer)
    }

    fn encode_mailboxes(&self, writer: &mut MetricWriter) -> Result {
        let by_actor = |read: fn(&MailboxSnapshot) -> u64| {
            self.meters.iter().map(move |meter| (actor(meter), read(meter)))
        };
        for (name, help, read) in MAILBOX_GAUGES {
            let values = by_actor(*read).map(|(labels, value)| (labels, value as f64));
            writer.gauges(family(name, help), values)?;
        }
        for (name, help, read) in MAILBOX_COUNTERS {
            writer.counters(family(name, help), by_actor(*read))?;
        }
        Ok(())
    }

    fn encode_messages(&self, writer: &mut MetricWriter) -> Result {
        let by_message = |timing: fn(&MessageSnapshot) -> HistogramSnapshot| {
            self.meters.iter().flat_map(move |meter| {
                let labels =
                    |one: &MessageSnapshot| [actor(meter), vec![("message", one.message)]].concat();
                meter.messages.iter().map(move |one| (labels(one), timing(one)))
            })
        };
        writer.histograms(
            family(
                "message_wait",
                "How long messages waited in their mailbox, by actor and message type.",
            ),
            &MESSAGE_BUCKETS,
            by_message(|one| one.wait),
        )?;
        writer.histograms(
            family(
                "message_handle",
                "How long messages took to be handled, by actor and message type.",
            ),
            &MESSAGE_BUCKETS,
            by_message(|one| one.handling),
        )
    }

    fn encode_containers(&self, writer: &mut MetricWriter) -> Result {
        let states = self.status.containers.iter();
        writer.gauges(
            family("containers", "Containers under watch, by what they are doing."),
            states.map(|(state, count)| (vec![("state", state.as_str())], *count as f64)),
        )
    }

    fn encode_docker_and_etcd(&self, writer: &mut MetricWriter) -> Result {
        let (docker, store) = (&self.status.docker, &self.status.store);
        writer.timestamp(
            family(
                "docker_last_poll_timestamp",
                "When Docker last answered a listing of its containers.",
            ),
            self.wall_clock_time(docker.last_listing),
        )?;
        writer.timestamp(
            family("etcd_last_write_timestamp", "When etcd last took a write: a put, a withdrawal, a refresh or the lease's keep-alive."),
            self.wall_clock_time(store.last_write),
        )?;
        writer.timestamp(
            family(
                "etcd_last_audit_timestamp",
                "When all that etcd holds was last compared with what should be there.",
            ),
            self.wall_clock_time(store.last_audit),
        )?;
        writer.counter(
            family("etcd_retries", "How often etcd was tried again after it had not answered."),
            store.retries,
        )
    }

    fn encode_counts(&self, writer: &mut MetricWriter) -> Result {
        let counts = &self.status.counts;
        writer.counter(
            family(
                "drift_mended",
                "Records that an audit found not to be in the store as they should, and mended.",
            ),
            counts.drifted,
        )?;
        writer.counter(
            family("records_put", "Records put, for the first time or anew."),
            counts.put,
        )?;
        writer.counter(family("records_withdrawn", "Records withdrawn."), counts.withdrawn)?;
        writer.histograms(
            family("event_to_record", "From the moment when an event (or, where none did, a listing) first told of a change to the store's answer to the write that came of it."),
            &RECORD_BUCKETS,
            [(Vec::new(), self.status.event_to_record)],
        )
    }
}

fn encode_records(records: &RecordsStatus, writer: &mut MetricWriter) -> Result {
    let standby: usize = records.standby.iter().map(|(_, count)| count).sum();
    let states = [
        (RecordState::Live, records.live),
        (RecordState::Pending, records.pending),
        (RecordState::Standby, standby),
        (RecordState::Failed, records.failed),
    ];
    writer.gauges(
        family("records", "Wanted records: in the store (live), to be written (pending), held by another (standby), not taken by the store (failed)."),
        states.map(|(state, count)| (vec![("state", state.as_str())], count as f64)),
    )?;
    let reasons = records.standby.iter();
    writer.gauges(
        family("records_standby", "Records that stand by, by the reason: another writer has the key (foreign), a record without a TTL has it (static), a name above or below is in the way (shadowed), another container or port of this host has the name (rival)."),
        reasons.map(|(reason, count)| (vec![("reason", reason.as_str())], *count as f64)),
    )?;
    writer.gauge(
        family("lease_remaining", "How long the lease of all records lives on unless it is kept alive. Missing where records have TTLs of their own (etcd v2).").seconds(),
        records.lease_remaining.map(|remaining| remaining.as_secs_f64()),
    )
}

fn actor(meter: &MailboxSnapshot) -> Labels<'static> {
    vec![("actor", meter.actor)]
}

/// A name, its help, and the figure that it shows.
type MailboxMetric = (&'static str, &'static str, fn(&MailboxSnapshot) -> u64);

const MAILBOX_GAUGES: &[MailboxMetric] = &[
    ("actor_instances", "Actors alive, by type.", |meter| meter.instances),
    ("mailbox_depth", "Messages that wait in mailboxes, over all actors of a type.", |meter| {
        meter.depth
    }),
    ("mailbox_capacity", "Messages that one actor's mailbox takes before senders wait.", |meter| {
        meter.capacity as u64
    }),
    (
        "mailbox_high_water",
        "The most messages that ever waited, over all actors of a type.",
        |meter| meter.high_water,
    ),
];

const MAILBOX_COUNTERS: &[MailboxMetric] = &[
    ("messages_enqueued", "Messages that entered a mailbox.", |meter| meter.enqueued),
    ("messages_handled", "Messages that were handled.", |meter| meter.handled),
    (
        "messages_coalesced",
        "States that a newer one replaced before they were sent; nothing is lost by that.",
        |meter| meter.coalesced,
    ),
    (
        "messages_refused",
        "Messages that found no actor to take them; their senders keep the state.",
        |meter| meter.refused,
    ),
    ("actor_restarts", "Actors that were replaced after a failure.", |meter| meter.restarts),
    ("actor_panics", "Actors that panicked.", |meter| meter.panics),
];
