//! The metrics of the core: mailboxes, containers, records, and the state of Docker and etcd.

use std::fmt::Result;
use std::time::Duration;

use highhock_actors::RecordState;
use highhock_actors::runtime::metrics::{HistogramSnapshot, MailboxSnapshot, MessageSnapshot};
use highhock_actors::status::RecordsStatus;

use super::snapshot::CoreSnapshot;
use super::writer::{Labels, MetricWriter, family};

/// The buckets of the waiting time and the handling time of a message.
const MESSAGE_BUCKETS: [Duration; 7] = [
    Duration::from_micros(10),
    Duration::from_micros(100),
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(10),
];

/// The buckets of the time from an event to its record.
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
            self.mailboxes.iter().map(move |mailbox| (actor(mailbox), read(mailbox)))
        };
        for MailboxMetric { name, help, read } in MAILBOX_GAUGES {
            let values = by_actor(*read).map(|(labels, value)| (labels, value as f64));
            writer.gauges(family(name, help), values)?;
        }
        for MailboxMetric { name, help, read } in MAILBOX_COUNTERS {
            writer.counters(family(name, help), by_actor(*read))?;
        }
        Ok(())
    }

    fn encode_messages(&self, writer: &mut MetricWriter) -> Result {
        let by_message = |timing: fn(&MessageSnapshot) -> HistogramSnapshot| {
            self.mailboxes.iter().flat_map(move |mailbox| {
                let labels = |message: &MessageSnapshot| {
                    [actor(mailbox), vec![("message", message.message)]].concat()
                };
                mailbox.messages.iter().map(move |message| (labels(message), timing(message)))
            })
        };
        writer.histograms(
            family(
                "message_wait",
                "Time that messages waited in a mailbox, by actor and message type.",
            ),
            &MESSAGE_BUCKETS,
            by_message(|message| message.wait),
        )?;
        writer.histograms(
            family("message_handle", "Time to handle a message, by actor and message type."),
            &MESSAGE_BUCKETS,
            by_message(|message| message.handling),
        )
    }

    fn encode_containers(&self, writer: &mut MetricWriter) -> Result {
        let states = self.status.containers.iter();
        writer.gauges(
            family("containers", "Watched containers, by state."),
            states.map(|(state, count)| (vec![("state", state.as_str())], *count as f64)),
        )
    }

    fn encode_docker_and_etcd(&self, writer: &mut MetricWriter) -> Result {
        let (docker, store) = (&self.status.docker, &self.status.store);
        writer.timestamp(
            family(
                "docker_last_poll_timestamp",
                "Time of the last listing of containers that Docker answered.",
            ),
            self.wall_clock_time(docker.last_listing),
        )?;
        let unreadable = [("event", docker.unreadable_events), ("row", docker.unreadable_rows)];
        writer.counters(
            family(
                "docker_unreadable",
                "Events, and rows of listings, that could not be read and were skipped.",
            ),
            unreadable.into_iter().map(|(kind, count)| (vec![("kind", kind)], count)),
        )?;
        writer.timestamp(
            family(
                "etcd_last_write_timestamp",
                "Time of the last write that etcd accepted: a \
                put, a deletion, a refresh or a keep-alive of the lease.",
            ),
            self.wall_clock_time(store.last_write),
        )?;
        writer.timestamp(
            family(
                "etcd_last_audit_timestamp",
                "Time of the last complete audit, which compares etcd with the desired records.",
            ),
            self.wall_clock_time(store.last_audit),
        )?;
        writer.counter(family("etcd_retries", "Retries after etcd did not answer."), store.retries)
    }

    fn encode_counts(&self, writer: &mut MetricWriter) -> Result {
        let counts = &self.status.counts;
        writer.counter(
            family(
                "drift_repaired",
                "Wrong or missing records in the store that an audit found and repaired.",
            ),
            counts.drifted,
        )?;
        writer.counter(
            family("records_put", "Records written to the store, including repeated writes."),
            counts.put,
        )?;
        writer.counter(
            family("records_withdrawn", "Records withdrawn from the store."),
            counts.withdrawn,
        )?;
        writer.histograms(
            family(
                "event_to_record",
                "Time from the first report of a change, by an event or a \
                listing, to the store's reply to the resulting write.",
            ),
            &RECORD_BUCKETS,
            [(Vec::new(), self.status.event_to_record)],
        )
    }
}

