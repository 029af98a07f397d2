//! The daemon's metrics, in the text formats of Prometheus and OpenMetrics.
//!
//! `deploy/README.md`, "Metrics", explains each metric.

mod core;
mod daemon;
mod dns;
mod encoding;
mod format;
pub mod instrumented;
mod process;
mod reloads;
mod snapshot;
mod writer;

pub use format::Format;
pub use process::Process;
pub use reloads::Reloads;
pub use snapshot::{Build, CoreSnapshot, MetricsSnapshot};

/// Formats a snapshot as text.
pub fn render(snapshot: MetricsSnapshot, format: Format) -> String {
    let exposition = encoding::openmetrics(snapshot);
    match format {
        Format::OpenMetrics => exposition,
        Format::Prometheus => encoding::prometheus(&exposition),
    }
}
