//! A whole daemon in this process, whose actors a test can make fail.

use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use highhock::admin::{Desk, serve};
use highhock::daemon::systemd::Supervisor;
use highhock::daemon::{Beginning, DaemonCore, Life, run};
use highhock::host::{HostSource, Published};
use highhock::logging::{self, LastLines};
use highhock::settings::{Environment, Sources, load};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::fixture::Stage;
use crate::support::admin::Admin;
use crate::support::daemon::ADDRESS;
use crate::support::{TempDir, eventually_async};

/// How long a daemon may take until its actors run.
const PATIENCE: Duration = Duration::from_secs(20);

type Hook = Box<dyn FnOnce(&DaemonCore) + Send>;

/// A daemon in a thread of this process. It is stopped when this is dropped.
pub struct Within {
    pub admin: Admin,
    hooks: Option<UnboundedSender<Hook>>,
    thread: Option<JoinHandle<()>>,
    _dir: TempDir,
    /// Mailboxes are counted for the process, so there is one at a time.
    _alone: MutexGuard<'static, ()>,
}

impl Within {
    pub fn start(stage: &Stage, etcd_url: &str) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (admin, dir) = (Admin::on_loopback(), TempDir::new());
        let (listen, docker) = (admin.listen(), stage.docker_url());
        let text = format!(
            r#"{{"docker": {{"url": "{docker}", "poll": 1, "pollContainer": 1}},
                 "etcd": {{"url": "{etcd_url}", "api": "v3"}},
                 "admin": {{"listen": "{listen}"}}, "publicHost": "{ADDRESS}"}}"#
        );
        let file = dir.0.join("highhock.json");
        std::fs::write(&file, text).unwrap();
        let sources = Sources::new(Some(file), Vec::new(), Environment::default());
        let (hooks, asked) = unbounded_channel();
        let thread = thread::spawn(move || live(sources, asked));
        Self { admin, hooks: Some(hooks), thread: Some(thread), _dir: dir, _alone: alone }
    }

    /// Has something done to the running core.
    pub fn with_core(&self, hook: impl FnOnce(&DaemonCore) + Send + 'static) {
        self.hooks.as_ref().unwrap().send(Box::new(hook)).expect("a running daemon");
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        self.hooks.take();
        // That it panicked is seen by what the test waits for.
        let _ = self.thread.take().unwrap().join();
    }
}

/// Until nobody can ask for anything any more.
fn live(sources: Sources, mut asked: UnboundedReceiver<Hook>) {
    actix_rt::System::new().block_on(async {
        let loaded = load(&sources).unwrap();
        let host = loaded.settings.discovery.host.clone().unwrap();
        let (log, dial) = logging::logger(loaded.settings.log);
        let lines = LastLines::default();
        let log = lines.kept_of(&log);
        let life = Rc::new(Life::new(Beginning {
            settings: loaded.settings,
            effective: loaded.effective,
            published: Published { host, source: HostSource::Setting, host6: None },
            supervisor: Supervisor::of(&Environment::default(), log.clone()),
            log: log.clone(),
            dial,
            reread: Arc::new(move || load(&sources)),
        }));
        let desk = Desk::open(life.clone(), life.in_force(), lines);
        let serving = actix_rt::spawn(serve(desk.window(), log));
        let doing = async {
            while let Some(hook) = asked.recv().await {
                let core = eventually_async("a core", PATIENCE, async || life.core()).await;
                hook(&core);
            }
        };
        run(&life, futures_util::stream::pending(), doing).await.unwrap();
        serving.abort();
    });
}
