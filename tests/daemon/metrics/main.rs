//! The exposed metrics, checked with Prometheus's own tool.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

#[path = "../../support/mod.rs"]
mod support;

mod daemon;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use highhock::metrics::instrumented::RequestMetrics;
use highhock::metrics::{Build, CoreSnapshot, Format, MetricsSnapshot, Process, Reloads, render};
use highhock_actors::runtime::metrics::{
    Histogram, HistogramSnapshot, MailboxMetrics, MessageSnapshot,
};
use highhock_actors::status::{CoreStatus, DisplayState, RecordsStatus, SourceStatus, StoreStatus};
use highhock_actors::{RecordCounts, StandbyReason};
use tokio::time::Instant;

fn timing(milliseconds: &[u64]) -> HistogramSnapshot {
    let timing = Histogram::new();
    for took in milliseconds {
        timing.record(Duration::from_millis(*took));
    }
    timing.snapshot()
}

/// A snapshot in which every value is known.
fn reading() -> MetricsSnapshot {
    let now = Instant::now();
    static METERS: [MailboxMetrics; 4] = [
        MailboxMetrics::new("DockerPoller", 16),
        MailboxMetrics::new("Registry", 64),
        MailboxMetrics::new("ContainerWatcher", 16),
        MailboxMetrics::new("EtcdInserter", 64),
    ];
    let meters = METERS.each_ref().map(|meter| {
        let message = MessageSnapshot {
            message: "Poll",
            wait: timing(&[0, 1, 70]),
            handling: timing(&[1, 20_000]),
        };
        highhock_actors::runtime::metrics::MailboxSnapshot {
            messages: vec![message],
            ..meter.snapshot()
        }
    });
    let records = RecordsStatus {
        live: 3,
        expired: 0,
        pending: 0,
        standby: StandbyReason::ALL.map(|reason| (reason, 1)).into(),
        failed: 1,
        uninspected: 0,
        lease_remaining: Some(Duration::from_millis(41_500)),
    };
    let standing = CoreStatus {
        docker: SourceStatus {
            poll_interval: Duration::from_secs(10),
            last_listing: Some(now),
            last_error: None,
            listing_duration: Duration::from_millis(20),
            unreadable_events: 2,
            unreadable_rows: 1,
        },
        store: StoreStatus {
            available: true,
            last_write: Some(now),
            last_audit: Some(now),
            ..StoreStatus::default()
        },
        containers: DisplayState::ALL.map(|state| (state, 2)).into(),
        records: Some(records),
        counts: RecordCounts { put: 7, withdrawn: 3, drifted: 1, ..RecordCounts::default() },
        event_to_record: timing(&[4, 40, 400]),
    };
    MetricsSnapshot {
        build: Build { version: "1.2.3", commit: "0123abc" },
        process: Process::now(),
        docker: RequestMetrics::for_docker().snapshot(),
        etcd: RequestMetrics::for_etcd().snapshot(),
        reloads: Reloads { ok: 2, refused: 1, last_success: Some(SystemTime::now()) },
        dns: None,
        core: Some(CoreSnapshot {
            status: standing,
            mailboxes: meters,
            now: (now, SystemTime::now()),
        }),
    }
}

/// The names and types of the exposition.
fn types(text: &str) -> Vec<(&str, &str)> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|it| it.split_once(' ')).collect()
}

/// The sample lines of a metric, without help and type.
fn lines<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(name)).collect()
}

/// Pipes a text through `promtool check metrics`.
#[track_caller]
fn assert_promtool_accepts(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool (Debian's package prometheus; tests/run installs it)");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let output_text = [output.stdout, output.stderr]
        .map(|output_text| String::from_utf8(output_text).unwrap())
        .concat();
    assert!(output.status.success() && output_text.is_empty(), "{output_text}\n{text}");
}

#[test]
fn promtool_accepts_every_family() {
    assert_promtool_accepts(&render(reading(), Format::Prometheus));
}

#[test]
fn exports_the_documented_names() {
    let text = render(reading(), Format::Prometheus);
    let mut names: Vec<_> = types(&text).into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "highhock_actor_instances",
            "highhock_actor_panics_total",
            "highhock_actor_restarts_total",
            "highhock_build_info",
            "highhock_containers",
            "highhock_docker_last_poll_timestamp_seconds",
            "highhock_docker_request_seconds",
            "highhock_docker_requests_total",
            "highhock_docker_unreadable_total",
            "highhock_drift_repaired_total",
            "highhock_etcd_last_audit_timestamp_seconds",
            "highhock_etcd_last_write_timestamp_seconds",
            "highhock_etcd_request_seconds",
            "highhock_etcd_requests_total",
            "highhock_etcd_retries_total",
            "highhock_event_to_record_seconds",
            "highhock_lease_remaining_seconds",
            "highhock_mailbox_capacity",
            "highhock_mailbox_depth",
            "highhock_mailbox_high_water",
            "highhock_message_handle_seconds",
            "highhock_message_wait_seconds",
            "highhock_messages_coalesced_total",
            "highhock_messages_enqueued_total",
            "highhock_messages_handled_total",
            "highhock_messages_refused_total",
            "highhock_ready",
            "highhock_records",
            "highhock_records_put_total",
            "highhock_records_standby",
            "highhock_records_withdrawn_total",
            "highhock_reload_last_success_timestamp_seconds",
            "highhock_reloads_total",
            "process_cpu_seconds_total",
            "process_open_fds",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
        ]
    );
}

