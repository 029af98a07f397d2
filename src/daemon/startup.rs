//! Resolves settings into all inputs of a core, and waits for Docker and etcd to answer.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use highhock_actors::model::publish_config::PublishConfig;
use highhock_actors::runtime::backoff::Backoff;
use highhock_actors::{CoreSettings, RecordStore};
use slog::{Logger, o, warn};
use tokio::sync::watch;

use super::error::RunError;
use super::status_line::UnavailableServers;
use crate::docker::{DockerClient, EngineInfo};
use crate::etcd::{Api, ApiChoice};
use crate::host::PublicAddress;
use crate::memory_store::MemoryStore;
use crate::record_store::Store;
use crate::resolve::{
    ResolveError, ResolvedStore, docker_client, etcd_store, lease_namespace, probe_engine,
    publish_config, resolve_store, url_suggestion,
};
use crate::settings::Settings;

/// The pauses between two requests to a server that does not answer.
const RETRY_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(250), factor: 2, cap: Duration::from_secs(1) };

/// The answers of Docker and etcd, kept so that a reload does not repeat the requests.
#[derive(Clone)]
pub(super) struct ProbeResults {
    pub engine: EngineInfo,
    pub store: ResolvedStore,
}

/// The differences to the current core that only Docker or etcd can confirm.
#[derive(Clone, Copy)]
pub(super) struct ServerChanges {
    /// The connection to etcd, or the place of the records in it.
    pub etcd: bool,
    /// The public address.
    pub address: bool,
}

/// All inputs of a core.
pub(super) struct ResolvedConfig {
    pub core_settings: CoreSettings,
    pub probe_results: ProbeResults,
    pub docker: DockerClient,
    pub store: Store,
}

/// Resolves settings. Apart from the address, the fields stay the same for the life of the daemon.
pub(super) struct Resolver {
    pub log: Logger,
    /// The address of the next core.
    pub public_address: RefCell<PublicAddress>,
    /// The record store of standalone mode.
    pub memory_store: Option<MemoryStore>,
    /// The servers that the current attempt waits for.
    pub unavailable: watch::Sender<UnavailableServers>,
}

impl Resolver {
    /// Resolves settings, and requests from Docker and etcd all values that the settings leave
    /// open. Retries until both servers answer.
    ///
    /// # Errors
    /// Returns an error that another attempt would not fix.
    pub async fn resolve(&self, settings: Rc<Settings>) -> Result<ResolvedConfig, RunError> {
        self.clear_unavailable();
        let docker = docker_client(&settings.docker, &self.edge_log("docker"))?;
        let etcd_log = self.edge_log("etcd");
        let (engine, store) = tokio::try_join!(
            self.probe_docker(&docker, &settings),
            self.retry_until_ok("etcd", async || resolve_store(&settings, &etcd_log).await),
        )?;
        let resolved = self.finish(&settings, ProbeResults { engine, store }, docker)?;
        let engine = &resolved.probe_results.engine;
        notice!(self.log, "docker connected"; "engine" => &engine.version,
            "api" => engine.api.to_string(),
            "hostname" => &resolved.core_settings.publish_config.hostname);
        self.log_etcd(&resolved.probe_results.store);
        // Settings that leave nothing open need no answer of etcd until the core starts.
        if let Some(suggestion) = url_suggestion(&settings, &etcd_log).await {
            warn!(self.log, "etcd refuses connections at the default url; {}", suggestion);
        }
        Ok(resolved)
    }

    /// Resolves settings while a core runs, with the known answers of the servers.
    ///
    /// If the connection to etcd changed, the new connection must work first, so that a mistake
    /// in the settings costs no record. Another public address must lie outside the engine's own
    /// networks.
    ///
    /// # Errors
    /// Returns an error that another attempt would not fix.
    pub async fn resolve_reload(
        &self,
        settings: Rc<Settings>,
        probe_results: ProbeResults,
        changes: ServerChanges,
    ) -> Result<ResolvedConfig, RunError> {
        self.clear_unavailable();
        let docker = docker_client(&settings.docker, &self.edge_log("docker"))?;
        if changes.address {
            self.probe_docker(&docker, &settings).await?;
        }
        if !changes.etcd {
            return self.finish(&settings, probe_results, docker);
        }
        let etcd_log = self.edge_log("etcd");
        let store = self.retry_until_ok("etcd", async || {
            let store = resolve_store(&settings, &etcd_log).await?;
            let probed = self.open_store(&settings, &store, &etcd_log)?.probe().await;
            probed.map(|_| store).map_err(ResolveError::Etcd)
        });
        let probe_results = ProbeResults { store: store.await?, ..probe_results };
        let resolved = self.finish(&settings, probe_results, docker)?;
        self.log_etcd(&resolved.probe_results.store);
        Ok(resolved)
    }

