//! The test of etcd in `highhock check`: of each member, and of the cluster.

use futures_util::future::join_all;
use highhock_actors::RecordStore;
use slog::Logger;
use url::Url;

use super::check_verdict::CheckVerdict;
use crate::etcd::{Api, ApiChoice};
use crate::resolve::{ResolvedStore, etcd_cluster, etcd_store, resolve_store, with_url_suggestion};
use crate::settings::{Etcd, Settings};

/// Tests each member of etcd by a read that needs a quorum of the cluster.
///
/// One answer proves that the cluster has a quorum. Members without an answer then only degrade
/// the result.
pub(super) async fn check_etcd(settings: &Settings, log: &Logger) -> CheckVerdict {
    let resolved = match resolve_store(settings, log).await {
        Ok(resolved) => resolved,
        Err(error) => return CheckVerdict::from(&error),
    };
    let Some(etcd) = &resolved.etcd else { return CheckVerdict::Passed("not used".into()) };
    let members = settings.etcd.urls.iter();
    let probes = members.map(|url| check_member(settings, url, etcd.api, &resolved, log));
    let errors: Vec<_> = join_all(probes).await.into_iter().filter_map(Result::err).collect();
    let verdict = verdict(&summary(settings, etcd, &resolved), settings.etcd.urls.len(), &errors);
    if verdict.is_failed() {
        return verdict;
    }
    match check_permissions(settings, etcd.api, &resolved, log).await {
        Ok(()) => verdict,
        Err(reason) => CheckVerdict::Failed(reason),
    }
}

/// Tests the permissions of the user, which are the same at each member.
async fn check_permissions(
    settings: &Settings,
    api: Api,
    resolved: &ResolvedStore,
    log: &Logger,
) -> Result<(), String> {
    let store = etcd_store(settings, api, &resolved.domain, log);
    let store = store.map_err(|error| error.to_string())?;
    let check = async || store.check_permissions().await;
    etcd_cluster(&settings.etcd).try_members(check).await.map_err(|error| error.to_string())
}

async fn check_member(
    settings: &Settings,
    url: &Url,
    api: Api,
    resolved: &ResolvedStore,
    log: &Logger,
) -> Result<(), String> {
    let etcd = Etcd { urls: vec![url.clone()], ..settings.etcd.clone() };
    let single_member = Settings { etcd, ..settings.clone() };
    let store = etcd_store(&single_member, api, &resolved.domain, log);
    match store.map_err(|error| error.to_string())?.probe().await {
        Ok(_) => Ok(()),
        Err(error) => Err(with_url_suggestion(error, settings, log).await.to_string()),
    }
}

fn summary(settings: &Settings, etcd: &ApiChoice, resolved: &ResolvedStore) -> String {
    let note = match etcd.api {
        Api::V2 => " (CoreDNS reads v3 only)",
        Api::V3 => "",
    };
    format!(
        "{}: answers its {} API{note}; selected because {}; domain {} ({})",
        settings.etcd.members(),
        etcd.api.as_str(),
        etcd.reason,
        resolved.domain,
        resolved.domain_source
    )
}

fn verdict(summary: &str, members: usize, errors: &[String]) -> CheckVerdict {
    let reasons = errors.join("; ");
    match errors.len() {
        0 => CheckVerdict::Passed(summary.to_owned()),
        failed if failed < members => CheckVerdict::Degraded(format!(
            "{summary}; {failed} of {members} members cannot serve: {reasons}"
        )),
        _ => CheckVerdict::Failed(reasons),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_proves_a_quorum() {
        let errors = |count: usize| vec!["in etcd at http://a/: refused".to_owned(); count];
        for (failed, expected) in [
            (0, CheckVerdict::Passed("summary".into())),
            (
                1,
                CheckVerdict::Degraded(
                    "summary; 1 of 2 members cannot serve: in etcd at http://a/: refused".into(),
                ),
            ),
            (
                2,
                CheckVerdict::Failed(
                    "in etcd at http://a/: refused; in etcd at http://a/: refused".into(),
                ),
            ),
        ] {
            assert_eq!(verdict("summary", 2, &errors(failed)), expected);
        }
    }
}
