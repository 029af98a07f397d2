//! A whole daemon in this process whose actors a test can disturb.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use highhock::admin::{AdminBridge, serve};
use highhock::daemon::systemd::SystemdNotifier;
use highhock::daemon::{Daemon, DaemonConfig, DaemonCore};
use highhock::host::{AddressSource, PublicAddress, interfaces};
use highhock::logging::{self, RecentLogs};
use highhock::settings::{Environment, Sources, load};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::fixture::Fixture;
use crate::support::admin::Admin;
use crate::support::daemon::ADDRESS;
use crate::support::{TempDir, eventually_async};

/// The limit until the actors of a daemon run.
const TIMEOUT: Duration = Duration::from_secs(20);

type Hook = Box<dyn FnOnce(&DaemonCore) + Send>;

/// A daemon in a thread of this process. Dropping it stops the daemon.
pub struct InProcessDaemon {
    pub admin: Admin,
    hooks: Option<UnboundedSender<Hook>>,
    thread: Option<JoinHandle<()>>,
    _dir: TempDir,
    /// Mailboxes are counted per process, so only one daemon runs at a time.
    _alone: MutexGuard<'static, ()>,
}

impl InProcessDaemon {
    pub fn start(fixture: &Fixture, etcd_url: &str) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (admin, dir) = (Admin::on_loopback(), TempDir::new());
        let (listen, docker) = (admin.listen(), fixture.docker_url());
        let text = format!(
            r#"{{"docker": {{"url": "{docker}", "poll": 1, "pollContainer": 1}},
                 "etcd": {{"url": "{etcd_url}", "api": "v3"}},
                 "admin": {{"listen": "{listen}"}}, "publicHost": "{ADDRESS}"}}"#
        );
        let file = dir.0.join("highhock.json");
        std::fs::write(&file, text).unwrap();
        let sources = Sources::new(Some(file.into()), Vec::new(), Environment::default());
        let (hooks, hook_receiver) = unbounded_channel();
        let thread = thread::spawn(move || run_daemon(sources, hook_receiver));
        Self { admin, hooks: Some(hooks), thread: Some(thread), _dir: dir, _alone: alone }
    }

    /// Calls a function with the running core.
    pub fn with_core(&self, hook: impl FnOnce(&DaemonCore) + Send + 'static) {
        self.hooks.as_ref().unwrap().send(Box::new(hook)).expect("a running daemon");
    }
}

impl Drop for InProcessDaemon {
    fn drop(&mut self) {
        self.hooks.take();
        // The test itself notices a panic of the daemon.
        let _ = self.thread.take().unwrap().join();
    }
}

/// Runs until no more hooks can be sent.
fn run_daemon(sources: Sources, mut hook_receiver: UnboundedReceiver<Hook>) {
    actix_rt::System::new().block_on(async {
        let loaded = load(&sources).unwrap();
        let host = loaded.settings.discovery.host.clone().unwrap();
        let (log, log_control) = logging::logger(loaded.settings.log);
        let recent_logs = RecentLogs::default();
        let log = recent_logs.tee(&log);
        let daemon = Daemon::new(DaemonConfig {
            settings: loaded.settings,
            effective: loaded.effective,
            public_address: PublicAddress { host, source: AddressSource::Setting, host6: None },
            interfaces: Box::new(interfaces),
            notifier: SystemdNotifier::from_environment(&Environment::default(), log.clone()),
            log: log.clone(),
            log_control,
            load_config: Arc::new(move || load(&sources)),
        });
        let state = daemon.state();
        let bridge = AdminBridge::open(state.clone(), state.active_config(), recent_logs);
        let serving = actix_rt::spawn(serve(bridge.handle(), log));
        let run_hooks = async {
            while let Some(hook) = hook_receiver.recv().await {
                let core = eventually_async("a core", TIMEOUT, async || state.core()).await;
                hook(&core);
            }
        };
        daemon.run(futures_util::stream::pending(), run_hooks).await.unwrap();
        serving.abort();
    });
}
