//! [`UnreadableReports`]: counts and logs the events and rows that could not be read.

use std::collections::BTreeSet;
use std::time::Duration;

use slog::{Logger, warn};
use tokio::time::Instant;

use crate::model::container::ContainerId;
use crate::ports::container_source::{SourceError, UnreadableRow};
use crate::status::StatusRecorder;

/// The minimum time between two warnings about unreadable events.
const EVENT_WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Counts every unreadable event and row, and limits the warnings about them: one per minute for
/// events, and one per container for rows.
#[derive(Debug, Default)]
pub(super) struct UnreadableReports {
    last_event: Option<Instant>,
    last_event_warning: Option<Instant>,
    /// The unreadable rows of the latest listing. `None` stands for rows without an id.
    rows: BTreeSet<Option<ContainerId>>,
}

impl UnreadableReports {
    /// Records an event that was skipped.
    pub fn record_event(&mut self, error: &SourceError, recorder: &StatusRecorder, log: &Logger) {
        let now = Instant::now();
        self.last_event = Some(now);
        recorder.record_unreadable_event();
        let is_recent = |at: Instant| now.duration_since(at) < EVENT_WARNING_INTERVAL;
        if self.last_event_warning.is_some_and(is_recent) {
            return;
        }
        self.last_event_warning = Some(now);
        warn!(log, "unreadable docker event skipped; the next listing shows the change";
            "error" => %error);
    }

    /// Returns `true` if an event was skipped since this time.
    pub fn has_event_since(&self, at: Instant) -> bool {
        self.last_event.is_some_and(|last| last >= at)
    }

    /// Records the unreadable rows of a listing.
    pub fn record_rows(&mut self, rows: &[UnreadableRow], recorder: &StatusRecorder, log: &Logger) {
        recorder.record_unreadable_rows(rows.len());
        let before = std::mem::take(&mut self.rows);
        for UnreadableRow { container, reason } in rows {
            if self.rows.insert(container.clone()) && !before.contains(container) {
                let container = container.as_ref().map_or("unknown", ContainerId::short);
                warn!(log, "unreadable row in a docker listing; inspecting the container instead";
                    "container" => container, "error" => reason);
            }
        }
    }
}
