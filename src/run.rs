//! A whole life of the daemon: from its settings to its clean stop.

use std::future::Future;
use std::time::Duration;

use highhock_actors::backoff::Backoff;
use highhock_actors::{Core, CoreSettings, Stopped};
use slog::{Logger, o, warn};

use crate::admin::Desk;
use crate::docker::Docker;
use crate::etcd::EtcdStore;
use crate::host::Published;
use crate::settings::{OnExit, Settings};
use crate::settle::{
    NotSettled, ask_engine, ask_etcd, check_files, docker, lease_family, rules, store,
};
use crate::suspend;
use crate::tls::UnusableFile;

/// What a clean stop may take at most (SPEC 7).
const GRACE: Duration = Duration::from_secs(5);
/// Between two questions to a Docker or an etcd that was away from the start.
const RETRY: Backoff =
    Backoff { first: Duration::from_millis(250), factor: 2, cap: Duration::from_secs(1) };

/// Why the daemon ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// It can't work out what to publish, or where.
    #[error(transparent)]
    NotSettled(#[from] NotSettled),
    /// The settings name a file for TLS with Docker that can't be used.
    #[error(transparent)]
    Docker(#[from] UnusableFile),
    /// An actor fails again and again.
    #[error("{0} failed five times in a minute: see the log for its panics, and report them")]
    Exhausted(&'static str),
}

/// Runs until `shutdown` is ready, then stops in order. Docker and etcd may be away
/// at the start, and at any time after.
///
/// # Errors
/// Where it can't go on. That Docker or etcd doesn't answer is no such reason.
pub async fn run(
    settings: Settings,
    published: Published,
    desk: &Desk,
    log: Logger,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Ended> {
    tokio::pin!(shutdown);
    let docker = docker(&settings.docker, &log.new(o!("edge" => "docker")))?;
    let etcd_log = log.new(o!("edge" => "etcd"));
    check_files(&settings, &etcd_log).map_err(NotSettled::from)?;
    notice!(log, "highhock starts"; "version" => env!("CARGO_PKG_VERSION"),
        "publishes" => published.to_string(),
        "docker" => docker.endpoint().to_string(), "etcd" => settings.etcd.members());
    desk.no_core_runs("it waits for Docker and etcd to answer");
    let settled = tokio::select! {
        settled = async {
            tokio::try_join!(
                at_last("docker", &log, async || ask_engine(&docker, &published).await),
                at_last("etcd", &log, async || ask_etcd(&settings, &etcd_log).await),
            )
        } => settled?,
        () = &mut shutdown => {
            notice!(log, "stopped before docker and etcd had answered");
            return Ok(());
        }
    };
    let (engine, etcd) = settled;
    let rules = rules(&settings, &published, &engine, &etcd)?;
    notice!(log, "docker answers"; "engine" => &engine.version,
        "api" => engine.api.to_string(), "hostname" => &rules.hostname);
    notice!(log, "etcd is spoken to"; "api" => etcd.detected.api.as_str(),
        "because" => &etcd.detected.why, "domain" => etcd.domain.to_string(),
        "domain_from" => etcd.domain_from);
    if etcd.detected.both {
        notice!(log, "etcd answers both of its APIs, and CoreDNS reads v3 only; \
            set etcd.api to choose"; "chosen" => etcd.detected.api.as_str());
    }

    let store = store(&settings, &etcd, &etcd_log).map_err(NotSettled::from)?;
    let core = CoreSettings {
        family: lease_family(&rules, &engine),
        rules,
        ttl: settings.etcd.ttl,
        poll: settings.docker.poll,
        look: settings.docker.poll_container,
        events: settings.docker.events,
        drain: settings.discovery.drain,
    };
    let core = Core::start(core, docker, store, &log);
    desk.core_runs(core.observer());
    let woken = |slept: Duration| {
        notice!(log, "the machine slept; docker and etcd are looked at now";
            "seconds" => slept.as_secs());
        core.check_now();
    };
    tokio::select! {
        () = &mut shutdown => {}
        actor = core.exhausted() => return Err(Ended::Exhausted(actor)),
        () = suspend::notice_sleep(suspend::slept_so_far, woken) => {}
    }
    stop(core, settings.etcd.on_exit, desk, &log).await;
    Ok(())
}

async fn stop(core: Core<Docker, EtcdStore>, on_exit: OnExit, desk: &Desk, log: &Logger) {
    desk.no_core_runs("it is stopping");
    notice!(log, "stopping"; "records" => on_exit.as_str());
    match core.stop(on_exit == OnExit::Remove, GRACE).await {
        Stopped::Clean => notice!(log, "stopped"),
        Stopped::Unfinished(unwritten) => {
            warn!(log, "stopped before all was written; what is in etcd ends with its TTL";
                "unwritten" => unwritten.map_or("unknown".into(), |count| count.to_string()));
        }
    }
}

/// Asks until there is an answer, or a reason to give up.
async fn at_last<T>(
    whom: &'static str,
    log: &Logger,
    ask: impl AsyncFn() -> Result<T, NotSettled>,
) -> Result<T, NotSettled> {
    let mut failures = 0;
    loop {
        let error = match ask().await {
            Err(error) if error.passes() => error,
            settled => return settled,
        };
        failures += 1;
        if failures == 1 {
            warn!(log, "{} does not answer; waiting for it", whom; "error" => %error);
        } else {
            info!(log, "{} still does not answer", whom; "error" => %error, "tries" => failures);
        }
        tokio::time::sleep(RETRY.wait(failures, fastrand::f64())).await;
    }
}
