//! `highhock check`: whether all that the daemon needs is there.

use std::fmt;

use futures_util::future::join_all;
use highhock_actors::RecordStore;
use slog::Logger;

use super::check_forward::check_forwarder;
use crate::admin::{AdminClient, StatusResponse};
use crate::dns::DnsServer;
use crate::docker::{DockerClient, EngineInfo};
use crate::etcd::Api;
use crate::host::{NoPublicAddress, PublicAddress};
use crate::resolve::{
    ResolveError, dns_settings, docker_client, etcd_cluster, etcd_store, probe_engine,
    resolve_store,
};
use crate::settings::{Settings, StoreKind};
use crate::zone::Zone;

/// What was looked at, and what came of it.
#[derive(Debug)]
pub struct CheckResult {
    /// What was looked at.
    pub subject: &'static str,
    /// What holds, or why it doesn't.
    pub result: Result<String, String>,
}

impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, text) = match &self.result {
            Ok(text) => ("ok", text),
            Err(text) => ("FAILED", text),
        };
        write!(f, "{:<14} {word:<7} {text}", self.subject)
    }
}

/// Looks at Docker, etcd (or where DNS is to be answered without one, and the servers for
/// other domains) and the address, one after the other.
pub async fn check(
    settings: &Settings,
    public_address: &Result<PublicAddress, NoPublicAddress>,
    log: &Logger,
) -> Vec<CheckResult> {
    let (docker_result, address_error) = match docker_client(&settings.docker, log) {
        Ok(docker) => check_docker(&docker, public_address).await,
        Err(error) => (Err(error.to_string()), None),
    };
    let address = match (public_address, address_error) {
        (_, Some(error)) => Err(error),
        (Ok(public_address), None) => Ok(public_address.to_string()),
        (Err(error), None) => Err(error.to_string()),
    };
    let mut results = vec![
        CheckResult { subject: "configuration", result: Ok("holds".into()) },
        CheckResult { subject: "docker", result: docker_result },
    ];
    match settings.store {
        StoreKind::Etcd => {
            let result = check_etcd(settings, log).await;
            results.push(CheckResult { subject: "etcd", result });
        }
        StoreKind::Standalone => {
            let result = check_dns(settings, log).await;
            results.push(CheckResult { subject: "dns", result });
            let servers = settings.dns.forward.iter().copied();
            let forwarder_results = join_all(servers.map(check_forwarder)).await;
            let check_result = |result| CheckResult { subject: "dns.forward", result };
            results.extend(forwarder_results.into_iter().map(check_result));
        }
    }
    results.push(CheckResult { subject: "address", result: address });
    results
}

/// What is so of Docker, and why the address can't be used, as the engine shows.
async fn check_docker(
    docker: &DockerClient,
    public_address: &Result<PublicAddress, NoPublicAddress>,
) -> (Result<String, String>, Option<String>) {
    let engine = match public_address {
        Ok(public_address) => probe_engine(docker, public_address).await,
        Err(_) => docker.engine().await.map_err(ResolveError::Docker),
    };
    let endpoint = docker.endpoint();
    match engine {
        Ok(EngineInfo { version, api, name, .. }) => {
            (Ok(format!("{endpoint}: engine {version}, API {api}, on host {name:?}")), None)
        }
        Err(ResolveError::Docker(error)) => (Err(error.to_string()), None),
        Err(error) => (Ok(endpoint.to_string()), Some(error.to_string())),
    }
}

async fn check_etcd(settings: &Settings, log: &Logger) -> Result<String, String> {
    let resolved = resolve_store(settings, log).await.map_err(|error| error.to_string())?;
    let Some(etcd) = &resolved.etcd else { return Ok("not used".into()) };
    let store = etcd_store(settings, etcd.api, &resolved.domain, log);
    let store = store.map_err(|error| error.to_string())?;
    let probed = etcd_cluster(&settings.etcd).try_members(async || store.probe().await).await;
    probed.map_err(|error| error.to_string())?;
    let reads = match etcd.api {
        Api::V2 => " (CoreDNS reads v3 only)",
        Api::V3 => "",
    };
    Ok(format!(
        "{}: answers its {} API{reads}; spoken to because {}; domain {} ({})",
        settings.etcd.members(),
        etcd.api.as_str(),
        etcd.reason,
        resolved.domain,
        resolved.domain_source
    ))
}

/// Whether DNS can be answered where it is to be: it is, for a moment, from no records.
/// A daemon that runs with these settings answers there already.
async fn check_dns(settings: &Settings, log: &Logger) -> Result<String, String> {
    let (dns, domain) = (dns_settings(settings), settings.skydns.domain.as_str());
    let addresses: Vec<_> = dns.listen.iter().map(ToString::to_string).collect();
    let at = addresses.join(", ");
    let Err(bind_error) = DnsServer::start(dns, Zone::new(), log) else {
        return Ok(format!("{at}: free, to answer for {domain}"));
    };
    let running =
        async { AdminClient::new(&settings.admin, log)?.get::<StatusResponse>("/status").await };
    match running.await.ok().and_then(|status| status.dns) {
        Some(running) if running.domain == domain && running.addresses == addresses => {
            Ok(format!("{at}: the running highhock answers for {domain}"))
        }
        _ => Err(bind_error.to_string()),
    }
}
