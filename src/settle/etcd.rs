//! What only etcd can tell: which of its APIs to speak, and the domain where the operator
//! named none.

use highhock_actors::RecordKey;
use highhock_actors::service::DomainName;
use slog::Logger;

use super::NotSettled;
use crate::etcd::{
    Api, Cluster, Detected, EtcdStore, EtcdV2, EtcdV2Options, EtcdV3, EtcdV3Options,
    UnusableCluster, detect, domain_in_config,
};
use crate::settings::{self, EtcdApi, Settings};

/// What etcd told.
#[derive(Clone, Debug)]
pub struct SettledEtcd {
    /// Which API to speak, and why.
    pub detected: Detected,
    /// The domain that services are put under.
    pub domain: DomainName,
    /// Where that is from, for the log.
    pub domain_from: &'static str,
}

/// The cluster that the settings name.
pub fn cluster(settings: &settings::Etcd) -> Cluster {
    Cluster {
        tls: settings.tls.clone(),
        credentials: settings.credentials.clone(),
        ..Cluster::new(settings.urls.clone())
    }
}

/// Asks etcd, once, for what the settings leave open. Where they leave nothing open,
/// nothing is asked.
///
/// # Errors
/// Where it does not answer, or can't be spoken to as the settings say.
pub async fn ask_etcd(settings: &Settings, log: &Logger) -> Result<SettledEtcd, NotSettled> {
    let (cluster, skydns) = (cluster(&settings.etcd), &settings.skydns);
    let given = |api| Detected { api, why: "etcd.api says so".into(), both: false };
    let detected = match settings.etcd.api {
        EtcdApi::V2 => given(Api::V2),
        EtcdApi::V3 => given(Api::V3),
        EtcdApi::Auto => detect(&cluster, &skydns.prefix, log).await?,
    };
    let found = match skydns.domain_is_set {
        true => None,
        false => domain_in_config(detected.api, &cluster, &skydns.prefix, log).await?,
    };
    let domain_from = match (&found, skydns.domain_is_set) {
        (Some(_), _) => "skydns configuration in etcd",
        (None, true) => "skydns.domain",
        (None, false) => "default",
    };
    let domain = found.unwrap_or_else(|| skydns.domain.clone());
    Ok(SettledEtcd { detected, domain, domain_from })
}

/// Whether the files that the settings name for TLS and the password can be used: an
/// operator should hear of that at once, and not only when etcd first answers.
///
/// # Errors
/// Where one can't.
pub fn check_files(settings: &Settings, log: &Logger) -> Result<(), UnusableCluster> {
    let (cluster, root) = (cluster(&settings.etcd), RecordKey::from_path(""));
    EtcdV3::new(EtcdV3Options { cluster, root }, log.clone()).map(drop)
}

/// What is likely where etcd doesn't answer, for a look at what would be published.
pub fn assume_etcd(settings: &Settings) -> SettledEtcd {
    let api = match settings.etcd.api {
        EtcdApi::V2 => Api::V2,
        EtcdApi::V3 | EtcdApi::Auto => Api::V3,
    };
    SettledEtcd {
        detected: Detected { api, why: "etcd does not answer".into(), both: false },
        domain: settings.skydns.domain.clone(),
        domain_from: "assumed",
    }
}

/// The store for what was settled. Nothing is asked yet.
///
/// # Errors
/// Where a file for TLS, or with the password, can't be used.
pub fn store(
    settings: &Settings,
    settled: &SettledEtcd,
    log: &Logger,
) -> Result<EtcdStore, UnusableCluster> {
    let (cluster, prefix) = (cluster(&settings.etcd), settings.skydns.prefix.clone());
    let root = RecordKey::of_domain(&prefix, &settled.domain);
    let log = log.clone();
    Ok(match settled.detected.api {
        Api::V2 => EtcdStore::V2(EtcdV2::new(EtcdV2Options { cluster, root, prefix }, log)?),
        Api::V3 => EtcdStore::V3(EtcdV3::new(EtcdV3Options { cluster, root }, log)?),
    })
}