fn encode_records(records: &RecordsStatus, writer: &mut MetricWriter) -> Result {
    let standby: usize = records.standby.iter().map(|(_, count)| count).sum();
    let states = [
        (RecordState::Live, records.live),
        (RecordState::Expired, records.expired),
        (RecordState::Pending, records.pending),
        (RecordState::Standby, standby),
        (RecordState::Failed, records.failed),
    ];
    writer.gauges(
        family(
            "records",
            "Desired records, by state: in the store (live), run out while the store is \
            unreachable (expired), to be written (pending), with another holder of the key (standby), rejected by the store (failed).",
        ),
        states.map(|(state, count)| (vec![("state", state.as_str())], count as f64)),
    )?;
    let reasons = records.standby.iter();
    writer.gauges(
        family(
            "records_standby",
            "Records on standby, by reason: another writer holds the key \
            (foreign), a record without a TTL holds the key (static), a record above or below \
            the name excludes it (shadowed), another container or port of this host holds the \
            key (conflict).",
        ),
        reasons.map(|(reason, count)| (vec![("reason", reason.as_str())], *count as f64)),
    )?;
    writer.gauge(
        family(
            "lease_remaining",
            "Time until the lease of all records expires if it is not kept \
            alive. Absent if records have their own TTLs (etcd v2).",
        )
        .seconds(),
        records.lease_remaining.map(|remaining| remaining.as_secs_f64()),
    )
}

fn actor(mailbox: &MailboxSnapshot) -> Labels<'static> {
    vec![("actor", mailbox.actor)]
}

/// A metric with a value for each type of actor.
struct MailboxMetric {
    name: &'static str,
    help: &'static str,
    read: fn(&MailboxSnapshot) -> u64,
}

const MAILBOX_GAUGES: &[MailboxMetric] = &[
    MailboxMetric {
        name: "actor_instances",
        help: "Running actors, by type.",
        read: |mailbox| mailbox.instances,
    },
    MailboxMetric {
        name: "mailbox_depth",
        help: "Messages that wait in mailboxes, over all actors of a type.",
        read: |mailbox| mailbox.depth,
    },
    MailboxMetric {
        name: "mailbox_capacity",
        help: "Messages that one actor's mailbox accepts before senders wait.",
        read: |mailbox| mailbox.capacity as u64,
    },
    MailboxMetric {
        name: "mailbox_high_water",
        help: "The highest number of waiting messages so far, over all actors of a type.",
        read: |mailbox| mailbox.high_water,
    },
];

const MAILBOX_COUNTERS: &[MailboxMetric] = &[
    MailboxMetric {
        name: "messages_enqueued",
        help: "Messages that entered a mailbox.",
        read: |mailbox| mailbox.enqueued,
    },
    MailboxMetric {
        name: "messages_handled",
        help: "Messages that were handled.",
        read: |mailbox| mailbox.handled,
    },
    MailboxMetric {
        name: "messages_coalesced",
        help: "States that were replaced by newer ones before they were sent; nothing is lost.",
        read: |mailbox| mailbox.coalesced,
    },
    MailboxMetric {
        name: "messages_refused",
        help: "Messages without a receiver; the sender keeps the state.",
        read: |mailbox| mailbox.refused,
    },
    MailboxMetric {
        name: "actor_restarts",
        help: "Restarts of actors after a crash.",
        read: |mailbox| mailbox.restarts,
    },
    MailboxMetric {
        name: "actor_panics",
        help: "Crashes of actors.",
        read: |mailbox| mailbox.panics,
    },
];
