//! `highhock check`: tests every server and address that the daemon needs.

use std::fmt;
use std::process::ExitCode;

use futures_util::future::join_all;
use slog::Logger;

use super::check_docker::{DockerCheck, check_docker};
use super::check_etcd::check_etcd;
use super::check_forward::check_forwarder;
use super::check_verdict::CheckVerdict;
use super::{CommandError, print};
use crate::admin::{AdminClient, StatusResponse};
use crate::dns::DnsServer;
use crate::host::{NoPublicAddress, PublicAddress};
use crate::resolve::dns_settings;
use crate::settings::{Settings, StoreKind};
use crate::zone::Zone;

/// The result of one test.
#[derive(Debug)]
pub struct CheckResult {
    /// The tested setting or server.
    pub subject: &'static str,
    /// The verdict on it.
    pub verdict: CheckVerdict,
    /// The restrictions with which the daemon works.
    pub warnings: Vec<String>,
}

impl CheckResult {
    fn new(subject: &'static str, verdict: impl Into<CheckVerdict>) -> Self {
        Self { subject, verdict: verdict.into(), warnings: Vec::new() }
    }
}

impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, text) = match &self.verdict {
            CheckVerdict::Passed(text) => ("ok", text),
            CheckVerdict::Degraded(text) => ("degraded", text),
            CheckVerdict::Failed(text) | CheckVerdict::Misconfigured(text) => ("FAILED", text),
        };
        write!(f, "{:<14} {word:<7} {text}", self.subject)?;
        let mut warnings = self.warnings.iter();
        warnings.try_for_each(|text| write!(f, "\n{:<14} {:<7} {text}", self.subject, "warning"))
    }
}

/// Prints the results of [`check`]. The exit code is 0 only if no test fails, and names unusable
/// settings before unavailable servers.
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
    // The code of unusable settings is the greatest.
    let codes = results.iter().map(|check_result| check_result.verdict.exit_code());
    Ok(codes.max().unwrap_or_default().into())
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
    let DockerCheck { verdict, warnings, address_error } =
        check_docker(settings, public_address, log).await;
    let address = match (public_address, address_error) {
        (_, Some(error)) => Err(error),
        (Ok(public_address), None) => Ok(public_address.to_string()),
        (Err(error), None) => Err(error.to_string()),
    };
    let mut results = vec![
        CheckResult::new("configuration", Ok("no errors".into())),
        CheckResult { warnings, ..CheckResult::new("docker", verdict) },
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
