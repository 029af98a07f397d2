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

use crate::admin::{UnusableToken, check_token};
use crate::dns::DnsError;
use crate::resolve::{NotSettled, check_files, docker};
use crate::settings::{Changes, Loaded, Stage, StoreKind};
use crate::tls::UnusableFile;
use crate::version;
use cores::Cores;
use reload::Reread;
use startup::{Settled, settle, settle_again};
pub use state::{Beginning, DaemonCore, Life, Reader};

/// A supervisor is told that the daemon has started when its actors run, or after this,
/// where Docker or etcd keeps it waiting.
const READY_AFTER: Duration = Duration::from_secs(1);

/// Why the daemon ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// It can't work out what to publish, or where.
    #[error(transparent)]
    NotSettled(#[from] NotSettled),
    /// The settings name a file for TLS with Docker that can't be used.
    #[error(transparent)]
    Docker(#[from] UnusableFile),
    /// DNS can't be answered as the settings say.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// The settings name a file for the token of `admin.listen` that can't be used.
    #[error(transparent)]
    Token(#[from] UnusableToken),
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
    life: &Rc<Life>,
    reloads: impl Stream<Item = ()>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Ended> {
    let log = &life.log;
    let settings = life.settings();
    check(life)?;
    let etcd = match settings.store {
        StoreKind::Etcd => settings.etcd.members(),
        StoreKind::Standalone => "none: standalone".into(),
    };
    notice!(log, "highhock starts"; "version" => version::with_commit(),
        "publishes" => life.published.to_string(),
        "docker" => docker(&settings.docker, log)?.endpoint().to_string(), "etcd" => etcd);
    life.answer_dns()?;
    let woken = |slept: Duration| {
        notice!(log, "the machine slept; looking at {} now", settings.store.whom_to_ask();
            "seconds" => slept.as_secs());
        if let Some(core) = life.core() {
            core.check_now();
        }
    };
    let tell_supervisor = async {
        let _ = tokio::time::timeout(READY_AFTER, life.runs_at_last()).await;
        life.supervisor.ready();
        systemd_status::report(&life.supervisor, async || life.status().await).await;
    };
    tokio::select! {
        ended = live(life, reloads, shutdown) => ended,
        () = suspend::notice_sleep(suspend::slept_so_far, woken) => Ok(()),
        () = tell_supervisor => Ok(()),
    }
}

/// Whether all files that the settings name can be used: an operator should hear of that
/// at once.
fn check(life: &Life) -> Result<(), Ended> {
    let quiet = Logger::root(slog::Discard, o!());
    docker(&life.settings().docker, &quiet)?;
    check_token(&life.settings().admin, &quiet)?;
    Ok(check_files(&life.settings(), &quiet).map_err(NotSettled::from)?)
}

/// Settings on their way to be in force.
struct Coming<'a> {
    settled: LocalBoxFuture<'a, Result<Settled, Ended>>,
    /// What they change; `None` for the first ones.
    changes: Option<Changes>,
}

async fn live(
    life: &Life,
    reloads: impl Stream<Item = ()>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Ended> {
    tokio::pin!(reloads, shutdown);
    let mut cores = Cores::new(life);
    let first = settle(life, life.settings()).boxed_local();
    let mut coming = Some(Coming { settled: first, changes: None });
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            actor = cores.exhausted() => return Err(Ended::Exhausted(actor)),
            Some(()) = reloads.next() => {
                life.supervisor.reloading();
                let loaded = tokio::select! {
                    loaded = reload::load(life) => loaded,
                    () = &mut shutdown => break,
                };
                reload(life, loaded, &cores, &mut coming);
                life.supervisor.ready();
            }
            settled = arrived(&mut coming) => {
                let changes = coming.take().and_then(|coming| coming.changes);
                match settled {
                    Ok(settled) => {
                        cores.succeed(settled).await;
                        changes.iter().for_each(|changes| reload::tell_applied(life, changes));
                    }
                    Err(error) if cores.told().is_none() => return Err(error),
                    Err(error) => {
                        error!(life.log, "the configuration can't be applied; the old one stays \
                            in force"; "error" => %error);
                        life.reload_refused(vec![error.to_string()]);
                    }
                }
            }
            () = cores.see_off() => cores.forget_left(),
            () = cores.complete_dns() => {}
        }
    }
    life.supervisor.stopping();
    cores.stop(&life.settings()).await;
    Ok(())
}

async fn arrived(coming: &mut Option<Coming<'_>>) -> Result<Settled, Ended> {
    match coming {
        Some(coming) => coming.settled.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Takes the configuration that was read again. What was on its way before is overtaken by
/// what follows from that.
fn reload<'a>(
    life: &'a Life,
    loaded: Result<Loaded, Vec<String>>,
    cores: &Cores<'_>,
    coming: &mut Option<Coming<'a>>,
) {
    let stage = if cores.told().is_some() { Stage::Running } else { Stage::Waiting };
    match (reload::reread(life, loaded, stage), cores.told()) {
        (Reread::Refused, _) => {}
        // Nothing else than what runs, or is waited for, is wanted any more.
        (Reread::Nothing, Some(_)) => {
            life.waits_for_nobody();
            *coming = None;
        }
        // What is on its way would bring the settings of before with it.
        (Reread::Nothing, None) => {
            let settled = settle(life, life.settings()).boxed_local();
            *coming = Some(Coming { settled, changes: None });
        }
        (Reread::Core(settings, changes), Some(told)) => {
            let etcd_is_new = changes.concern_etcd();
            let settled = settle_again(life, settings, told.clone(), etcd_is_new).boxed_local();
            *coming = Some(Coming { settled, changes: Some(changes) });
        }
        (Reread::Core(settings, changes), None) => {
            life.put_in_force(settings);
            reload::tell_applied(life, &changes);
            let settled = settle(life, life.settings()).boxed_local();
            *coming = Some(Coming { settled, changes: None });
        }
    }
}
