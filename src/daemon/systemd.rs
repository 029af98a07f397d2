//! What systemd is told, and asks for (sd_notify(3)): that the daemon is ready, how it
//! goes, that it lives.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use slog::{Logger, warn};

use crate::settings::Environment;

/// A supervisor that doesn't read must not hold up the daemon.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// The process's supervisor, where it wants to be told.
pub struct SystemdNotifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    log: Logger,
}

impl SystemdNotifier {
    /// The one that the environment names: `NOTIFY_SOCKET`, a path or (with `@`) an abstract
    /// name; `WATCHDOG_USEC` and `WATCHDOG_PID`, after how long without a sign of life it
    /// ends this process. What can't be used is warned of, and nobody is told.
    pub fn from_environment(environment: &Environment, log: Logger) -> Self {
        let socket = environment.get("NOTIFY_SOCKET").and_then(|name| match open(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                warn!(log, "the supervisor can't be told how it goes";
                    "NOTIFY_SOCKET" => name, "error" => %error);
                None
            }
        });
        Self { watchdog: watchdog(environment).filter(|_| socket.is_some()), socket, log }
    }

    /// After how long without a sign of life it ends this process.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Whether there is one that reads.
    pub fn is_active(&self) -> bool {
        self.socket.is_some()
    }

    /// The daemon has started, or has done with a reload.
    pub fn ready(&self) {
        self.notify("READY=1");
    }

    /// The configuration is about to be read again; [`Self::ready`] follows.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.notify(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// The daemon is about to end.
    pub fn stopping(&self) {
        self.notify("STOPPING=1\nSTATUS=stopping");
    }

    /// How it goes, in a line.
    pub fn status(&self, line: &str) {
        // A second line would be another message.
        self.notify(&format!("STATUS={}", line.replace('\n', " ")));
    }

    /// The daemon lives.
    pub fn alive(&self) {
        self.notify("WATCHDOG=1");
    }

    fn notify(&self, message: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            info!(self.log, "the supervisor was not told"; "error" => %error);
        }
    }
}

fn open(name: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None if name.starts_with('/') => SocketAddr::from_pathname(name)?,
        None => {
            let reason = "takes the path of a Unix socket, or @ and an abstract name";
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
