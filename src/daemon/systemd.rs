//! Notifications to systemd (sd_notify(3)): readiness, status line and watchdog.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use slog::{Logger, warn};

use crate::settings::Environment;

/// The time limit of a notification, because a service manager that does not read must not block
/// the daemon.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends notifications to the service manager, if the environment names its socket.
///
/// The service manager is systemd, or another one with the same protocol.
pub struct SystemdNotifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    log: Logger,
}

impl SystemdNotifier {
    /// Reads the environment. `NOTIFY_SOCKET` is the path of a socket, or an abstract name after
    /// `@`. `WATCHDOG_USEC` is the watchdog timeout, and `WATCHDOG_PID` the process that it
    /// covers.
    ///
    /// Logs a warning if the socket is unusable. No notification is sent then.
    pub fn from_environment(environment: &Environment, log: Logger) -> Self {
        let socket = environment.get("NOTIFY_SOCKET").and_then(|name| match open(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                warn!(log, "systemd notification failed";
                    "NOTIFY_SOCKET" => name, "error" => %error);
                None
            }
        });
        Self { watchdog: watchdog(environment).filter(|_| socket.is_some()), socket, log }
    }

    /// Returns the time without a watchdog notification after which the service manager kills this
    /// process.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Returns `true` if notifications are sent.
    pub fn is_active(&self) -> bool {
        self.socket.is_some()
    }

    /// Notifies of a finished start or reload.
    pub fn ready(&self) {
        self.notify("READY=1");
    }

    /// Notifies of the start of a reload. [`Self::ready`] follows.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.notify(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// Notifies of the start of a clean stop.
    pub fn stopping(&self) {
        self.notify("STOPPING=1\nSTATUS=stopping");
    }

    /// Sends the status line.
    pub fn status(&self, line: &str) {
        // A line break would start another variable.
        self.notify(&format!("STATUS={}", line.replace('\n', " ")));
    }

    /// Sends the watchdog notification.
    pub fn alive(&self) {
        self.notify("WATCHDOG=1");
    }

    fn notify(&self, message: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            info!(self.log, "systemd notification failed"; "error" => %error);
        }
    }
}

fn open(name: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None if name.starts_with('/') => SocketAddr::from_pathname(name)?,
        None => {
            let reason = "must be the path of a Unix socket, or @ and an abstract name";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    Ok((socket, address))
}

fn watchdog(environment: &Environment) -> Option<Duration> {
    let number = |name| environment.get(name).and_then(|text| text.parse::<u64>().ok());
    let is_this_process =
        number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|limit| is_this_process && *limit > 0).map(Duration::from_micros)
}
