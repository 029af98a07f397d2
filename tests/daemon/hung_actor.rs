//! A whole daemon in this process with a hung actor: the service manager receives no more
//! watchdog messages. The suite needs the feature `test-hooks`, so `tests/run` starts it by name.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use highhock::daemon::{Daemon, DaemonConfig, systemd};
use highhock::host::{AddressSource, PublicAddress, interfaces};
use highhock::logging;
use highhock::settings::{Environment, Sources, load};
use support::etcd::Etcd;
use support::systemd::NotifySocket;
use support::{TempDir, docker, eventually_async};

const WATCHDOG_INTERVAL: Duration = Duration::from_millis(500);

/// A signal stream for stop and reload that never yields.
fn never<T>() -> impl Future<Output = T> {
    std::future::pending()
}

fn daemon(etcd: &Etcd, supervisor: &NotifySocket, dir: &TempDir) -> Daemon {
    let file: PathBuf = dir.0.join("highhock.json");
    let (engine, etcd) = (docker::endpoint(), etcd.url());
    let text = format!(
        r#"{{"docker": {{"url": "{engine}"}}, "etcd": {{"url": "{etcd}"}},
             "admin": {{"listen": ""}}, "publicHost": "10.77.66.0"}}"#
    );
    std::fs::write(&file, text).unwrap();
    let sources = Sources::new(Some(file.into()), Vec::new(), Environment::default());
    let loaded = load(&sources).unwrap();
    let host = loaded.settings.discovery.host.clone().unwrap();
    let public_address = PublicAddress { host, source: AddressSource::Setting, host6: None };
    let (log, log_control) = logging::logger(loaded.settings.log);
    let limit = WATCHDOG_INTERVAL.as_micros().to_string();
    let variables = [("NOTIFY_SOCKET", &*supervisor.socket), ("WATCHDOG_USEC", &*limit)];
    let environment: Environment = variables.into_iter().collect();
    Daemon::new(DaemonConfig {
        settings: loaded.settings,
        effective: loaded.effective,
        public_address,
        interfaces: Box::new(interfaces),
        notifier: systemd::SystemdNotifier::from_environment(&environment, log.clone()),
        log,
        log_control,
        load_config: Arc::new(move || load(&sources)),
    })
}

#[actix_rt::test]
async fn hung_actor_stops_watchdog_notifications() {
    let etcd = Etcd::start();
    for actor in ["DockerPoller", "Registry", "EtcdInserter"] {
        let (supervisor, dir) = (NotifySocket::start(), TempDir::new());
        let daemon = daemon(&etcd, &supervisor, &dir);
        let state = daemon.state();
        let pings = || supervisor.values("WATCHDOG").len();
        let checks = async {
            let running = async || state.core().filter(|_| pings() > 3);
            let core = eventually_async("pings", Duration::from_secs(20), running).await;
            core.inject_hang(actor);
            // One message may be in flight.
            tokio::time::sleep(WATCHDOG_INTERVAL).await;
            let before = pings();
            tokio::time::sleep(WATCHDOG_INTERVAL * 4).await;
            assert_eq!(pings(), before, "{actor}");
        };
        tokio::select! {
            ended = daemon.run(futures_util::stream::pending(), never()) => panic!("{ended:?}"),
            () = checks => {}
        }
    }
}
