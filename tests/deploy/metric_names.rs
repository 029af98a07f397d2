//! The names of metrics: those that the daemon exposes, and those that a text speaks of.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use crate::PATIENCE;
use crate::support::admin::Admin;
use crate::support::daemon::Highhock;
use crate::support::docker::Container;
use crate::support::etcd::Etcd;
use crate::support::{eventually, unique};

/// How the names begin.
const PREFIXES: [&str; 2] = ["highhock_", "process_"];

/// Those that the daemon shows only after something has happened: a reload, a listing of
/// Docker, a write, a comparison with etcd, a lease.
const LATE: [&str; 5] = [
    "highhock_reload_last_success_timestamp_seconds",
    "highhock_docker_last_poll_timestamp_seconds",
    "highhock_etcd_last_write_timestamp_seconds",
    "highhock_etcd_last_audit_timestamp_seconds",
    "highhock_lease_remaining_seconds",
];

/// Every name under which a running daemon shows samples.
pub fn exposed() -> &'static BTreeSet<String> {
    static NAMES: OnceLock<BTreeSet<String>> = OnceLock::new();
    NAMES.get_or_init(|| shown_by_a_daemon().unwrap_or_else(agreed))
}

/// Of a daemon that has done all that it does; `None`: it shows no metrics.
fn shown_by_a_daemon() -> Option<BTreeSet<String>> {
    let (etcd, admin) = (Etcd::start(), Admin::on_loopback());
    let highhock = Highhock::new(&etcd.url()).flag("--etcd-api", "v3");
    let daemon = highhock.flag("--admin-listen", &admin.listen()).start();
    let offer = format!("DISCOVER=metrics-{}-{}:80", std::process::id(), unique());
    let _container = Container::run(&["-e", &offer, "-p", "0:80"], &[]);
    admin.get("/healthz");
    daemon.signal("HUP");
    let shown = || {
        let answer = admin.get("/metrics");
        (answer.status == 200).then(|| names_of_samples(&answer.body))
    };
    shown()?;
    eventually("all that the daemon shows", PATIENCE, || {
        shown().filter(|names| LATE.iter().all(|late| names.contains(*late)))
    })
    .into()
}

/// Each sample is a line that its name begins; what begins otherwise is a comment.
fn names_of_samples(text: &str) -> BTreeSet<String> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

fn agreed() -> BTreeSet<String> {
    AGREED.iter().flat_map(|line| samples(line)).collect()
}

/// The daemon's metrics that are named in a text, be it in the midst of PromQL.
pub fn named_in(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = text.split(|letter| !is_part(letter));
    let words = words.filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)));
    words.map(str::to_owned).collect()
}

fn samples(line: &str) -> Vec<String> {
    let (name, kind) = line.split_once(' ').unwrap();
    match kind {
        "histogram" => ["bucket", "sum", "count"].map(|end| format!("{name}_{end}")).to_vec(),
        _ => vec![name.to_owned()],
    }
}

/// Those that it is to show.
const AGREED: [&str; 36] = [
    "highhock_build_info gauge",
    "process_cpu_seconds_total counter",
    "process_resident_memory_bytes gauge",
    "process_start_time_seconds gauge",
    "process_open_fds gauge",
    "highhock_actor_instances gauge",
    "highhock_mailbox_depth gauge",
    "highhock_mailbox_capacity gauge",
    "highhock_mailbox_high_water gauge",
    "highhock_messages_enqueued_total counter",
    "highhock_messages_handled_total counter",
    "highhock_messages_coalesced_total counter",
    "highhock_messages_refused_total counter",
    "highhock_actor_restarts_total counter",
    "highhock_actor_panics_total counter",
    "highhock_message_wait_seconds histogram",
    "highhock_message_handle_seconds histogram",
    "highhock_containers gauge",
    "highhock_records gauge",
    "highhock_records_standby gauge",
    "highhock_event_to_record_seconds histogram",
    "highhock_lease_remaining_seconds gauge",
    "highhock_docker_last_poll_timestamp_seconds gauge",
    "highhock_etcd_last_write_timestamp_seconds gauge",
    "highhock_etcd_last_audit_timestamp_seconds gauge",
    "highhock_docker_requests_total counter",
    "highhock_docker_request_seconds histogram",
    "highhock_etcd_requests_total counter",
    "highhock_etcd_request_seconds histogram",
    "highhock_etcd_retries_total counter",
    "highhock_drift_mended_total counter",
    "highhock_records_put_total counter",
    "highhock_records_withdrawn_total counter",
    "highhock_ready gauge",
    "highhock_reloads_total counter",
    "highhock_reload_last_success_timestamp_seconds gauge",
];
