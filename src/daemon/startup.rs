//! From settings to all that a core takes: what only Docker and etcd can tell is asked of
//! them, for as long as it takes.

use std::rc::Rc;
use std::time::Duration;

use highhock_actors::model::publish_config::PublishConfig;
use highhock_actors::runtime::backoff::Backoff;
use highhock_actors::{CoreSettings, RecordStore};
use slog::{Logger, o, warn};

use super::{DaemonState, RunError};
use crate::docker::{DockerClient, EngineInfo};
use crate::etcd::{Api, ApiChoice};
use crate::record_store::Store;
use crate::resolve::{
    ResolveError, ResolvedStore, docker_client, etcd_store, lease_namespace, probe_engine,
    publish_config, resolve_store,
};
use crate::settings::Settings;

/// Between two questions to a Docker or an etcd that is away.
const RETRY_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(250), factor: 2, cap: Duration::from_secs(1) };

/// What Docker and etcd have told, and need not tell again.
#[derive(Clone)]
pub(super) struct ProbeResults {
    pub engine: EngineInfo,
    pub store: ResolvedStore,
}

/// All that a core takes.
pub(super) struct ResolvedConfig {
    pub settings: Rc<Settings>,
    pub probe_results: ProbeResults,
    pub rules: PublishConfig,
    pub docker: DockerClient,
    pub store: Store,
}

impl ResolvedConfig {
    pub fn core_settings(&self) -> CoreSettings {
        let settings = &self.settings;
        CoreSettings {
            lease_namespace: lease_namespace(&self.rules, &self.probe_results.engine),
            publish_config: self.rules.clone(),
            ttl: settings.etcd.ttl,
            poll_interval: settings.docker.poll,
            recheck_interval: settings.docker.poll_container,
            events: settings.docker.events,
            drain: settings.discovery.drain,
        }
    }
}

/// Asks Docker and etcd for all that the settings leave open.
pub(super) async fn resolve(
    daemon: &DaemonState,
    settings: Rc<Settings>,
) -> Result<ResolvedConfig, RunError> {
    let log = &daemon.log;
    daemon.clear_waiting();
    let docker = docker_client(&settings.docker, &log.new(o!("edge" => "docker")))?;
    let etcd_log = log.new(o!("edge" => "etcd"));
    let (engine, store) = tokio::try_join!(
        retry_until_ok("docker", daemon, async || probe_engine(&docker, &daemon.public_address)
            .await),
        retry_until_ok("etcd", daemon, async || resolve_store(&settings, &etcd_log).await),
    )?;
    let probe_results = ProbeResults { engine, store };
    let resolved = finish(daemon, settings, probe_results, docker)?;
    let engine = &resolved.probe_results.engine;
    notice!(log, "docker answers"; "engine" => &engine.version,
        "api" => engine.api.to_string(), "hostname" => &resolved.rules.hostname);
    log_etcd(daemon, &resolved.probe_results.store);
    Ok(resolved)
}

/// As [`settle`], where a core runs already: the engine is known. Where etcd is reached
/// in another way than before, the new way must work first, so that a slip in the settings
/// costs no record.
pub(super) async fn resolve_reload(
    daemon: &DaemonState,
    settings: Rc<Settings>,
    probe_results: ProbeResults,
    etcd_changed: bool,
) -> Result<ResolvedConfig, RunError> {
    let log = &daemon.log;
    daemon.clear_waiting();
    let docker = docker_client(&settings.docker, &log.new(o!("edge" => "docker")))?;
    if !etcd_changed {
        return finish(daemon, settings, probe_results, docker);
    }
    let etcd_log = log.new(o!("edge" => "etcd"));
    let store = retry_until_ok("etcd", daemon, async || {
        let store = resolve_store(&settings, &etcd_log).await?;
        let probed = open_store(daemon, &settings, &store, &etcd_log)?.probe().await;
        probed.map(|()| store).map_err(ResolveError::Etcd)
    });
    let probe_results = ProbeResults { store: store.await?, ..probe_results };
    let resolved = finish(daemon, settings, probe_results, docker)?;
    log_etcd(daemon, &resolved.probe_results.store);
    Ok(resolved)
}

fn finish(
    daemon: &DaemonState,
    settings: Rc<Settings>,
    probe_results: ProbeResults,
    docker: DockerClient,
) -> Result<ResolvedConfig, RunError> {
    let rules = publish_config(
        &settings,
        &daemon.public_address,
        &probe_results.engine,
        &probe_results.store,
    )?;
    let store =
        open_store(daemon, &settings, &probe_results.store, &daemon.log.new(o!("edge" => "etcd")))?;
    Ok(ResolvedConfig { settings, probe_results, rules, docker, store })
}

/// The store for what was settled: the one of the whole life, where the records stay in this
/// process.
fn open_store(
    daemon: &DaemonState,
    settings: &Settings,
    resolved: &ResolvedStore,
    log: &Logger,
) -> Result<Store, ResolveError> {
    match (daemon.standalone(), resolved.api()) {
        (Some(standalone), _) => Ok(Store::Memory(standalone.store())),
        (None, api) => {
            // Without a server of this process's own, etcd was asked.
            let api = api.unwrap_or(Api::V3);
            Ok(etcd_store(settings, api, &resolved.domain, log)?)
        }
    }
}

/// That DNS is answered here is told by who begins it.
fn log_etcd(daemon: &DaemonState, store: &ResolvedStore) {
    let ResolvedStore {
        etcd: Some(ApiChoice { api, reason, has_both_apis }),
        domain,
        domain_source,
    } = store
    else {
        return;
    };
    notice!(daemon.log, "etcd is spoken to"; "api" => api.as_str(), "because" => reason,
        "domain" => domain.to_string(), "domain_from" => domain_source);
    if *has_both_apis {
        notice!(daemon.log, "etcd answers both of its APIs, and CoreDNS reads v3 only; \
            set etcd.api to choose"; "chosen" => api.as_str());
    }
}

/// Asks until there is an answer, or a reason to give up.
async fn retry_until_ok<T>(
    target: &'static str,
    daemon: &DaemonState,
    probe: impl AsyncFn() -> Result<T, ResolveError>,
) -> Result<T, ResolveError> {
    let mut failures = 0;
    loop {
        let error = match probe().await {
            Err(error) if error.is_transient() => error,
            resolved => {
                daemon.mark_available(target);
                return resolved;
            }
        };
        failures += 1;
        if failures == 1 {
            warn!(daemon.log, "{} does not answer; waiting for it", target; "error" => %error);
        } else {
            info!(daemon.log, "{} still does not answer", target;
                "error" => %error, "tries" => failures);
        }
        daemon.mark_unavailable(target, error.to_string());
        tokio::time::sleep(RETRY_BACKOFF.wait(failures, fastrand::f64())).await;
    }
}
