//! How it goes, in one line for a person.

use std::collections::BTreeMap;

use highhock_actors::status::{RecordsStanding, Standing};

use crate::settings::StoreKind;

/// No reason is shown longer than this: the line is one of a list of services.
const LONGEST_REASON: usize = 160;

/// `unanswered`: who does not answer the first questions. `standing`: of the core, where one
/// runs.
pub(super) fn status(
    unanswered: &BTreeMap<&'static str, String>,
    standing: Option<&Standing>,
    store: StoreKind,
) -> String {
    let Some(standing) = standing else { return waiting(unanswered, store, cut) };
    let mut parts = Vec::new();
    for (whom, trouble) in [("docker", &standing.docker.trouble), ("etcd", &standing.store.trouble)]
    {
        if let Some(why) = trouble {
            parts.push(format!("{whom} does not answer ({})", cut(why)));
        }
    }
    if !unanswered.is_empty() {
        let waits = named(unanswered, cut);
        parts.push(format!("the settings read last wait for {waits}"));
    }
    parts.extend(standing.records.as_ref().map(count));
    parts.join("; ")
}

/// The same, where no core runs, with the reasons as `shown`.
pub(super) fn waiting(
    unanswered: &BTreeMap<&'static str, String>,
    store: StoreKind,
    shown: impl Fn(&str) -> String,
) -> String {
    match unanswered.is_empty() {
        true => format!("asking {}", store.whom_to_ask()),
        false => format!("waiting for {}", named(unanswered, shown)),
    }
}

fn named(unanswered: &BTreeMap<&'static str, String>, shown: impl Fn(&str) -> String) -> String {
    let waits = unanswered.iter().map(|(whom, why)| format!("{whom} ({})", shown(why)));
    waits.collect::<Vec<_>>().join(" and ")
}

fn count(records: &RecordsStanding) -> String {
    let plural = if records.live == 1 { "" } else { "s" };
    let mut text = format!("{} record{plural} live", records.live);
    let standby = records.standby.iter().map(|(_, count)| count).sum();
    for (count, what) in
        [(records.pending, "to be written"), (standby, "on standby"), (records.failed, "failed")]
    {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    text
}

fn cut(reason: &str) -> String {
    match reason.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use highhock_actors::StandbyReason;
    use highhock_actors::status::{DockerStanding, StoreStanding};

    use super::*;

    /// Of a core with one live record and two that stand by.
    fn standing(docker: Option<String>, store: Option<String>) -> Standing {
        Standing {
            docker: DockerStanding { trouble: docker, ..DockerStanding::default() },
            store: StoreStanding { trouble: store, ..StoreStanding::default() },
            records: Some(RecordsStanding {
                live: 1,
                standby: StandbyReason::ALL[..2].iter().map(|reason| (*reason, 1)).collect(),
                ..RecordsStanding::default()
            }),
            ..Standing::default()
        }
    }

    #[test]
    fn it_says_what_is_missing_before_what_there_is() {
        const WELL: &str = "1 record live, 2 on standby";
        let none = BTreeMap::new();
        let away = BTreeMap::from([("etcd", "refused".to_owned())]);
        let both = BTreeMap::from([("etcd", "refused".to_owned()), ("docker", "no".to_owned())]);
        let well = standing(None, None);
        let blind = standing(Some("no".into()), None);
        let mute = standing(None, Some("x".repeat(500)));
        let fallen = Standing { records: None, ..blind.clone() };
        let cut_off = "x".repeat(LONGEST_REASON);
        for (unanswered, standing, line) in [
            (&none, None, "asking docker and etcd".to_owned()),
            (&both, None, "waiting for docker (no) and etcd (refused)".to_owned()),
            (&none, Some(&well), WELL.to_owned()),
            (&none, Some(&blind), format!("docker does not answer (no); {WELL}")),
            (&none, Some(&mute), format!("etcd does not answer ({cut_off}…); {WELL}")),
            (&none, Some(&fallen), "docker does not answer (no)".to_owned()),
            (&away, Some(&well), format!("the settings read last wait for etcd (refused); {WELL}")),
        ] {
            assert_eq!(status(unanswered, standing, StoreKind::Etcd), line);
        }
        assert_eq!(status(&none, None, StoreKind::Standalone), "asking docker");
    }
}
