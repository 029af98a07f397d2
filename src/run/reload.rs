//! Reads the configuration again, and says what becomes of it.

use std::rc::Rc;

use slog::{error, o, warn};

use super::Life;
use crate::admin::check_token;
use crate::settings::{Changes, Loaded, Settings, Stage, apply};
use crate::settle::{check_files, docker};

/// What is to be done after the configuration was read again.
pub(super) enum Reread {
    /// Nothing: what was read can't be used.
    Refused,
    /// Nothing more.
    Nothing,
    /// Another core is to follow, with these settings.
    Core(Rc<Settings>, Changes),
}

/// Reads the configuration again. What concerns no record is applied at once.
pub(super) fn reread(life: &Life, stage: Stage) -> Reread {
    let Some((settings, changes)) = read(life, stage) else {
        error!(life.log, "the configuration is not applied; the old one stays in force");
        life.count_reload(false);
        return Reread::Refused;
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
    life.count_reload(true);
    match changes.applied.is_empty() {
        true => notice!(life.log, "the configuration was read again; there is nothing to apply"),
        false => notice!(life.log, "the configuration was read again and is applied";
            "changed" => changes.applied.join(", ")),
    }
}

/// What would be in force, checked in full; where it can't be, that was told.
fn read(life: &Life, stage: Stage) -> Option<(Settings, Changes)> {
    let Loaded { settings, warnings, effective } = match (life.reread)() {
        Ok(loaded) => loaded,
        Err(faults) => {
            for fault in faults.0 {
                error!(life.log, "the configuration has a fault"; "fault" => %fault);
            }
            return None;
        }
    };
    for warning in &warnings {
        warn!(life.log, "{}", warning);
    }
    let (settings, changes) = apply(&life.settings(), settings, stage);
    // Said by those who use them later, and not here.
    let quiet = slog::Logger::root(slog::Discard, o!());
    let docker = docker(&settings.docker, &quiet).err().map(|error| error.to_string());
    let etcd = check_files(&settings, &quiet).err().map(|error| error.to_string());
    let token = check_token(&settings.admin, &quiet).err().map(|error| error.to_string());
    if docker.is_none() && etcd.is_none() && token.is_none() {
        life.has_read(&changes, effective);
        return Some((settings, changes));
    }
    for fault in docker.into_iter().chain(etcd).chain(token) {
        error!(life.log, "the configuration has a fault"; "fault" => fault);
    }
    None
}
