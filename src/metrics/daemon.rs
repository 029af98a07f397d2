//! The metrics of the daemon as a whole, and of its requests to Docker and etcd.

use std::fmt::Result;
use std::time::Duration;

use super::instrumented::RequestSnapshot;
use super::snapshot::MetricsSnapshot;
use super::writer::{MetricWriter, family, unprefixed_family};

/// The buckets of the duration of a request.
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
        writer.info(family("build", "The running version, and the commit of its build."), build)?;
        self.encode_process(writer)?;
        let ready = self.core.as_ref().is_some_and(|core| core.status.ready().is_ok());
        writer.gauge(
            family(
                "ready",
                "1 if Docker answered a listing within three polls and every \
                desired record is in the store, on standby or rejected, else 0. /readyz shows \
                the reason.",
            ),
            f64::from(u8::from(ready)),
        )?;
        let reloads = [("ok", self.reloads.ok), ("refused", self.reloads.refused)];
        writer.counters(
            family(
                "reloads",
                "Reloads of the configuration, by result: applied (ok), or \
                rejected, so that the old configuration stays active (refused).",
            ),
            reloads.map(|(result, count)| (vec![("result", result)], count)),
        )?;
        writer.timestamp(
            family("reload_last_success_timestamp", "Time of the last reload that was applied."),
            self.reloads.last_success,
        )
    }

    fn encode_process(&self, writer: &mut MetricWriter) -> Result {
        let Some(process) = &self.process else { return Ok(()) };
        writer.counter(
            unprefixed_family("process_cpu", "CPU time of the process.").seconds(),
            process.cpu.as_secs_f64(),
        )?;
        writer.gauge(
            unprefixed_family("process_resident_memory", "Resident memory of the process.").bytes(),
            process.resident as f64,
        )?;
        writer.timestamp(
            unprefixed_family("process_start_time", "Start time of the process."),
            Some(process.started),
        )?;
        writer.gauge(
            unprefixed_family("process_open_fds", "Open files and connections of the process."),
            process.open_files as f64,
        )
    }

    pub(super) fn encode_requests(&self, writer: &mut MetricWriter) -> Result {
        for (target, requests, count_help, duration_help) in [
            (
                "docker",
                &self.docker,
                "Requests to Docker, by kind of request and by result: ok, or the kind of error.",
                "Duration of requests to Docker, including failed requests; for events, until \
                    the stream was open.",
            ),
            (
                "etcd",
                &self.etcd,
                "Requests to etcd, by kind of request and by result: ok, or the kind of error. \
                    A batch counts once.",
                "Duration of requests to etcd, including failed requests; for a watch, until \
                    the stream was open.",
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
