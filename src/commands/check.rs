//! `highhock check`: tests every server and address that the daemon needs.

use std::fmt;
use std::process::ExitCode;

use futures_util::future::join_all;
use slog::Logger;

use super::check_etcd::check_etcd;
use super::check_forward::check_forwarder;
use super::check_verdict::CheckVerdict;
use super::{CommandError, print};
use crate::admin::{AdminClient, StatusResponse};
use crate::cli::exit_code;
use crate::dns::DnsServer;
use crate::docker::{DockerClient, EngineInfo};
use crate::host::{NoPublicAddress, PublicAddress};
use crate::resolve::{ResolveError, dns_settings, docker_client, probe_engine};
use crate::settings::{Settings, StoreKind};
use crate::zone::Zone;

/// The result of one test.
#[derive(Debug)]
pub struct CheckResult {
    /// The tested setting or server.
    pub subject: &'static str,
    /// The verdict on it.
    pub verdict: CheckVerdict,
}

impl CheckResult {
    fn new(subject: &'static str, verdict: impl Into<CheckVerdict>) -> Self {
        Self { subject, verdict: verdict.into() }
    }
}

impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, text) = match &self.verdict {
            CheckVerdict::Passed(text) => ("ok", text),
            CheckVerdict::Degraded(text) => ("degraded", text),
            CheckVerdict::Failed(text) => ("FAILED", text),
        };
        write!(f, "{:<14} {word:<7} {text}", self.subject)
    }
}

/// Prints the results of [`check`]. The exit code is 0 only if no test fails.
///
/// # Errors
/// Returns an error if the output cannot be written.
pub async fn run(
    settings: &Settings,
    public_address: &Result<PublicAddress, NoPublicAddress>,
    log: &Logger,
) -> Result<ExitCode, CommandError> {
    let results = check(settings, public_address, log).await;
    let text: String = results.iter().map(|check_result| format!("{check_result}\n")).collect();
    print(&text)?;
    let any_failed = results.iter().any(|check_result| check_result.verdict.is_failed());
    Ok(if any_failed { exit_code::UNAVAILABLE.into() } else { ExitCode::SUCCESS })
}

/// Tests Docker, the store and the public address, one after the other.
///
/// The store is etcd. In standalone mode the listen addresses and the upstreams of the DNS server
/// are tested instead.
pub async fn check(
    settings: &Settings,
    public_address: &Result<PublicAddress, NoPublicAddress>,
    log: &Logger,
) -> Vec<CheckResult> {
    let DockerCheck { result, address_error } = match docker_client(&settings.docker, log) {
        Ok(docker) => check_docker(&docker, public_address).await,
        Err(error) => DockerCheck { result: Err(error.to_string()), address_error: None },
    };
    let address = match (public_address, address_error) {
        (_, Some(error)) => Err(error),
        (Ok(public_address), None) => Ok(public_address.to_string()),
        (Err(error), None) => Err(error.to_string()),
    };
    let mut results = vec![
        CheckResult::new("configuration", Ok("no errors".into())),
        CheckResult::new("docker", result),
    ];
    match settings.store {
        StoreKind::Etcd => {
            results.push(CheckResult::new("etcd", check_etcd(settings, log).await));
        }
        StoreKind::Standalone => {
            results.push(CheckResult::new("dns", check_dns(settings, log).await));
            let upstreams = settings.dns.forward.iter().copied();
            let forwarder_results = join_all(upstreams.map(check_forwarder)).await;
            let check_result = |result| CheckResult::new("dns.forward", result);
            results.extend(forwarder_results.into_iter().map(check_result));
        }
    }
    results.push(CheckResult::new("address", address));
    results
}

/// The result of the test of Docker, and an error of the address that only the engine reveals.
struct DockerCheck {
    result: Result<String, String>,
    address_error: Option<String>,
}

async fn check_docker(
    docker: &DockerClient,
    public_address: &Result<PublicAddress, NoPublicAddress>,
) -> DockerCheck {
    let engine = match public_address {
        Ok(public_address) => probe_engine(docker, public_address).await,
        Err(_) => docker.engine().await.map_err(ResolveError::Docker),
    };
    let endpoint = docker.endpoint();
    match engine {
        Ok(EngineInfo { version, api, name, .. }) => {
            let text = format!("{endpoint}: engine {version}, API {api}, on host {name:?}");
            DockerCheck { result: Ok(text), address_error: None }
        }
        Err(ResolveError::Docker(error)) => {
            DockerCheck { result: Err(error.to_string()), address_error: None }
        }
        Err(error) => {
            DockerCheck { result: Ok(endpoint.to_string()), address_error: Some(error.to_string()) }
        }
    }
}

/// Tests the listen addresses by starting a DNS server with an empty zone for a moment.
///
/// Addresses in use also pass if a running daemon with these settings listens there.
async fn check_dns(settings: &Settings, log: &Logger) -> Result<String, String> {
    let (dns, domain) = (dns_settings(settings), settings.skydns.domain.as_str());
    let addresses: Vec<_> = dns.listen.iter().map(ToString::to_string).collect();
    let at = addresses.join(", ");
    let Err(bind_error) = DnsServer::start(dns, Zone::new(), log) else {
        return Ok(format!("{at}: free, for the domain {domain}"));
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
