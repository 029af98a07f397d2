//! The metric names that the daemon exports, and the metric names in a text.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use crate::TIMEOUT;
use crate::support::admin::Admin;
use crate::support::daemon::Highhock;
use crate::support::docker::Container;
use crate::support::etcd::Etcd;
use crate::support::{eventually, unique};

/// The prefixes of the names.
const PREFIXES: [&str; 2] = ["highhock_", "process_"];

/// Metrics that the daemon exports only after an event: a reload, a listing, a write, an audit, a
/// lease.
const LATE_METRICS: [&str; 5] = [
    "highhock_reload_last_success_timestamp_seconds",
    "highhock_docker_last_poll_timestamp_seconds",
    "highhock_etcd_last_write_timestamp_seconds",
    "highhock_etcd_last_audit_timestamp_seconds",
    "highhock_lease_remaining_seconds",
];

/// All metric names with samples that a daemon exports after it has done everything once.
pub fn exposed() -> &'static BTreeSet<String> {
    static NAMES: OnceLock<BTreeSet<String>> = OnceLock::new();
    NAMES.get_or_init(scrape_daemon)
}

fn scrape_daemon() -> BTreeSet<String> {
    let (etcd, admin) = (Etcd::start(), Admin::on_loopback());
    let highhock = Highhock::new(&etcd.url()).flag("--etcd-api", "v3");
    let daemon = highhock.flag("--admin-listen", &admin.listen()).start();
    let offer = format!("DISCOVER=metrics-{}-{}:80", std::process::id(), unique());
    let _container = Container::run(&["-e", &offer, "-p", "0:80"], &[]);
    // The daemon listens, so it handles signals.
    admin.get("/healthz");
    daemon.signal("HUP");
    eventually("all that the daemon shows", TIMEOUT, || {
        let answer = admin.get("/metrics");
        let names = sample_names(&answer.body);
        LATE_METRICS.iter().all(|late| names.contains(*late)).then_some(names)
    })
}

/// Each sample is a line that begins with its name. Other lines are comments.
fn sample_names(text: &str) -> BTreeSet<String> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

/// The daemon's metrics in a text, for example in PromQL.
pub fn metric_names_in(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = text.split(|letter| !is_part(letter));
    let words = words.filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)));
    words.map(str::to_owned).collect()
}
