//! The signals that the daemon heeds.

use std::io;

use slog::{Logger, warn};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals, caught from now on.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Catches SIGTERM, SIGINT and SIGHUP.
    ///
    /// # Errors
    /// Where the system does not allow it.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT. SIGHUP, which would end the process, is answered
    /// with a warning: this version reads its configuration at the start only.
    pub async fn asked_to_stop(mut self, log: Logger) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => warn!(log,
                    "SIGHUP: reading the configuration again is not available in this version; \
                     restart to apply changes, no record is lost by it"),
            }
        }
    }
}
