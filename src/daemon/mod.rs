//! A whole life of the daemon: from its settings to its clean stop.

mod cores;
mod reload;
pub mod signals;
mod standalone;
mod startup;
mod state;
mod status_line;
pub mod suspend;
pub mod systemd;
pub(crate) mod systemd_status;

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, Stream, StreamExt};
use slog::{Logger, error, o};

use crate::admin::{TokenError, check_token};
use crate::dns::DnsError;
use crate::resolve::{ResolveError, check_files, docker_client};
use crate::settings::{ConfigDiff, Loaded, Stage, StoreKind};
use crate::tls::TlsFileError;
use crate::version;
use cores::Cores;
use reload::ReloadAction;
use startup::{ResolvedConfig, resolve, resolve_reload};
pub use state::{ConfigLoader, DaemonConfig, DaemonCore, DaemonState};

/// A supervisor is told that the daemon has started when its actors run, or after this,
/// where Docker or etcd keeps it waiting.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the daemon ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It can't work out what to publish, or where.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The settings name a file for TLS with Docker that can't be used.
    #[error(transparent)]
    Docker(#[from] TlsFileError),
    /// DNS can't be answered as the settings say.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// The settings name a file for the token of `admin.listen` that can't be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// An actor fails again and again.
    #[error("{0} failed five times in a minute: see the log for its panics, and report them")]
    Exhausted(&'static str),
}

/// Runs until `shutdown` is ready, then stops in order. Docker and etcd may be away
/// at the start, and at any time after. A standalone daemon answers DNS from the start on, but
/// says of no name that it is not there before Docker has told of all containers. With each of
/// `reloads` the configuration is read again, and what can be applied is.
///
/// # Errors
/// Where it can't go on. That Docker or etcd doesn't answer is no such reason.
pub async fn run(
    daemon: &Rc<DaemonState>,
    reloads: impl Stream<Item = ()>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let log = &daemon.log;
    let settings = daemon.settings();
    check(daemon)?;
    let etcd = match settings.store {
        StoreKind::Etcd => settings.etcd.members(),
        StoreKind::Standalone => "none: standalone".into(),
    };
    notice!(log, "highhock starts"; "version" => version::with_commit(),
        "publishes" => daemon.public_address.to_string(),
        "docker" => docker_client(&settings.docker, log)?.endpoint().to_string(), "etcd" => etcd);
    daemon.start_dns()?;
    let on_resume = |slept: Duration| {
        notice!(log, "the machine slept; looking at {} now", settings.store.dependencies();
            "seconds" => slept.as_secs());
        if let Some(core) = daemon.core() {
            core.check_now();
        }
    };
    let report_to_systemd = async {
        let _ = tokio::time::timeout(READY_TIMEOUT, daemon.core_started()).await;
        daemon.notifier.ready();
        systemd_status::report(&daemon.notifier, async || daemon.status_line().await).await;
    };
    tokio::select! {
        result = run_loop(daemon, reloads, shutdown) => result,
        () = suspend::watch_suspends(suspend::total_suspended, on_resume) => Ok(()),
        () = report_to_systemd => Ok(()),
    }
}

/// Whether all files that the settings name can be used: an operator should hear of that
/// at once.
fn check(daemon: &DaemonState) -> Result<(), RunError> {
    let quiet = Logger::root(slog::Discard, o!());
    docker_client(&daemon.settings().docker, &quiet)?;
    check_token(&daemon.settings().admin, &quiet)?;
    Ok(check_files(&daemon.settings(), &quiet).map_err(ResolveError::from)?)
}

/// Settings on their way to be in force.
struct PendingReload<'a> {
    resolved: LocalBoxFuture<'a, Result<ResolvedConfig, RunError>>,
    /// What they change; `None` for the first ones.
    diff: Option<ConfigDiff>,
}

async fn run_loop(
    daemon: &DaemonState,
    reloads: impl Stream<Item = ()>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    tokio::pin!(reloads, shutdown);
    let mut cores = Cores::new(daemon);
    let first = resolve(daemon, daemon.settings()).boxed_local();
    let mut pending = Some(PendingReload { resolved: first, diff: None });
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            actor = cores.exhausted() => return Err(RunError::Exhausted(actor)),
            Some(()) = reloads.next() => {
                daemon.notifier.reloading();
                let loaded = tokio::select! {
                    loaded = reload::load(daemon) => loaded,
                    () = &mut shutdown => break,
                };
                reload(daemon, loaded, &cores, &mut pending);
                daemon.notifier.ready();
            }
            resolved = next_ready(&mut pending) => {
                let diff = pending.take().and_then(|pending| pending.diff);
                match resolved {
                    Ok(resolved) => {
                        cores.hand_over(resolved).await;
                        diff.iter().for_each(|diff| reload::log_applied(daemon, diff));
                    }
                    Err(error) if cores.probe_results().is_none() => return Err(error),
                    Err(error) => {
                        error!(daemon.log, "the configuration can't be applied; the old one stays \
                            in force"; "error" => %error);
                        daemon.reload_rejected(vec![error.to_string()]);
                    }
                }
            }
            () = cores.withdraw_old() => cores.forget_drained(),
            () = cores.complete_dns() => {}
        }
    }
    daemon.notifier.stopping();
    cores.stop(&daemon.settings()).await;
    Ok(())
}

async fn next_ready(pending: &mut Option<PendingReload<'_>>) -> Result<ResolvedConfig, RunError> {
    match pending {
        Some(pending) => pending.resolved.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Takes the configuration that was read again. What was on its way before is overtaken by
/// what follows from that.
fn reload<'a>(
    daemon: &'a DaemonState,
    loaded: Result<Loaded, Vec<String>>,
    cores: &Cores<'_>,
    pending: &mut Option<PendingReload<'a>>,
) {
    let stage = if cores.probe_results().is_some() { Stage::Running } else { Stage::Waiting };
    match (reload::apply_reload(daemon, loaded, stage), cores.probe_results()) {
        (ReloadAction::Rejected, _) => {}
        // Nothing else than what runs, or is waited for, is wanted any more.
        (ReloadAction::None, Some(_)) => {
            daemon.clear_waiting();
            *pending = None;
        }
        // What is on its way would bring the settings of before with it.
        (ReloadAction::None, None) => {
            let resolved = resolve(daemon, daemon.settings()).boxed_local();
            *pending = Some(PendingReload { resolved, diff: None });
        }
        (ReloadAction::RestartCore(settings, diff), Some(probe_results)) => {
            let etcd_changed = diff.affects_etcd();
            let resolved =
                resolve_reload(daemon, settings, probe_results.clone(), etcd_changed).boxed_local();
            *pending = Some(PendingReload { resolved, diff: Some(diff) });
        }
        (ReloadAction::RestartCore(settings, diff), None) => {
            daemon.activate(settings);
            reload::log_applied(daemon, &diff);
            let resolved = resolve(daemon, daemon.settings()).boxed_local();
            *pending = Some(PendingReload { resolved, diff: None });
        }
    }
}