#[test]
fn openmetrics_families_have_no_total_suffix() {
    let text = render(reading(), Format::OpenMetrics);
    assert!(text.ends_with("\n# EOF\n"));
    let types = types(&text);
    assert!(types.iter().all(|(name, _)| !name.ends_with("_total")), "{types:?}");
    for (name, kind) in [
        ("highhock_build", "info"),
        ("highhock_reloads", "counter"),
        ("process_cpu_seconds", "counter"),
        ("highhock_lease_remaining_seconds", "gauge"),
        ("highhock_event_to_record_seconds", "histogram"),
    ] {
        assert!(types.contains(&(name, kind)), "{name}: {types:?}");
        let unit = format!("# UNIT {name} seconds");
        assert_eq!(text.contains(&unit), name.ends_with("_seconds"), "{name}");
    }
}

#[test]
fn exports_the_values_of_the_snapshot() {
    let text = render(reading(), Format::Prometheus);
    for line in [
        r#"highhock_build_info{version="1.2.3",commit="0123abc"} 1"#,
        "highhock_ready 1.0",
        r#"highhock_reloads_total{result="refused"} 1"#,
        r#"highhock_records{state="standby"} 4.0"#,
        r#"highhock_records{state="expired"} 0.0"#,
        r#"highhock_records_standby{reason="shadowed"} 1.0"#,
        r#"highhock_containers{state="crash_looping"} 2.0"#,
        "highhock_lease_remaining_seconds 41.5",
        "highhock_records_put_total 7",
        r#"highhock_docker_requests_total{request="list",result="unreachable"} 0"#,
        r#"highhock_etcd_requests_total{request="keep_alive",result="lost_lease"} 0"#,
        r#"highhock_message_wait_seconds_count{actor="Registry",message="Poll"} 3"#,
        r#"highhock_mailbox_capacity{actor="Registry"} 64.0"#,
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }
    let buckets = lines(&text, "highhock_message_handle_seconds_bucket");
    let of_registry = buckets.into_iter().filter(|line| line.contains("\"Registry\""));
    let counts = of_registry.map(|line| line.rsplit(' ').next().unwrap());
    let counts: Vec<_> = counts.collect();
    assert_eq!(counts, ["0", "0", "1", "1", "1", "1", "1", "2"], "each holds all that is below");
}

#[test]
fn omits_unknown_values() {
    let nothing = MetricsSnapshot { core: None, process: None, ..reading() };
    let text = render(nothing, Format::Prometheus);
    assert_eq!(lines(&text, "highhock_ready "), ["highhock_ready 0.0"]);
    assert!(!text.contains("highhock_records"), "{text}");
    assert!(!text.contains("process_"), "{text}");

    let mut early = reading();
    let core = early.core.as_mut().unwrap();
    core.status.docker.last_listing = None;
    core.status.records = None;
    let text = render(early, Format::Prometheus);
    assert!(!text.contains("highhock_docker_last_poll_timestamp_seconds"), "{text}");
    assert!(!text.contains("highhock_lease_remaining_seconds"), "{text}");
    assert_eq!(lines(&text, "highhock_ready "), ["highhock_ready 0.0"]);
}

#[test]
fn escapes_label_values() {
    let build = Build { version: "1\"2\\3\n4", commit: "" };
    let text = render(MetricsSnapshot { build, ..reading() }, Format::Prometheus);
    assert_eq!(
        lines(&text, "highhock_build_info"),
        [r#"highhock_build_info{version="1\"2\\3\n4",commit=""} 1"#]
    );
}
