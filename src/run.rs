//! A whole life of the daemon: from its settings to its clean stop.

use std::future::Future;
use std::time::Duration;

use highhock_actors::backoff::Backoff;
use highhock_actors::{Core, CoreSettings, RecordKey, Stopped};
use slog::{Logger, o, warn};

use crate::docker::Docker;
use crate::etcd::{Cluster, EtcdV2, EtcdV2Options, UnusableCluster};
use crate::host::Published;
use crate::settings::{OnExit, Settings};
use crate::settle::{NotSettled, Settled, docker, settle};
use crate::suspend;
use crate::tls::UnusableFile;

/// What a clean stop may take at most (SPEC 7).
const GRACE: Duration = Duration::from_secs(5);
/// Between two questions to an engine that was away from the start.
const RETRY: Backoff =
    Backoff { first: Duration::from_millis(500), factor: 2, cap: Duration::from_secs(5) };

/// Why the daemon ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// It can't work out what to publish.
    #[error(transparent)]
    NotSettled(NotSettled),
    /// The settings name an etcd that can't be spoken to as they say.
    #[error(transparent)]
    Etcd(#[from] UnusableCluster),
    /// The settings name a file for TLS with Docker that can't be used.
    #[error(transparent)]
    Docker(#[from] UnusableFile),
    /// An actor fails again and again.
    #[error("{0} failed five times in a minute: see the log for its panics, and report them")]
    Exhausted(&'static str),
}

/// The client of the etcd that the settings name. Nothing is asked yet.
///
/// # Errors
/// Where a file for TLS, or with the password, can't be used.
pub fn etcd(settings: &Settings, log: &Logger) -> Result<EtcdV2, UnusableCluster> {
    let (prefix, domain) = (&settings.skydns.prefix, &settings.skydns.domain);
    let root = RecordKey::of_domain(prefix, domain);
    let cluster = Cluster {
        tls: settings.etcd.tls.clone(),
        credentials: settings.etcd.credentials.clone(),
        ..Cluster::new(settings.etcd.urls.clone())
    };
    EtcdV2::new(EtcdV2Options { cluster, root, prefix: prefix.clone() }, log.clone())
}

/// Runs until `shutdown` is ready, then stops in order. Docker and etcd may be away
/// at the start, and at any time after.
///
/// # Errors
/// Where it can't go on. That Docker or etcd doesn't answer is no such reason.
pub async fn run(
    settings: Settings,
    published: Published,
    log: Logger,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Ended> {
    tokio::pin!(shutdown);
    let docker = docker(&settings.docker, &log.new(o!("edge" => "docker")))?;
    let etcd = etcd(&settings, &log.new(o!("edge" => "etcd")))?;
    notice!(log, "highhock starts"; "version" => env!("CARGO_PKG_VERSION"),
        "publishes" => published.host.to_string(), "as_told_by" => published.source.to_string(),
        "docker" => docker.endpoint().to_string(), "etcd" => settings.etcd.members(),
        "etcd_api" => "v2", "domain" => settings.skydns.domain.to_string());
    let settled = tokio::select! {
        settled = settle_at_last(&docker, &settings, &published, &log) => settled?,
        () = &mut shutdown => {
            notice!(log, "stopped before docker ever answered");
            return Ok(());
        }
    };
    notice!(log, "docker answers"; "engine" => &settled.engine.version,
        "api" => settled.engine.api.to_string(), "hostname" => &settled.rules.hostname);

    let core = CoreSettings {
        rules: settled.rules,
        ttl: settings.etcd.ttl,
        poll: settings.docker.poll,
        look: settings.docker.poll_container,
    };
    let core = Core::start(core, docker, etcd, &log);
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
    stop(core, settings.etcd.on_exit, &log).await;
    Ok(())
}

async fn stop(core: Core<Docker, EtcdV2>, on_exit: OnExit, log: &Logger) {
    notice!(log, "stopping"; "records" => on_exit.as_str());
    match core.stop(on_exit == OnExit::Remove, GRACE).await {
        Stopped::Clean => notice!(log, "stopped"),
        Stopped::Unfinished(unwritten) => {
            warn!(log, "stopped before all was written; what is in etcd ends with its TTL";
                "unwritten" => unwritten.map_or("unknown".into(), |count| count.to_string()));
        }
    }
}

/// Asks until the engine answers.
async fn settle_at_last(
    docker: &Docker,
    settings: &Settings,
    published: &Published,
    log: &Logger,
) -> Result<Settled, Ended> {
    let mut failures = 0;
    loop {
        let error = match settle(docker, settings, published).await {
            Ok(settled) => return Ok(settled),
            Err(NotSettled::Docker(error)) => error,
            Err(error) => return Err(Ended::NotSettled(error)),
        };
        failures += 1;
        if failures == 1 {
            warn!(log, "docker does not answer; waiting for it";
                "error" => %error, "kind" => error.kind.as_str());
        } else {
            info!(log, "docker still does not answer"; "error" => %error, "tries" => failures);
        }
        tokio::time::sleep(RETRY.wait(failures, fastrand::f64())).await;
    }
}
