//! Reads the configuration again, and says what becomes of it.

use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use slog::{error, o, warn};
use tokio::sync::oneshot;

use super::Life;
use crate::admin::check_token;
use crate::resolve::{check_files, docker};
use crate::settings::{Changes, Loaded, Settings, Stage, apply};

/// What is to be done after the configuration was read again.
pub(super) enum Reread {
    /// Nothing: what was read can't be used.
    Refused,
    /// Nothing more.
    Nothing,
    /// Another core is to follow, with these settings.
    Core(Rc<Settings>, Changes),
}

/// How long it may take to read it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads the configuration, apart from the actors: a file can keep its reader waiting for
/// ever (a pipe, a mount that hangs), and the records must be kept alive meanwhile.
///
/// # Errors
/// Its faults, for an operator.
pub(super) async fn load(life: &Life) -> Result<Loaded, Vec<String>> {
    let (done, loaded) = oneshot::channel();
    let reread = Arc::clone(&life.reread);
    // A thread of its own: the runtime would wait for one of its own when it ends.
    thread::spawn(move || {
        let _ = done.send(reread());
    });
    match tokio::time::timeout(PATIENCE, loaded).await {
        Ok(Ok(Ok(loaded))) => Ok(loaded),
        Ok(Ok(Err(faults))) => Err(faults.0.iter().map(ToString::to_string).collect()),
        Ok(Err(_)) => Err(vec!["reading it failed; see the log for the panic".to_owned()]),
        Err(_) => Err(vec![format!(
            "reading it takes longer than {PATIENCE:?}; is its file a pipe, or on a mount that \
             hangs?"
        )]),
    }
}

/// Takes what was read. What concerns no record is applied at once.
pub(super) fn reread(life: &Life, loaded: Result<Loaded, Vec<String>>, stage: Stage) -> Reread {
    let (settings, changes) = match loaded.and_then(|loaded| check(life, loaded, stage)) {
        Ok(read) => read,
        Err(faults) => {
            for fault in &faults {
                error!(life.log, "the configuration has a fault"; "fault" => fault);
            }
            error!(life.log, "the configuration is not applied; the old one stays in force");
            life.reload_refused(faults);
            return Reread::Refused;
        }
    };
    if !changes.kept.is_empty() {
        warn!(life.log, "changes that take a restart of highhock are left out until then";
            "keys" => changes.kept.join(", "));
    }
    // At once, as what follows is logged, too.
    life.dial.set(settings.log);
    if changes.concern_records() {
        return Reread::Core(Rc::new(settings), changes);
    }
    life.put_in_force(Rc::new(settings));
    tell_applied(life, &changes);
    Reread::Nothing
}

/// Tells that what was read last is in force.
pub(super) fn tell_applied(life: &Life, changes: &Changes) {
    life.reload_applied();
    match changes.applied.is_empty() {
        true => notice!(life.log, "the configuration was read again; there is nothing to apply"),
        false => notice!(life.log, "the configuration was read again and is applied";
            "changed" => changes.applied.join(", ")),
    }
}

/// What would be in force, checked in full.
///
/// # Errors
/// Its faults, where it can't be.
fn check(life: &Life, loaded: Loaded, stage: Stage) -> Result<(Settings, Changes), Vec<String>> {
    let Loaded { settings, warnings, effective } = loaded;
    for warning in &warnings {
        warn!(life.log, "{}", warning);
    }
    let (settings, changes) = apply(&life.settings(), settings, stage);
    // Said by those who use them later, and not here.
    let quiet = slog::Logger::root(slog::Discard, o!());
    let docker = docker(&settings.docker, &quiet).err().map(|error| error.to_string());
    let etcd = check_files(&settings, &quiet).err().map(|error| error.to_string());
    let token = check_token(&settings.admin, &quiet).err().map(|error| error.to_string());
    let faults: Vec<_> = docker.into_iter().chain(etcd).chain(token).collect();
    if faults.is_empty() {
        life.has_read(&changes, effective);
        return Ok((settings, changes));
    }
    Err(faults)
}
