//! The record store, and the facts that only etcd knows: its API, and a configured domain.

use highhock_actors::model::names::DomainName;
use highhock_actors::{RecordKey, StoreError};
use slog::Logger;

use super::ResolveError;
use crate::dns::DnsSettings;
use crate::etcd::{
    Api, ApiChoice, Cluster, ClusterError, EtcdV2, EtcdV2Options, EtcdV3, EtcdV3Options,
    configured_domain, detect, suggest_url,
};
use crate::record_store::Store;
use crate::settings::{self, EtcdApi, Settings, StoreKind};

/// The resolved place of all records.
#[derive(Clone, Debug)]
pub struct ResolvedStore {
    /// The API of etcd and the reason for it. `None` in standalone mode.
    pub etcd: Option<ApiChoice>,
    /// The domain of all records.
    pub domain: DomainName,
    /// The origin of the domain, for the log.
    pub domain_source: &'static str,
}

/// Returns the etcd cluster in the settings.
pub fn etcd_cluster(settings: &settings::Etcd) -> Cluster {
    Cluster {
        tls: settings.tls.clone(),
        credentials: settings.credentials.clone(),
        ..Cluster::new(settings.urls.clone())
    }
}

impl ResolvedStore {
    /// Returns the API of etcd, or `None` in standalone mode.
    pub fn api(&self) -> Option<Api> {
        self.etcd.as_ref().map(|detected| detected.api)
    }
}

/// Requests from etcd, once, the API and the domain that the settings leave open.
///
/// Sends no request if the settings leave nothing open, or in standalone mode.
///
/// # Errors
/// Returns an error if etcd does not answer, or cannot be used with these settings.
pub async fn resolve_store(
    settings: &Settings,
    log: &Logger,
) -> Result<ResolvedStore, ResolveError> {
    match request_store(settings, log).await {
        Err(ResolveError::Etcd(error)) => {
            Err(ResolveError::Etcd(with_url_suggestion(error, settings, log).await))
        }
        resolved => resolved,
    }
}

/// Adds the URL at which etcd answers to an error of etcd, if the default URL is refused.
pub async fn with_url_suggestion(
    mut error: StoreError,
    settings: &Settings,
    log: &Logger,
) -> StoreError {
    if let Some(suggestion) = url_suggestion(settings, log).await {
        error.message = format!("{}; {suggestion}", error.message);
    }
    error
}

/// Returns the value that `etcd.url` needs, if the default URL is refused and etcd answers at its
/// usual port.
pub async fn url_suggestion(settings: &Settings, log: &Logger) -> Option<String> {
    if settings.store == StoreKind::Standalone {
        return None;
    }
    let url = suggest_url(&etcd_cluster(&settings.etcd), log).await?;
    Some(format!("etcd answers at {url}: set etcd.url to {url}"))
}

async fn request_store(settings: &Settings, log: &Logger) -> Result<ResolvedStore, ResolveError> {
    if settings.store == StoreKind::Standalone {
        return Ok(standalone(settings));
    }
    let (cluster, skydns) = (etcd_cluster(&settings.etcd), &settings.skydns);
    let configured =
        |api| ApiChoice { api, reason: "etcd.api selects it".into(), has_both_apis: false };
    let detected = match settings.etcd.api {
        EtcdApi::V2 => configured(Api::V2),
        EtcdApi::V3 => configured(Api::V3),
        EtcdApi::Auto => detect(&cluster, &skydns.prefix, log).await?,
    };
    let found = if skydns.domain_is_set {
        None
    } else {
        configured_domain(detected.api, &cluster, &skydns.prefix, log).await?
    };
    let domain_source = match &found {
        Some(_) => "skydns configuration in etcd",
        None => configured_domain_source(settings),
    };
    let domain = found.unwrap_or_else(|| skydns.domain.clone());
    Ok(ResolvedStore { etcd: Some(detected), domain, domain_source })
}

fn standalone(settings: &Settings) -> ResolvedStore {
    let domain = settings.skydns.domain.clone();
    ResolvedStore { etcd: None, domain, domain_source: configured_domain_source(settings) }
}

fn configured_domain_source(settings: &Settings) -> &'static str {
    if settings.skydns.domain_is_set { "skydns.domain" } else { "default" }
}

/// Returns the settings of the DNS server for standalone mode.
pub fn dns_settings(settings: &Settings) -> DnsSettings {
    let (dns, skydns) = (&settings.dns, &settings.skydns);
    DnsSettings {
        listen: dns.listen.clone(),
        forward: dns.forward.clone(),
        domain: skydns.domain.clone(),
        prefix: skydns.prefix.clone(),
        rate_limit: dns.rate_limit,
    }
}

/// Checks that the TLS and password files for etcd are usable, so that errors surface at start-up
/// and not at the first connection. Checks nothing in standalone mode.
///
/// # Errors
/// Returns an error for the first unusable file.
pub fn check_files(settings: &Settings, log: &Logger) -> Result<(), ClusterError> {
    if settings.store == StoreKind::Standalone {
        return Ok(());
    }
    let (cluster, root) = (etcd_cluster(&settings.etcd), RecordKey::from_path(""));
    EtcdV3::new(EtcdV3Options { cluster, root }, log.clone()).map(drop)
}

/// Returns the most likely store if etcd does not answer, for a preview of the records.
pub fn assume_etcd(settings: &Settings) -> ResolvedStore {
    let api = match settings.etcd.api {
        EtcdApi::V2 => Api::V2,
        EtcdApi::V3 | EtcdApi::Auto => Api::V3,
    };
    ResolvedStore {
        etcd: Some(ApiChoice { api, reason: "etcd does not answer".into(), has_both_apis: false }),
        domain: settings.skydns.domain.clone(),
        domain_source: "assumed",
    }
}

/// Creates the store for this API of etcd, without sending a request.
///
/// # Errors
/// Returns an error if a TLS or password file is unusable.
pub fn etcd_store(
    settings: &Settings,
    api: Api,
    domain: &DomainName,
    log: &Logger,
) -> Result<Store, ClusterError> {
    let (cluster, prefix) = (etcd_cluster(&settings.etcd), settings.skydns.prefix.clone());
    let root = RecordKey::domain_directory(&prefix, domain);
    let log = log.clone();
    Ok(match api {
        Api::V2 => Store::EtcdV2(EtcdV2::new(EtcdV2Options { cluster, root, prefix }, log)?),
        Api::V3 => Store::EtcdV3(EtcdV3::new(EtcdV3Options { cluster, root }, log)?),
    })
}
