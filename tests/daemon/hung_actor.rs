//! A whole daemon, in this process, of which an actor hangs: its supervisor hears no sign
//! of life any more. Built with the core's hooks for tests, and so by its name only:
//! tests/run sees to it.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use highhock::daemon::{Beginning, Life, run, systemd};
use highhock::host::{HostSource, Published};
use highhock::logging;
use highhock::settings::{Environment, Sources, load};
use support::etcd::Etcd;
use support::systemd::Supervisor;
use support::{TempDir, docker, eventually_async};

const LIMIT: Duration = Duration::from_millis(500);

/// What would ask for the life to end or to read its configuration again.
fn never<T>() -> impl Future<Output = T> {
    std::future::pending()
}

fn life(etcd: &Etcd, supervisor: &Supervisor, dir: &TempDir) -> Rc<Life> {
    let file: PathBuf = dir.0.join("highhock.json");
    let (engine, etcd) = (docker::endpoint(), etcd.url());
    let text = format!(
        r#"{{"docker": {{"url": "{engine}"}}, "etcd": {{"url": "{etcd}"}},
             "admin": {{"listen": ""}}, "publicHost": "10.77.66.0"}}"#
    );
    std::fs::write(&file, text).unwrap();
    let sources = Sources::new(Some(file), Vec::new(), Environment::default());
    let loaded = load(&sources).unwrap();
    let host = loaded.settings.discovery.host.clone().unwrap();
    let published = Published { host, source: HostSource::Setting, host6: None };
    let (log, dial) = logging::logger(loaded.settings.log);
    let limit = LIMIT.as_micros().to_string();
    let told = [("NOTIFY_SOCKET", &*supervisor.socket), ("WATCHDOG_USEC", &*limit)];
    let environment: Environment = told.into_iter().collect();
    Rc::new(Life::new(Beginning {
        settings: loaded.settings,
        effective: loaded.effective,
        published,
        supervisor: systemd::Supervisor::of(&environment, log.clone()),
        log,
        dial,
        reread: Arc::new(move || load(&sources)),
    }))
}

#[actix_rt::test]
async fn its_supervisor_hears_no_sign_of_life() {
    let etcd = Etcd::start();
    for actor in ["DockerPoller", "Registry", "EtcdInserter"] {
        let (supervisor, dir) = (Supervisor::start(), TempDir::new());
        let life = life(&etcd, &supervisor, &dir);
        let pings = || supervisor.values("WATCHDOG").len();
        let looking = async {
            let running = async || life.core().filter(|_| pings() > 3);
            let core = eventually_async("pings", Duration::from_secs(20), running).await;
            core.hang(actor);
            // One may be on its way.
            tokio::time::sleep(LIMIT).await;
            let before = pings();
            tokio::time::sleep(LIMIT * 4).await;
            assert_eq!(pings(), before, "{actor}");
        };
        tokio::select! {
            ended = run(&life, futures_util::stream::pending(), never()) => panic!("{ended:?}"),
            () = looking => {}
        }
    }
}
