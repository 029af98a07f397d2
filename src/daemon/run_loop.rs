//! [`RunLoop`]: owns the settings and the cores, and reacts to reloads, answers of the servers and
//! the stop signal.

use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt, Stream, StreamExt};
use slog::{Logger, error, warn};

use super::address_monitor::{AddressMonitor, CurrentAddress};
use super::config::{ConfigLoader, EffectiveSettings};
use super::cores::Cores;
use super::error::RunError;
use super::reload::{self, ReloadAction};
use super::standalone::Standalone;
use super::startup::{ProbeResults, ResolvedConfig, Resolver, ServerChanges};
use super::state::{PortMetrics, PublishedState, StatePublisher};
use super::systemd::SystemdNotifier;
use crate::admin::ActiveConfig;
use crate::host::PublicAddress;
use crate::logging::LogControl;
use crate::metrics::Reloads;
use crate::settings::{ConfigDiff, Loaded, Stage, StoreKind};

/// A configuration that waits for Docker or etcd before it becomes active.
struct PendingReload<'a> {
    settings: EffectiveSettings,
    resolved: LocalBoxFuture<'a, Result<ResolvedConfig, RunError>>,
    /// The changed keys of a reload. `None` at the start, and after a change of the address.
    diff: Option<ConfigDiff>,
}

/// The run loop of the daemon.
///
/// It is the only owner of this state. Other parts of the daemon read the copy that
/// [`RunLoop::publish`] makes.
pub(super) struct RunLoop<'a> {
    pub log: Logger,
    pub log_control: LogControl,
    pub notifier: &'a SystemdNotifier,
    pub load_config: Arc<ConfigLoader>,
    pub resolver: &'a Resolver,
    pub monitor: &'a AddressMonitor,
    /// The address of the current core.
    pub published_address: PublicAddress,
    /// The difference between the published address and the address of its interface.
    pub address_warning: Option<String>,
    pub standalone: Option<Standalone>,
    pub publisher: StatePublisher,
    /// The settings that are active now.
    pub active: EffectiveSettings,
    pub metrics: PortMetrics,
    pub reloads: Reloads,
    /// The errors of the last reload. Empty if it was successful.
    pub reload_errors: Vec<String>,
}

impl<'a> RunLoop<'a> {
    /// Runs until `shutdown` is ready, and then stops all cores.
    ///
    /// # Errors
    /// Returns an error if the first settings cannot be resolved, or if an actor used up its
    /// restarts.
    pub async fn run(
        mut self,
        reloads: impl Stream<Item = ()>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), RunError> {
        tokio::pin!(reloads, shutdown);
        let mut cores = Cores::new(self.log.clone(), self.metrics.clone());
        let mut pending = Some(self.resolve(self.active.clone(), None, None));
        loop {
            self.publish(&cores);
            let zone = self.standalone.as_ref().map(Standalone::zone);
            tokio::select! {
                () = &mut shutdown => break,
                actor = cores.exhausted() => return Err(RunError::Exhausted(actor)),
                Some(()) = reloads.next() => {
                    self.notifier.reloading();
                    let loaded = tokio::select! {
                        loaded = reload::load(&self.load_config) => loaded,
                        () = &mut shutdown => break,
                    };
                    self.reload(loaded, &cores, &mut pending);
                    self.publish(&cores);
                    self.notifier.ready();
                }
                resolved = self.next_ready(&mut pending, &cores) => {
                    let Some(pending) = pending.take() else { continue };
                    match resolved {
                        Ok(resolved) => self.start_core(resolved, pending, &mut cores).await,
                        Err(error) if cores.probe_results().is_none() => return Err(error),
                        Err(error) => self.keep_core(&error, &pending),
                    }
                }
                current = self.monitor.changed(&self.published_address) => {
                    self.follow_address(current, &cores, &mut pending);
                }
                () = cores.withdraw_old() => cores.forget_drained(),
                () = cores.complete_zone(zone) => {}
            }
        }
        self.notifier.stopping();
        cores.stop(&self.active.settings).await;
        Ok(())
    }

