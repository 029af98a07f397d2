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
const PATIENCE: Duration = Duration::from_secs(1);

/// The process's supervisor, where it wants to be told.
pub struct Supervisor {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    log: Logger,
}

impl Supervisor {
    /// The one that the environment names: `NOTIFY_SOCKET`, a path or (with `@`) an abstract
    /// name; `WATCHDOG_USEC` and `WATCHDOG_PID`, after how long without a sign of life it
    /// ends this process. What can't be used is warned of, and nobody is told.
    pub fn of(environment: &Environment, log: Logger) -> Self {
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
    pub fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// The daemon has started, or has done with a reload.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// The configuration is about to be read again; [`Self::ready`] follows.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// The daemon is about to end.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// How it goes, in a line.
    pub fn status(&self, line: &str) {
        // A second line would be another message.
        self.tell(&format!("STATUS={}", line.replace('\n', " ")));
    }

    /// The daemon lives.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, message: &str) {
        let Some((socket, supervisor)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), supervisor) {
            info!(self.log, "the supervisor was not told"; "error" => %error);
        }
    }
}

fn open(name: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let supervisor = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None if name.starts_with('/') => SocketAddr::from_pathname(name)?,
        None => {
            let what = "takes the path of a Unix socket, or @ and an abstract name";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok((socket, supervisor))
}

fn watchdog(environment: &Environment) -> Option<Duration> {
    let number = |name| environment.get(name).and_then(|text| text.parse::<u64>().ok());
    let is_mine = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|limit| is_mine && *limit > 0).map(Duration::from_micros)
}
