//! What etcd itself tells before anything is written: which of its APIs to speak,
//! and the domain that SkyDNS's configuration there names.

use std::fmt;

use highhock_actors::model::names::DomainName;
use highhock_actors::{RecordKey, RecordStore, StoreError, StoreErrorKind, StoredRecord};
use serde::Deserialize;
use slog::{Logger, warn};
use url::Url;

use super::cluster::{Cluster, ClusterError};
use super::{EtcdV2, EtcdV2Options, EtcdV3, EtcdV3Options, batch};

/// How many members are asked at a time.
const REQUESTS_IN_FLIGHT_MAX: usize = 8;

/// One of etcd's two APIs, each with keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// The keys API, as SkyDNS 2 reads it.
    V2,
    /// As CoreDNS reads it.
    V3,
}

impl Api {
    /// As in settings and logs.
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

/// Which API to speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiChoice {
    /// The one to speak.
    pub api: Api,
    /// Why it, for the log.
    pub reason: String,
    /// Whether etcd answers both. To be said, since CoreDNS reads v3 only.
    pub has_both_apis: bool,
}

/// Why it can't be told.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// The settings name what can't be a cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// etcd did not answer; to be asked again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Asks every member which APIs it answers: v2 if every one that can be reached
/// answers the v2 keys API, and v3 holds nothing under the prefix; else v3.
///
/// # Errors
/// Where no member can be reached, or those that can, can't tell.
pub async fn detect(
    cluster: &Cluster,
    prefix: &str,
    log: &Logger,
) -> Result<ApiChoice, DetectError> {
    let v2 = survey_v2(cluster, prefix, log).await?;
    let store = v3(cluster, prefix, log)?;
    let first_key = match cluster.try_members(async || store.first_key().await).await {
        Ok(first_key) => first_key,
        // It is no fault of an etcd with v2 alone that it has no gateway.
        Err(error) if error.kind == StoreErrorKind::Malformed && v2.member_without_v2.is_none() => {
            let reason = format!("etcd answers its v2 keys API alone: {error}");
            return Ok(ApiChoice { api: Api::V2, reason, has_both_apis: false });
        }
        Err(error) => return Err(error.into()),
    };
    Ok(match (v2.member_without_v2, first_key) {
        (Some(member), _) => {
            let reason = format!("the member at {member} does not answer the v2 keys API");
            ApiChoice { api: Api::V3, reason, has_both_apis: false }
        }
        (None, Some(key)) => {
            let reason = format!("v3 holds keys under /{prefix} already, such as {key}");
            ApiChoice { api: Api::V3, reason, has_both_apis: true }
        }
        (None, None) => {
            let reason = format!(
                "every member that can be reached answers the v2 keys API, and v3 holds nothing \
                 under /{prefix}"
            );
            ApiChoice { api: Api::V2, reason, has_both_apis: true }
        }
    })
}

/// What the members say of the v2 keys API.
struct V2Survey {
    /// One that is there and does not answer it.
    member_without_v2: Option<Url>,
}

async fn survey_v2(cluster: &Cluster, prefix: &str, log: &Logger) -> Result<V2Survey, DetectError> {
    let members = cluster.urls.iter().map(|url| {
        let single_member = Cluster { urls: vec![url.clone()], ..cluster.clone() };
        Ok((url.clone(), v2(&single_member, prefix, log)?))
    });
    let members = members.collect::<Result<Vec<_>, ClusterError>>()?;
    // Several at a time, and none held back because another is away.
    let check = async |(url, store): &(Url, EtcdV2)| Ok((url.clone(), store.supports_v2().await));
    let describe = |(url, _): &(Url, EtcdV2)| format!("asking {url}");
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

/// The domain in SkyDNS's configuration, at `<prefix>/config`, where there is one.
///
/// # Errors
/// Where etcd can't tell.
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
        // Somebody's service may be called `config`.
        Err(error) if error.kind == StoreErrorKind::Blocked => None,
        Err(error) => return Err(error.into()),
    };
    Ok(record.and_then(|record| {
        parse_domain(&record.value).unwrap_or_else(|reason| {
            warn!(log, "the configuration in etcd has no domain that can be used";
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