    /// Replaces the current core by one with a resolved configuration.
    async fn start_core(
        &mut self,
        resolved: ResolvedConfig,
        PendingReload { settings, diff, .. }: PendingReload<'_>,
        cores: &mut Cores,
    ) {
        // The configuration waits for no server any more.
        self.publish(cores);
        cores.hand_over(resolved).await;
        self.activate(settings);
        self.published_address = self.resolver.public_address.borrow().clone();
        if let Some(diff) = &diff {
            self.finish_reload(diff, cores);
        }
    }

    /// Keeps the current core, because a configuration cannot be resolved.
    fn keep_core(&mut self, error: &RunError, pending: &PendingReload<'_>) {
        error!(self.log, "cannot apply the configuration; the old one stays active";
            "error" => %error);
        self.resolver.public_address.replace(self.published_address.clone());
        if pending.diff.is_some() {
            self.reject_reload(vec![error.to_string()]);
        } else {
            self.address_warning = Some(error.to_string());
        }
    }

    /// Waits until the pending configuration is resolved, and publishes the servers that it waits
    /// for. Never returns if no configuration is pending. Safe to cancel and to call again.
    async fn next_ready(
        &self,
        pending: &mut Option<PendingReload<'_>>,
        cores: &Cores,
    ) -> Result<ResolvedConfig, RunError> {
        let Some(pending) = pending else { return std::future::pending().await };
        let mut unavailable = self.resolver.unavailable.subscribe();
        loop {
            tokio::select! {
                resolved = &mut pending.resolved => return resolved,
                Ok(()) = unavailable.changed() => self.publish(cores),
            }
        }
    }

    /// Applies a configuration that was read again. It replaces a configuration that is pending.
    fn reload(
        &mut self,
        loaded: Result<Loaded, Vec<String>>,
        cores: &Cores,
        pending: &mut Option<PendingReload<'a>>,
    ) {
        let probe_results = cores.probe_results();
        let stage = if probe_results.is_some() { Stage::Running } else { Stage::Waiting };
        let action = reload::evaluate(&self.active, loaded, stage, &self.log);
        match (action, probe_results) {
            (ReloadAction::Rejected(errors), _) => self.reject_reload(errors),
            (ReloadAction::RestartCore(settings, diff), Some(probe_results)) => {
                // The log settings take effect at once, so that they cover the attempt, too.
                self.log_control.set(settings.settings.log);
                *pending = Some(self.resolve(settings, Some(diff), Some(probe_results)));
            }
            (ReloadAction::Apply(settings, diff), Some(_)) => {
                self.activate(settings);
                self.resolver.clear_unavailable();
                self.finish_reload(&diff, cores);
                // A change of the address may be pending.
                let active = self.active.clone();
                *pending =
                    self.has_moved().then(|| self.resolve(active, None, cores.probe_results()));
            }
            (
                ReloadAction::Apply(settings, diff) | ReloadAction::RestartCore(settings, diff),
                None,
            ) => {
                self.activate(settings);
                self.finish_reload(&diff, cores);
                *pending = Some(self.resolve(self.active.clone(), None, None));
            }
        }
    }

    /// Reports a change of the published address on its interface. In standalone mode the records
    /// follow the interface. In etcd mode the address is a part of the identity of this publisher.
    fn follow_address(
        &mut self,
        current: CurrentAddress,
        cores: &Cores,
        pending: &mut Option<PendingReload<'a>>,
    ) {
        let published = &self.published_address;
        self.address_warning = match current {
            Err(reason) => {
                warn!(self.log, "interface lost its address; keeping the records";
                    "published" => published.to_string(), "error" => &reason);
                Some(format!("published: {published}, now: none; {reason}"))
            }
            Ok(current) if current == *published => {
                notice!(self.log, "interface has the published address again";
                    "published" => published.to_string());
                self.move_to(current, cores, pending);
                None
            }
            Ok(current) if self.active.settings.store == StoreKind::Etcd => {
                warn!(self.log, "address changed; restart highhock to publish the new one";
                    "published" => published.to_string(), "current" => current.to_string());
                Some(format!(
                    "published: {published}, now: {current}; restart highhock to publish it"
                ))
            }
            Ok(current) => {
                notice!(self.log, "address changed; publishing the new one";
                    "from" => published.to_string(), "to" => current.to_string());
                self.move_to(current, cores, pending);
                None
            }
        };
    }

