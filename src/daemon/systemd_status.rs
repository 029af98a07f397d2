//! Tells the supervisor how it goes, for as long as it goes.

use std::time::Duration;

use super::systemd::SystemdNotifier;

/// How often it is looked how it goes.
const REPORT_INTERVAL: Duration = Duration::from_secs(2);

/// Tells the supervisor again and again that the daemon lives, and how it goes when that
/// has changed. `status_line` gives that in a line, and only where the daemon does live: one that
/// never answers makes no sign of life. Never returns.
pub async fn report(notifier: &SystemdNotifier, status_line: impl AsyncFn() -> String) {
    if !notifier.is_active() {
        return std::future::pending().await;
    }
    let watchdog_interval = notifier.watchdog().map_or(REPORT_INTERVAL, |limit| limit / 2);
    let mut ticks = tokio::time::interval(REPORT_INTERVAL.min(watchdog_interval));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut reported = String::new();
    loop {
        ticks.tick().await;
        let line = status_line().await;
        if notifier.watchdog().is_some() {
            notifier.alive();
        }
        if line != reported {
            notifier.status(&line);
            reported = line;
        }
    }
}
