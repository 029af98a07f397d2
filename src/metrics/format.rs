//! Selects one of the two text formats by a client's `Accept` header.

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus's own text format, version 0.0.4.
    Prometheus,
}

impl Format {
    /// Selects the format for an `Accept` header: OpenMetrics if the header names it with at least
    /// the weight of plain text, else Prometheus's format, which every client understands.
    pub fn negotiate(accept: Option<&str>) -> Self {
        let weight = |media: &str| {
            let ranges = accept.unwrap_or_default().split(',');
            ranges.filter_map(|range| media_weight(range, media)).fold(0.0, f32::max)
        };
        let openmetrics = weight("application/openmetrics-text");
        if openmetrics > 0.0 && openmetrics >= weight("text/plain") {
            return Self::OpenMetrics;
        }
        Self::Prometheus
    }

    /// Returns the value of the response's `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Returns the weight of one range of an `Accept` header (RFC 9110, section 12.5.1); `None` if the
/// range does not name this media type.
fn media_weight(range: &str, media: &str) -> Option<f32> {
    let mut parts = range.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(media) {
        return None;
    }
    let weight = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse())
    });
    Some(weight.map_or(1.0, |weight| weight.unwrap_or(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiates_openmetrics_by_accept_header() {
        use Format::{OpenMetrics, Prometheus};
        for (accept, format) in [
            (None, Prometheus),
            (Some("*/*"), Prometheus),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), Prometheus),
            (Some("application/openmetrics-text"), OpenMetrics),
            (Some("Application/OpenMetrics-Text; version=1.0.0; Q=0.5"), OpenMetrics),
            (Some("application/openmetrics-text;q=0"), Prometheus),
            (Some("application/openmetrics-text;q=much"), Prometheus),
            (Some("text/plain, application/openmetrics-text;q=0.9"), Prometheus),
            // The header that Prometheus itself sends.
            (
                Some(
                    "application/openmetrics-text;version=1.0.0;q=0.6,\
                     application/openmetrics-text;version=0.0.1;q=0.5,\
                     text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                ),
                OpenMetrics,
            ),
        ] {
            assert_eq!(Format::negotiate(accept), format, "{accept:?}");
        }
    }
}
