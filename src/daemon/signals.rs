//! The signals that control the daemon.

use std::io;

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Caught signals: SIGHUP starts a reload, SIGTERM and SIGINT stop the daemon.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Catches SIGTERM, SIGINT and SIGHUP.
    ///
    /// # Errors
    /// Returns an error if the system does not allow it.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns a stream with an item for each SIGHUP, and a future that waits for SIGTERM or
    /// SIGINT.
    pub fn split(self) -> (impl Stream<Item = ()>, impl Future<Output = ()>) {
        let Self { mut terminate, mut interrupt, hangup } = self;
        let hangups = unfold(hangup, async |mut hangup| {
            hangup.recv().await;
            Some(((), hangup))
        });
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        (hangups, shutdown)
    }
}
