//! `highhock check`: whether all that the daemon needs is there.

use std::fmt;

use futures_util::future::join_all;
use highhock_actors::RecordStore;
use slog::Logger;

use super::check_forward::forward_verdict;
use crate::admin::{Asker, Summary};
use crate::dns::DnsServer;
use crate::docker::{Docker, Engine};
use crate::etcd::Api;
use crate::host::{NoHost, Published};
use crate::resolve::{NotSettled, ask_engine, ask_store, cluster, dns, docker, etcd_store};
use crate::settings::{Settings, StoreKind};
use crate::zone::Zone;

/// What was looked at, and what came of it.
#[derive(Debug)]
pub struct Verdict {
    /// What was looked at.
    pub subject: &'static str,
    /// What holds, or why it doesn't.
    pub result: Result<String, String>,
}

impl fmt::Display for Verdict {
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
    published: &Result<Published, NoHost>,
    log: &Logger,
) -> Vec<Verdict> {
    let (docker_verdict, address_refused) = match docker(&settings.docker, log) {
        Ok(docker) => docker_verdict(&docker, published).await,
        Err(unusable) => (Err(unusable.to_string()), None),
    };
    let address = match (published, address_refused) {
        (_, Some(refused)) => Err(refused),
        (Ok(published), None) => Ok(published.to_string()),
        (Err(none), None) => Err(none.to_string()),
    };
    let mut verdicts = vec![
        Verdict { subject: "configuration", result: Ok("holds".into()) },
        Verdict { subject: "docker", result: docker_verdict },
    ];
    match settings.store {
        StoreKind::Etcd => {
            let result = etcd_verdict(settings, log).await;
            verdicts.push(Verdict { subject: "etcd", result });
        }
        StoreKind::Standalone => {
            let result = dns_verdict(settings, log).await;
            verdicts.push(Verdict { subject: "dns", result });
            let servers = settings.dns.forward.iter().copied();
            let results = join_all(servers.map(forward_verdict)).await;
            let verdict = |result| Verdict { subject: "dns.forward", result };
            verdicts.extend(results.into_iter().map(verdict));
        }
    }
    verdicts.push(Verdict { subject: "address", result: address });
    verdicts
}

/// What is so of Docker, and why the address can't be used, as the engine shows.
async fn docker_verdict(
    docker: &Docker,
    published: &Result<Published, NoHost>,
) -> (Result<String, String>, Option<String>) {
    let asked = match published {
        Ok(published) => ask_engine(docker, published).await,
        Err(_) => docker.engine().await.map_err(NotSettled::Docker),
    };
    let endpoint = docker.endpoint();
    match asked {
        Ok(Engine { version, api, name, .. }) => {
            (Ok(format!("{endpoint}: engine {version}, API {api}, on host {name:?}")), None)
        }
        Err(NotSettled::Docker(error)) => (Err(error.to_string()), None),
        Err(error) => (Ok(endpoint.to_string()), Some(error.to_string())),
    }
}

async fn etcd_verdict(settings: &Settings, log: &Logger) -> Result<String, String> {
    let settled = ask_store(settings, log).await.map_err(|error| error.to_string())?;
    let Some(etcd) = &settled.etcd else { return Ok("not used".into()) };
    let store = etcd_store(settings, etcd.api, &settled.domain, log);
    let store = store.map_err(|error| error.to_string())?;
    let probed = cluster(&settings.etcd).ask(async || store.probe().await).await;
    probed.map_err(|error| error.to_string())?;
    let reads = match etcd.api {
        Api::V2 => " (CoreDNS reads v3 only)",
        Api::V3 => "",
    };
    Ok(format!(
        "{}: answers its {} API{reads}; spoken to because {}; domain {} ({})",
        settings.etcd.members(),
        etcd.api.as_str(),
        etcd.why,
        settled.domain,
        settled.domain_from
    ))
}

/// Whether DNS can be answered where it is to be: it is, for a moment, from no records.
/// A daemon that runs with these settings answers there already.
async fn dns_verdict(settings: &Settings, log: &Logger) -> Result<String, String> {
    let (dns, domain) = (dns(settings), settings.skydns.domain.as_str());
    let addresses: Vec<_> = dns.listen.iter().map(ToString::to_string).collect();
    let at = addresses.join(", ");
    let Err(taken) = DnsServer::start(dns, Zone::new(), log) else {
        return Ok(format!("{at}: free, to answer for {domain}"));
    };
    let running = async { Asker::new(&settings.admin, log)?.get::<Summary>("/status").await };
    match running.await.ok().and_then(|summary| summary.dns) {
        Some(running) if running.domain == domain && running.addresses == addresses => {
            Ok(format!("{at}: the running highhock answers for {domain}"))
        }
        _ => Err(taken.to_string()),
    }
}
