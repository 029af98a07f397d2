//! The inputs of the daemon, and its effective settings.

use std::rc::Rc;
use std::sync::Arc;

use slog::{Logger, o};

use super::error::RunError;
use super::systemd::SystemdNotifier;
use crate::admin::check_token;
use crate::host::{InterfaceLister, PublicAddress};
use crate::logging::LogControl;
use crate::resolve::{ResolveError, check_files, docker_client};
use crate::settings::{EffectiveKey, Loaded, Settings, SettingsErrors};

/// Loads the configuration. The call blocks while the file is read.
pub type ConfigLoader = dyn Fn() -> Result<Loaded, SettingsErrors> + Send + Sync;

/// The inputs of a daemon.
pub struct DaemonConfig {
    /// The settings at the start.
    pub settings: Settings,
    /// Every key of these settings with its value and layer, for the admin interface.
    pub effective: Vec<EffectiveKey>,
    /// The address to publish. In standalone mode an address of an interface follows the interface.
    pub public_address: PublicAddress,
    /// Lists the interfaces while the daemon runs.
    pub interfaces: InterfaceLister,
    /// The logger of the daemon and all its parts.
    pub log: Logger,
    /// Changes level and format of `log` at a reload.
    pub log_control: LogControl,
    /// Reports the state of the daemon to systemd.
    pub notifier: SystemdNotifier,
    /// Loads the configuration again at a reload.
    pub load_config: Arc<ConfigLoader>,
}

/// Validated settings, and the same settings as the admin interface shows them.
#[derive(Clone)]
pub(super) struct EffectiveSettings {
    pub settings: Rc<Settings>,
    pub keys: Vec<EffectiveKey>,
}

/// Returns an error for each file in the settings that is unusable, so that these errors surface
/// at start-up and at a reload, and not at the first connection.
pub(super) fn file_errors(settings: &Settings) -> Vec<RunError> {
    // The same files are read again, and then logged, by the parts that use them.
    let quiet = Logger::root(slog::Discard, o!());
    let docker = docker_client(&settings.docker, &quiet).err().map(RunError::from);
    let token = check_token(&settings.admin, &quiet).err().map(RunError::from);
    let etcd = check_files(settings, &quiet).err().map(ResolveError::from).map(RunError::from);
    docker.into_iter().chain(token).chain(etcd).collect()
}
