//! What is measured of the daemon, as text for Prometheus and its like.

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

/// Writes a reading as text.
pub fn render(snapshot: MetricsSnapshot, format: Format) -> String {
    let exposition = encoding::openmetrics(snapshot);
    match format {
        Format::OpenMetrics => exposition,
        Format::Prometheus => encoding::prometheus(&exposition),
    }
}
