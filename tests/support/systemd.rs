//! A service manager of a test that speaks systemd's notify protocol.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::{TempDir, eventually, unique};

/// The limit of operations without a deadline of their own, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A message: `KEY=value` lines, and the time of its arrival.
#[derive(Clone, Debug)]
pub struct Notification {
    pub at: Instant,
    pub lines: Vec<String>,
}

impl Notification {
    /// Returns the value of a key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    }
}

/// A notify socket that listens until it is dropped.
pub struct NotifySocket {
    /// The value of `NOTIFY_SOCKET`.
    pub socket: String,
    notifications: Arc<Mutex<Vec<Notification>>>,
    _dir: Option<TempDir>,
}

impl NotifySocket {
    /// A socket with a path.
    pub fn start() -> Self {
        let dir = TempDir::new();
        let path = dir.0.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self::listen(socket, path.to_str().unwrap().to_owned(), Some(dir))
    }

    /// A socket with an abstract name.
    pub fn start_abstract() -> Self {
        let name = format!("highhock-test-{}-{}", std::process::id(), unique());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self::listen(UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}"), None)
    }

    fn listen(socket: UnixDatagram, name: String, dir: Option<TempDir>) -> Self {
        let notifications = Arc::new(Mutex::new(Vec::new()));
        let received = Arc::downgrade(&notifications);
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        std::thread::spawn(move || {
            let mut space = [0; 4096];
            while let Some(received) = received.upgrade() {
                let Ok(length) = socket.recv(&mut space) else { continue };
                let text = String::from_utf8(space[..length].to_vec()).unwrap();
                let lines = text.lines().map(str::to_owned).collect();
                received.lock().unwrap().push(Notification { at: Instant::now(), lines });
            }
        });
        Self { socket: name, notifications, _dir: dir }
    }

    /// All messages so far.
    pub fn notifications(&self) -> Vec<Notification> {
        self.notifications.lock().unwrap().clone()
    }

    /// The values of a key in all messages.
    pub fn values(&self, key: &str) -> Vec<String> {
        self.notifications()
            .iter()
            .filter_map(|notification| notification.value(key))
            .map(str::to_owned)
            .collect()
    }

    /// Waits for the message number `count` with this key; the first is 1.
    #[track_caller]
    pub fn wait_for(&self, key: &str, count: usize) -> Notification {
        eventually(&format!("{key}, {count} times"), TIMEOUT, || {
            self.notifications()
                .into_iter()
                .filter(|notification| notification.value(key).is_some())
                .nth(count - 1)
        })
    }

    /// Waits until the latest status contains this text.
    #[track_caller]
    pub fn wait_for_status(&self, part: &str) {
        eventually(&format!("a status with {part}"), TIMEOUT, || {
            self.values("STATUS").last()?.contains(part).then_some(())
        });
    }
}
