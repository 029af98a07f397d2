//! [`RunTracker`]: recognises a restart by the start time in the inspections.

use tokio::time::Instant;

use crate::model::container::EngineTime;
use crate::model::event_history::RunChange;

/// Follows the start time of a container over its inspections.
///
/// A start time that differs from the previous one is a restart. Start times are never ordered,
/// because the engine's clock can be set back.
#[derive(Debug, Default)]
pub struct RunTracker {
    last: Option<InspectedRun>,
    change: Option<RunChange>,
}

#[derive(Clone, Copy, Debug)]
struct InspectedRun {
    started: EngineTime,
    /// The request time of the last inspection that returned this start time.
    requested_at: Instant,
}

impl RunTracker {
    /// Records the start time in an inspection that was requested at `requested_at`.
    pub fn record(&mut self, started: EngineTime, requested_at: Instant) {
        let before = self.last.replace(InspectedRun { started, requested_at });
        if let Some(before) = before.filter(|before| before.started != started) {
            self.change = Some(RunChange { after: before.requested_at, before: requested_at });
        }
    }

    /// Returns the last restart, or `None` if the inspections showed one run only.
    pub fn last_change(&self) -> Option<RunChange> {
        self.change
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn recognises_restart_by_another_start_time() {
        let times: Vec<Instant> =
            (0..4).map(|second| Instant::now() + Duration::from_secs(second)).collect();
        let mut runs = RunTracker::default();
        runs.record(EngineTime(9), times[0]);
        runs.record(EngineTime(9), times[1]);
        assert_eq!(runs.last_change(), None);
        // The clock was set back.
        runs.record(EngineTime(5), times[2]);
        let change = Some(RunChange { after: times[1], before: times[2] });
        assert_eq!(runs.last_change(), change);
        runs.record(EngineTime(5), times[3]);
        assert_eq!(runs.last_change(), change);
    }
}
