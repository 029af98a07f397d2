//! Questions to etcd before anything is written: which of its APIs to use, and which domain the
//! configuration of SkyDNS names.
//!
//! The choice follows "API of etcd" in config/README.md.

use std::fmt;

use highhock_actors::model::names::DomainName;
use highhock_actors::{RecordKey, RecordStore, StoreError, StoreErrorKind, StoredRecord};
use serde::Deserialize;
use slog::{Logger, warn};
use url::Url;

use super::cluster::{Cluster, ClusterError};
use super::{EtcdV2, EtcdV2Options, EtcdV3, EtcdV3Options, batch};

/// The maximum number of members that are checked concurrently.
const REQUESTS_IN_FLIGHT_MAX: usize = 8;

/// One of the two APIs of etcd. Each has its own set of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// The keys API, which SkyDNS 2 reads.
    V2,
    /// The API of etcd 3, which CoreDNS reads.
    V3,
}

impl Api {
    /// Returns the name in settings and logs: `v2` or `v3`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V3 => "v3",
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The API to use, and the reason for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiChoice {
    /// The API to use.
    pub api: Api,
    /// The reason, for the log.
    pub reason: String,
    /// `true` if etcd serves both APIs. The operator is informed, since CoreDNS reads v3 only.
    pub has_both_apis: bool,
}

/// The reason why etcd could not be queried.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// The settings do not describe a usable cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The request failed, and may be repeated.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks which APIs each member serves, and chooses one.
///
/// The choice is v2 if every reachable member serves the v2 keys API, and v3 holds no key under the
/// prefix. Otherwise it is v3.
///
/// # Errors
/// Returns an error if no member is reachable, or if the responses do not allow a choice.
pub async fn detect(
    cluster: &Cluster,
    prefix: &str,
    log: &Logger,
) -> Result<ApiChoice, DetectError> {
    let v2 = survey_v2(cluster, prefix, log).await?;
    let store = v3(cluster, prefix, log)?;
    let first_key = match cluster.try_members(async || store.first_key().await).await {
        Ok(first_key) => first_key,
        // An etcd with the v2 API only has no gateway, which is not an error.
        Err(error) if error.kind == StoreErrorKind::Malformed && v2.member_without_v2.is_none() => {
            let reason = format!("etcd serves only the v2 keys API: {error}");
            return Ok(ApiChoice { api: Api::V2, reason, has_both_apis: false });
        }
        Err(error) => return Err(error.into()),
    };
    Ok(match (v2.member_without_v2, first_key) {
        (Some(member), _) => {
            let reason = format!("the member at {member} does not serve the v2 keys API");
            ApiChoice { api: Api::V3, reason, has_both_apis: false }
        }
        (None, Some(key)) => {
            let reason = format!("v3 already holds keys under /{prefix}, such as {key}");
            ApiChoice { api: Api::V3, reason, has_both_apis: true }
        }
        (None, None) => {
            let reason = format!(
                "every reachable member serves the v2 keys API, and v3 holds no key under /{prefix}"
            );
            ApiChoice { api: Api::V2, reason, has_both_apis: true }
        }
    })
}

/// The result of the check of all members for the v2 keys API.
struct V2Survey {
    /// A reachable member that does not serve the API.
    member_without_v2: Option<Url>,
}

async fn survey_v2(cluster: &Cluster, prefix: &str, log: &Logger) -> Result<V2Survey, DetectError> {
    let members = cluster.urls.iter().map(|url| {
        let single_member = Cluster { urls: vec![url.clone()], ..cluster.clone() };
        Ok((url.clone(), v2(&single_member, prefix, log)?))
    });
    let members = members.collect::<Result<Vec<_>, ClusterError>>()?;
    // The members are checked concurrently. A member that is unreachable does not stop the checks
    // of others.
    let check = async |(url, store): &(Url, EtcdV2)| Ok((url.clone(), store.supports_v2().await));
    let describe = |(url, _): &(Url, EtcdV2)| format!("checking {url} for the v2 keys API");
    let mut last_outage = None;
    let mut any_supports_v2 = false;
    for outcome in batch::run(&members, REQUESTS_IN_FLIGHT_MAX, describe, check).await {
        match outcome? {
            (_, Ok(true)) => any_supports_v2 = true,
            (url, Ok(false)) => return Ok(V2Survey { member_without_v2: Some(url) }),
            (_, Err(error)) => last_outage = Some(error),
        }
    }
    match last_outage {
        Some(error) if !any_supports_v2 => Err(error.into()),
        _ => Ok(V2Survey { member_without_v2: None }),
    }
}

/// Returns the domain in the configuration of SkyDNS at `PREFIX/config`, if there is any.
///
/// # Errors
/// Returns an error if etcd cannot be read.
pub async fn configured_domain(
    api: Api,
    cluster: &Cluster,
    prefix: &str,
    log: &Logger,
) -> Result<Option<DomainName>, DetectError> {
    let key = RecordKey::from_path(&format!("{prefix}/config"));
    let read = match api {
        Api::V2 => read_one(cluster, &v2(cluster, prefix, log)?, &key).await,
        Api::V3 => read_one(cluster, &v3(cluster, prefix, log)?, &key).await,
    };
    let record = match read {
        Ok(record) => record,
        // `config` may be the name of a service, and then is a directory.
        Err(error) if error.kind == StoreErrorKind::Blocked => None,
        Err(error) => return Err(error.into()),
    };
    Ok(record.and_then(|record| {
        parse_domain(&record.value).unwrap_or_else(|reason| {
            warn!(log, "invalid configuration of SkyDNS in etcd; ignoring its domain";
                "key" => key.as_str(), "reason" => reason);
            None
        })
    }))
}

async fn read_one(
    cluster: &Cluster,
    store: &impl RecordStore,
    key: &RecordKey,
) -> Result<Option<StoredRecord>, StoreError> {
    let read = async || store.read(vec![key.clone()]).await.pop().unwrap_or(Ok(None));
    cluster.try_members(read).await
}

fn parse_domain(config: &str) -> Result<Option<DomainName>, String> {
    #[derive(Deserialize)]
    struct SkydnsConfig {
        domain: Option<String>,
    }
    let config = serde_json::from_str::<SkydnsConfig>(config).map_err(|error| error.to_string())?;
    match config.domain.filter(|domain| !domain.is_empty()) {
        Some(domain) => DomainName::parse(&domain).map(Some),
        None => Ok(None),
    }
}

fn v2(cluster: &Cluster, prefix: &str, log: &Logger) -> Result<EtcdV2, ClusterError> {
    let root = RecordKey::from_path(prefix);
    let options = EtcdV2Options { cluster: cluster.clone(), root, prefix: prefix.to_owned() };
    EtcdV2::new(options, log.clone())
}

fn v3(cluster: &Cluster, prefix: &str, log: &Logger) -> Result<EtcdV3, ClusterError> {
    let root = RecordKey::from_path(prefix);
    EtcdV3::new(EtcdV3Options { cluster: cluster.clone(), root }, log.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_domain_from_skydns_config() {
        let domain = |config| parse_domain(config).map(|domain| domain.map(|it| it.to_string()));
        let config = r#"{"dns_addr":"127.0.0.1:5354","domain":"Highhock.local.","ttl":3600}"#;
        assert_eq!(domain(config), Ok(Some("highhock.local".to_owned())));
        for none in ["{}", r#"{"domain":""}"#, r#"{"domain":null}"#] {
            assert_eq!(domain(none), Ok(None), "{none}");
        }
        for odd in ["", "[]", r#"{"domain":5}"#, r#"{"domain":"a..b"}"#] {
            assert!(domain(odd).is_err(), "{odd}");
        }
    }
}
