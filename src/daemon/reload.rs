//! Reads the configuration again, and says what becomes of it.

use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use slog::{error, o, warn};
use tokio::sync::oneshot;

use super::DaemonState;
use crate::admin::check_token;
use crate::resolve::{check_files, docker_client};
use crate::settings::{ConfigDiff, Loaded, Settings, Stage, diff_settings};

/// What is to be done after the configuration was read again.
pub(super) enum ReloadAction {
    /// Nothing: what was read can't be used.
    Rejected,
    /// Nothing more.
    None,
    /// Another core is to follow, with these settings.
    RestartCore(Rc<Settings>, ConfigDiff),
}

/// How long it may take to read it.
const LOAD_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads the configuration, apart from the actors: a file can keep its reader waiting for
/// ever (a pipe, a mount that hangs), and the records must be kept alive meanwhile.
///
/// # Errors
/// Its faults, for an operator.
pub(super) async fn load(daemon: &DaemonState) -> Result<Loaded, Vec<String>> {
    let (done, loaded) = oneshot::channel();
    let load_config = Arc::clone(&daemon.load_config);
    // A thread of its own: the runtime would wait for one of its own when it ends.
    thread::spawn(move || {
        let _ = done.send(load_config());
    });
    match tokio::time::timeout(LOAD_TIMEOUT, loaded).await {
        Ok(Ok(Ok(loaded))) => Ok(loaded),
        Ok(Ok(Err(errors))) => Err(errors.0.iter().map(ToString::to_string).collect()),
        Ok(Err(_)) => Err(vec!["reading it failed; see the log for the panic".to_owned()]),
        Err(_) => Err(vec![format!(
            "reading it takes longer than {LOAD_TIMEOUT:?}; is its file a pipe, or on a mount that \
             hangs?"
        )]),
    }
}

/// Takes what was read. What concerns no record is applied at once.
pub(super) fn apply_reload(
    daemon: &DaemonState,
    loaded: Result<Loaded, Vec<String>>,
    stage: Stage,
) -> ReloadAction {
    let (settings, diff) = match loaded.and_then(|loaded| check(daemon, loaded, stage)) {
        Ok(read) => read,
        Err(errors) => {
            for error in &errors {
                error!(daemon.log, "the configuration has a fault"; "fault" => error);
            }
            error!(daemon.log, "the configuration is not applied; the old one stays in force");
            daemon.reload_rejected(errors);
            return ReloadAction::Rejected;
        }
    };
    if !diff.needs_restart.is_empty() {
        warn!(daemon.log, "changes that take a restart of highhock are left out until then";
            "keys" => diff.needs_restart.join(", "));
    }
    // At once, as what follows is logged, too.
    daemon.log_control.set(settings.log);
    if diff.affects_records() {
        return ReloadAction::RestartCore(Rc::new(settings), diff);
    }
    daemon.activate(Rc::new(settings));
    log_applied(daemon, &diff);
    ReloadAction::None
}

/// Tells that what was read last is in force.
pub(super) fn log_applied(daemon: &DaemonState, diff: &ConfigDiff) {
    daemon.reload_applied();
    if diff.applied.is_empty() {
        notice!(daemon.log, "the configuration was read again; there is nothing to apply")
    } else {
        notice!(daemon.log, "the configuration was read again and is applied";
    "changed" => diff.applied.join(", "))
    }
}

/// What would be in force, checked in full.
///
/// # Errors
/// Its faults, where it can't be.
fn check(
    daemon: &DaemonState,
    loaded: Loaded,
    stage: Stage,
) -> Result<(Settings, ConfigDiff), Vec<String>> {
    let Loaded { settings, warnings, effective } = loaded;
    for warning in &warnings {
        warn!(daemon.log, "{}", warning);
    }
    let (settings, diff) = diff_settings(&daemon.settings(), settings, stage);
    // Said by those who use them later, and not here.
    let quiet = slog::Logger::root(slog::Discard, o!());
    let docker = docker_client(&settings.docker, &quiet).err().map(|error| error.to_string());
    let etcd = check_files(&settings, &quiet).err().map(|error| error.to_string());
    let token = check_token(&settings.admin, &quiet).err().map(|error| error.to_string());
    let errors: Vec<_> = docker.into_iter().chain(etcd).chain(token).collect();
    if errors.is_empty() {
        daemon.stage_config(&diff, effective);
        return Ok((settings, diff));
    }
    Err(errors)
}
