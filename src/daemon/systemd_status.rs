//! Tells the supervisor how it goes, for as long as it goes.

use std::time::Duration;

use super::systemd::Supervisor;

/// How often it is looked how it goes.
const EVERY: Duration = Duration::from_secs(2);

/// Tells the supervisor again and again that the daemon lives, and how it goes when that
/// has changed. `look` gives that in a line, and only where the daemon does live: one that
/// never answers makes no sign of life. Never returns.
pub async fn report(supervisor: &Supervisor, look: impl AsyncFn() -> String) {
    if !supervisor.is_there() {
        return std::future::pending().await;
    }
    let half = supervisor.watchdog().map_or(EVERY, |limit| limit / 2);
    let mut ticks = tokio::time::interval(EVERY.min(half));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = String::new();
    loop {
        ticks.tick().await;
        let line = look().await;
        if supervisor.watchdog().is_some() {
            supervisor.alive();
        }
        if line != told {
            supervisor.status(&line);
            told = line;
        }
    }
}
