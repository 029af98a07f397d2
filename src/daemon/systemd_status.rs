//! Reports the status line and the watchdog to systemd at regular intervals.

use std::time::Duration;

use super::systemd::SystemdNotifier;

/// The longest interval between two reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(2);

/// Sends a watchdog notification at each interval, and the status line when it has changed. Never
/// returns.
///
/// `status_line` returns only while the actors respond. If an actor hangs, the notifications end,
/// and systemd restarts the daemon.
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
