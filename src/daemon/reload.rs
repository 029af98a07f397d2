//! Reads the configuration again, and decides how the daemon applies it.

use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use slog::{Logger, error, warn};
use tokio::sync::oneshot;

use super::config::{ConfigLoader, EffectiveSettings, file_errors};
use crate::settings::{ConfigDiff, Loaded, Stage, diff_settings};

/// The result of a reload. The daemon carries it out.
pub(super) enum ReloadAction {
    /// The new configuration is invalid, for these reasons.
    Rejected(Vec<String>),
    /// The running core is not affected.
    Apply(EffectiveSettings, ConfigDiff),
    /// The new configuration needs another core.
    RestartCore(EffectiveSettings, ConfigDiff),
}

/// The longest time for reading the configuration.
const LOAD_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads the configuration in a thread of its own.
///
/// A pipe, or a mount that hangs, can block the reader of a file for ever. The records must be
/// kept alive meanwhile.
///
/// # Errors
/// Returns all errors of the configuration, for the operator.
pub(super) async fn load(load_config: &Arc<ConfigLoader>) -> Result<Loaded, Vec<String>> {
    let (done, loaded) = oneshot::channel();
    let load_config = Arc::clone(load_config);
    // The runtime would wait for a thread of its own pool when it ends.
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

/// Compares the new configuration with the active settings, and logs errors and the keys that
/// need a restart of the daemon.
pub(super) fn evaluate(
    active: &EffectiveSettings,
    loaded: Result<Loaded, Vec<String>>,
    stage: Stage,
    log: &Logger,
) -> ReloadAction {
    let (settings, diff) = match loaded.and_then(|loaded| check(active, loaded, stage, log)) {
        Ok(checked) => checked,
        Err(errors) => {
            for error in &errors {
                error!(log, "configuration error"; "error" => error);
            }
            error!(log, "configuration rejected; the old one stays active");
            return ReloadAction::Rejected(errors);
        }
    };
    if !diff.needs_restart.is_empty() {
        warn!(log, "changed keys need a restart; keeping their old values";
            "keys" => diff.needs_restart.join(", "));
    }
    if diff.affects_records() {
        ReloadAction::RestartCore(settings, diff)
    } else {
        ReloadAction::Apply(settings, diff)
    }
}

/// Logs the keys that a reload applied.
pub(super) fn log_applied(diff: &ConfigDiff, log: &Logger) {
    if diff.applied.is_empty() {
        notice!(log, "configuration reloaded; nothing to apply")
    } else {
        notice!(log, "configuration reloaded"; "changed" => diff.applied.join(", "))
    }
}

/// Returns the effective settings of a new configuration, with all files that they name checked.
///
/// # Errors
/// Returns all errors of the configuration.
fn check(
    active: &EffectiveSettings,
    loaded: Loaded,
    stage: Stage,
    log: &Logger,
) -> Result<(EffectiveSettings, ConfigDiff), Vec<String>> {
    let Loaded { settings, warnings, effective } = loaded;
    for warning in &warnings {
        warn!(log, "{}", warning);
    }
    let (settings, diff) = diff_settings(&active.settings, settings, stage);
    let errors = file_errors(&settings);
    if !errors.is_empty() {
        return Err(errors.iter().map(ToString::to_string).collect());
    }
    let keys = diff.effective_keys(&active.keys, effective);
    Ok((EffectiveSettings { settings: Rc::new(settings), keys }, diff))
}
