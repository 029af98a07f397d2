//! What only the store can tell: which of etcd's APIs to speak, and the domain where the
//! operator named none.

use highhock_actors::RecordKey;
use highhock_actors::model::names::DomainName;
use slog::Logger;

use super::ResolveError;
use crate::dns::DnsSettings;
use crate::etcd::{
    Api, ApiChoice, Cluster, ClusterError, EtcdV2, EtcdV2Options, EtcdV3, EtcdV3Options,
    configured_domain, detect,
};
use crate::record_store::Store;
use crate::settings::{self, EtcdApi, Settings, StoreKind};

/// Where records are to be kept.
#[derive(Clone, Debug)]
pub struct ResolvedStore {
    /// Which of etcd's APIs to speak, and why; `None`: there is no etcd, the records stay in
    /// this process.
    pub etcd: Option<ApiChoice>,
    /// The domain that services are put under.
    pub domain: DomainName,
    /// Where that is from, for the log.
    pub domain_source: &'static str,
}

/// The cluster that the settings name.
pub fn etcd_cluster(settings: &settings::Etcd) -> Cluster {
    Cluster {
        tls: settings.tls.clone(),
        credentials: settings.credentials.clone(),
        ..Cluster::new(settings.urls.clone())
    }
}

impl ResolvedStore {
    /// Which of etcd's APIs is spoken; `None`: there is no etcd.
    pub fn api(&self) -> Option<Api> {
        self.etcd.as_ref().map(|detected| detected.api)
    }
}

/// Asks etcd, once, for what the settings leave open. Where they leave nothing open, or keep
/// the records in this process, nothing is asked.
///
/// # Errors
/// Where it does not answer, or can't be spoken to as the settings say.
pub async fn resolve_store(
    settings: &Settings,
    log: &Logger,
) -> Result<ResolvedStore, ResolveError> {
    if settings.store == StoreKind::Standalone {
        return Ok(standalone(settings));
    }
    let (cluster, skydns) = (etcd_cluster(&settings.etcd), &settings.skydns);
    let configured =
        |api| ApiChoice { api, reason: "etcd.api says so".into(), has_both_apis: false };
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

/// What is settled by the settings alone.
fn standalone(settings: &Settings) -> ResolvedStore {
    let domain = settings.skydns.domain.clone();
    ResolvedStore { etcd: None, domain, domain_source: configured_domain_source(settings) }
}

fn configured_domain_source(settings: &Settings) -> &'static str {
    if settings.skydns.domain_is_set { "skydns.domain" } else { "default" }
}

/// How DNS is to be answered where the records stay in this process.
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

/// Whether the files that the settings name for TLS and the password can be used: an
/// operator should hear of that at once, and not only when etcd first answers. Where there is
/// no etcd, nobody uses them.
///
/// # Errors
/// Where one can't.
pub fn check_files(settings: &Settings, log: &Logger) -> Result<(), ClusterError> {
    if settings.store == StoreKind::Standalone {
        return Ok(());
    }
    let (cluster, root) = (etcd_cluster(&settings.etcd), RecordKey::from_path(""));
    EtcdV3::new(EtcdV3Options { cluster, root }, log.clone()).map(drop)
}

/// What is likely where etcd doesn't answer, for a look at what would be published.
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

/// The store in etcd, by this API. Nothing is asked yet.
///
/// # Errors
/// Where a file for TLS, or with the password, can't be used.
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
