//! The families of the daemon as a whole, and of its requests.

use std::fmt::Result;
use std::time::Duration;

use super::instrumented::RequestSnapshot;
use super::snapshot::MetricsSnapshot;
use super::writer::{MetricWriter, family, unprefixed_family};

/// The buckets of a request's duration.
const REQUEST_BUCKETS: [Duration; 8] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(20),
];

impl MetricsSnapshot {
    pub(super) fn encode_daemon(&self, writer: &mut MetricWriter) -> Result {
        let build = vec![("version", self.build.version), ("commit", self.build.commit)];
        writer.info(
            family("build", "The version that runs, and the commit that it was built from."),
            build,
        )?;
        self.encode_process(writer)?;
        let ready = self.core.as_ref().is_some_and(|core| core.status.ready().is_ok());
        writer.gauge(
            family("ready", "1 while Docker was listed within three polls and every wanted record is in the store, stands by or has failed for a reason of its own; else 0. /readyz tells the reason."),
            f64::from(u8::from(ready)),
        )?;
        let reloads = [("ok", self.reloads.ok), ("refused", self.reloads.refused)];
        writer.counters(
            family("reloads", "How often the configuration was read again: into force (ok), or refused, so that the one before stays."),
            reloads.map(|(result, count)| (vec![("result", result)], count)),
        )?;
        writer.timestamp(
            family(
                "reload_last_success_timestamp",
                "When a configuration that was read again last came into force.",
            ),
            self.reloads.last_success,
        )
    }

    fn encode_process(&self, writer: &mut MetricWriter) -> Result {
        let Some(process) = &self.process else { return Ok(()) };
        writer.counter(
            unprefixed_family("process_cpu", "Time that processors worked for the process.")
                .seconds(),
            process.cpu.as_secs_f64(),
        )?;
        writer.gauge(
            unprefixed_family("process_resident_memory", "Memory that the process holds.").bytes(),
            process.resident as f64,
        )?;
        writer.timestamp(
            unprefixed_family("process_start_time", "When the process was started."),
            Some(process.started),
        )?;
        writer.gauge(
            unprefixed_family(
                "process_open_fds",
                "Files and connections that the process has open.",
            ),
            process.open_files as f64,
        )
    }

    pub(super) fn encode_requests(&self, writer: &mut MetricWriter) -> Result {
        for (target, requests, count_help, duration_help) in [
            (
                "docker",
                &self.docker,
                "Questions to Docker, by what was asked and what came of it: ok, or the kind of failure.",
                "How long Docker took to answer, or to fail; for events, until the stream was open.",
            ),
            (
                "etcd",
                &self.etcd,
                "Requests to etcd, by what was asked and what came of it: ok, or the kind of failure. A batch counts once.",
                "How long etcd took to answer, or to fail; for a watch, until the stream was open.",
            ),
        ] {
            if requests.is_empty() {
                continue;
            }
            writer.counters(family(&format!("{target}_requests"), count_help), counts(requests))?;
            writer.histograms(
                family(&format!("{target}_request"), duration_help),
                &REQUEST_BUCKETS,
                requests.iter().map(|row| (vec![("request", row.request)], row.seconds)),
            )?;
        }
        Ok(())
    }
}

fn counts(
    requests: &[RequestSnapshot],
) -> impl Iterator<Item = (Vec<(&'static str, &'static str)>, u64)> {
    requests.iter().flat_map(|row| {
        row.results
            .iter()
            .map(|(result, count)| (vec![("request", row.request), ("result", *result)], *count))
    })
}