    /// Requests the identity of the engine, and checks the public address. Retries until the engine
    /// answers.
    async fn probe_docker(
        &self,
        docker: &DockerClient,
        settings: &Settings,
    ) -> Result<EngineInfo, ResolveError> {
        let public_address = self.public_address.borrow().clone();
        let probe = async || probe_engine(docker, settings, &public_address).await;
        self.retry_until_ok("docker", probe).await
    }

    /// Forgets the servers that an abandoned attempt waited for.
    pub fn clear_unavailable(&self) {
        self.unavailable.send_modify(UnavailableServers::clear);
    }

    fn finish(
        &self,
        settings: &Settings,
        probe_results: ProbeResults,
        docker: DockerClient,
    ) -> Result<ResolvedConfig, RunError> {
        let ProbeResults { engine, store } = &probe_results;
        let publish_config =
            publish_config(settings, &self.public_address.borrow(), engine, store)?;
        let store = self.open_store(settings, store, &self.edge_log("etcd"))?;
        let core_settings = core_settings(settings, publish_config, engine);
        Ok(ResolvedConfig { core_settings, probe_results, docker, store })
    }

    /// Opens the store of the resolved settings. In standalone mode this is the store of this
    /// process.
    fn open_store(
        &self,
        settings: &Settings,
        resolved: &ResolvedStore,
        log: &Logger,
    ) -> Result<Store, ResolveError> {
        match &self.memory_store {
            Some(store) => Ok(Store::Memory(store.clone())),
            None => {
                // Outside standalone mode the API is always known.
                let api = resolved.api().unwrap_or(Api::V3);
                Ok(etcd_store(settings, api, &resolved.domain, log)?)
            }
        }
    }

    /// Logs the API and the domain. Logs nothing in standalone mode, in which the DNS server has
    /// logged the domain.
    fn log_etcd(&self, store: &ResolvedStore) {
        let ResolvedStore {
            etcd: Some(ApiChoice { api, reason, has_both_apis }),
            domain,
            domain_source,
        } = store
        else {
            return;
        };
        notice!(self.log, "using etcd API"; "api" => api.as_str(), "because" => reason,
            "domain" => domain.to_string(), "domain_from" => domain_source);
        if *has_both_apis {
            notice!(self.log, "etcd answers both of its APIs, and CoreDNS reads v3 only; \
                set etcd.api to choose"; "chosen" => api.as_str());
        }
    }

    /// Repeats `probe` until it succeeds or fails with an error that is not transient.
    async fn retry_until_ok<T>(
        &self,
        target: &'static str,
        probe: impl AsyncFn() -> Result<T, ResolveError>,
    ) -> Result<T, ResolveError> {
        let mut failures = 0;
        loop {
            let error = match probe().await {
                Err(error) if error.is_transient() => error,
                resolved => {
                    self.unavailable.send_modify(|servers| drop(servers.remove(target)));
                    return resolved;
                }
            };
            failures += 1;
            if failures == 1 {
                warn!(self.log, "{} unreachable; waiting for it", target; "error" => %error);
            } else {
                info!(self.log, "{} still unreachable", target;
                    "error" => %error, "tries" => failures);
            }
            let reason = error.to_string();
            self.unavailable.send_modify(|servers| drop(servers.insert(target, reason)));
            tokio::time::sleep(RETRY_BACKOFF.wait(failures, fastrand::f64())).await;
        }
    }

    fn edge_log(&self, edge: &'static str) -> Logger {
        self.log.new(o!("edge" => edge))
    }
}

fn core_settings(
    settings: &Settings,
    publish_config: PublishConfig,
    engine: &EngineInfo,
) -> CoreSettings {
    CoreSettings {
        lease_namespace: lease_namespace(&publish_config, engine, settings.store),
        publish_config,
        ttl: settings.etcd.ttl,
        poll_interval: settings.docker.poll,
        recheck_interval: settings.docker.poll_container,
        events: settings.docker.events,
        drain: settings.discovery.drain,
    }
}
