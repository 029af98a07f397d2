//! The names of metrics: those that the daemon exposes, and those that a text speaks of.

use std::collections::BTreeSet;

/// What stands for a metric of another kind than a histogram or a counter, by itself.
const PREFIXES: [&str; 2] = ["highhock_", "process_"];

/// Every name under which the daemon exposes samples.
pub fn exposed() -> BTreeSet<String> {
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

const AGREED: [&str; 37] = [
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
    "highhock_actor_panics_total counter",
];