    /// Returns `true` if the next core publishes another address than the current one.
    fn has_moved(&self) -> bool {
        *self.resolver.public_address.borrow() != self.published_address
    }

    /// Sets the address of the next core. A pending configuration is resolved again. Without a
    /// difference to the current core, nothing is pending.
    fn move_to(
        &self,
        address: PublicAddress,
        cores: &Cores,
        pending: &mut Option<PendingReload<'a>>,
    ) {
        if self.resolver.public_address.replace(address.clone()) == address {
            return;
        }
        let (settings, diff) = match pending.take() {
            Some(pending) => (pending.settings, pending.diff),
            None => (self.active.clone(), None),
        };
        let probe_results = cores.probe_results();
        if diff.is_some() || probe_results.is_none() || self.has_moved() {
            *pending = Some(self.resolve(settings, diff, probe_results));
        } else {
            self.resolver.clear_unavailable();
        }
    }

    /// Starts to resolve settings for the next core. `probe_results` are those of the current
    /// core, and `diff` are the changed keys of a reload.
    fn resolve(
        &self,
        settings: EffectiveSettings,
        diff: Option<ConfigDiff>,
        probe_results: Option<&ProbeResults>,
    ) -> PendingReload<'a> {
        let next = Rc::clone(&settings.settings);
        let resolved = match probe_results.cloned() {
            None => self.resolver.resolve(next).boxed_local(),
            Some(results) => {
                let changes = ServerChanges {
                    etcd: diff.as_ref().is_some_and(ConfigDiff::affects_etcd),
                    address: self.has_moved(),
                };
                self.resolver.resolve_reload(next, results, changes).boxed_local()
            }
        };
        PendingReload { settings, resolved, diff }
    }

    fn activate(&mut self, settings: EffectiveSettings) {
        self.log_control.set(settings.settings.log);
        self.active = settings;
    }

    fn finish_reload(&mut self, diff: &ConfigDiff, cores: &Cores) {
        self.reloads.ok += 1;
        self.reloads.last_success = Some(SystemTime::now());
        self.reload_errors.clear();
        // Readers see the new configuration before the log reports it.
        self.publish(cores);
        reload::log_applied(diff, &self.log);
    }

    fn reject_reload(&mut self, errors: Vec<String>) {
        self.reloads.refused += 1;
        self.reload_errors = errors;
    }

    /// Publishes the state of the daemon for all readers.
    fn publish(&self, cores: &Cores) {
        let core = cores.current();
        let unavailable = self.resolver.unavailable.borrow().clone();
        // Before the first core runs, the readiness shows these servers.
        let is_reload_waiting = core.is_some() && !unavailable.is_empty();
        let waiting_for = is_reload_waiting.then(|| {
            let servers = unavailable.iter().map(|(target, reason)| format!("{target}: {reason}"));
            servers.collect::<Vec<_>>().join("; ")
        });
        let active_config = ActiveConfig {
            admin: self.active.settings.admin.clone(),
            effective: self.active.keys.clone(),
            reload_errors: self.reload_errors.clone(),
            reload_waiting_for: waiting_for,
            address_warning: self.address_warning.clone(),
            dns: self.standalone.as_ref().map(Standalone::report),
        };
        let state = PublishedState {
            store: self.active.settings.store,
            core,
            unavailable,
            reloads: self.reloads,
            dns_stats: self.standalone.as_ref().map(Standalone::stats),
        };
        self.publisher.publish(state, active_config);
    }
}
