//! Converts a snapshot to OpenMetrics text, and OpenMetrics text to Prometheus's own format.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use super::dns::encode_dns;
use super::snapshot::MetricsSnapshot;
use super::writer::MetricWriter;

impl Collector for MetricsSnapshot {
    fn encode(&self, encoder: DescriptorEncoder) -> std::fmt::Result {
        let mut writer = MetricWriter::new(encoder);
        self.encode_daemon(&mut writer)?;
        self.encode_requests(&mut writer)?;
        if let Some(dns) = &self.dns {
            encode_dns(dns, &mut writer)?;
        }
        match &self.core {
            Some(core) => core.encode(&mut writer),
            None => Ok(()),
        }
    }
}

/// Formats a snapshot as OpenMetrics 1.0.
pub(super) fn openmetrics(snapshot: MetricsSnapshot) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut exposition = String::new();
    // Writing to a string cannot fail.
    let _ = text::encode(&mut exposition, &registry);
    exposition
}

/// Converts OpenMetrics text to Prometheus's text format 0.0.4.
///
/// In that format the help and type of a metric name the metric with its suffix. The format has
/// fewer types, no units and no end marker.
pub(super) fn prometheus(openmetrics: &str) -> String {
    let mut exposition = String::with_capacity(openmetrics.len());
    let mut help = "";
    for line in openmetrics.lines() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // The suffix of the name depends on the type, which follows.
            help = rest.split_once(' ').map_or("", |(_, help)| help);
            continue;
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                same => ("", same),
            };
            exposition += &format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
            continue;
        }
        exposition += line;
        exposition.push('\n');
    }
    exposition
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_openmetrics_to_prometheus_text() {
        let openmetrics = "\
            # HELP a_seconds A duration.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
            a_seconds_total{b=\"# EOF\"} 1\n\
            # HELP c A fact.\n# TYPE c info\nc_info{d=\"e\"} 1\n\
            # HELP f A mystery.\n# TYPE f unknown\nf 2\n\
            # HELP g A value.\n# TYPE g gauge\ng 3\n# EOF\n";
        assert_eq!(
            prometheus(openmetrics),
            "# HELP a_seconds_total A duration.\n# TYPE a_seconds_total counter\n\
             a_seconds_total{b=\"# EOF\"} 1\n\
             # HELP c_info A fact.\n# TYPE c_info gauge\nc_info{d=\"e\"} 1\n\
             # HELP f A mystery.\n# TYPE f untyped\nf 2\n\
             # HELP g A value.\n# TYPE g gauge\ng 3\n"
        );
    }
}
