//! How it goes, in one line for a person.

use std::collections::BTreeMap;

use highhock_actors::Vitals;

/// No reason is shown longer than this: the line is one of a list of services.
const LONGEST_REASON: usize = 160;

/// `unanswered`: who does not answer the first questions. `vitals`: what the actors told.
pub(super) fn status(
    unanswered: &BTreeMap<&'static str, String>,
    vitals: Option<&Vitals>,
) -> String {
    let waits: Vec<_> =
        unanswered.iter().map(|(whom, why)| format!("{whom} ({})", cut(why))).collect();
    let waits = waits.join(" and ");
    let Some(vitals) = vitals else {
        return match waits.as_str() {
            "" => "asking docker and etcd".into(),
            _ => format!("waiting for {waits}"),
        };
    };
    let mut parts = Vec::new();
    if let Some(why) = &vitals.docker {
        parts.push(format!("docker does not answer ({})", cut(why)));
    }
    if let Some(why) = &vitals.store {
        parts.push(format!("etcd does not answer ({})", cut(why)));
    }
    if !waits.is_empty() {
        parts.push(format!("the settings read last wait for {waits}"));
    }
    parts.push(records(vitals));
    parts.join("; ")
}

fn records(vitals: &Vitals) -> String {
    let tally = vitals.records;
    let plural = if tally.live == 1 { "" } else { "s" };
    let mut text = format!("{} record{plural} live", tally.live);
    for (count, what) in
        [(tally.pending, "to be written"), (tally.standby, "on standby"), (tally.failed, "failed")]
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
    use highhock_actors::Tally;

    use super::*;

    #[test]
    fn it_says_what_is_missing_before_what_there_is() {
        let none = BTreeMap::new();
        let away = BTreeMap::from([("etcd", "refused".to_owned())]);
        let both = BTreeMap::from([("etcd", "refused".to_owned()), ("docker", "no".to_owned())]);
        let records = Tally { live: 1, pending: 0, standby: 2, failed: 0 };
        let well = Vitals { docker: None, store: None, records };
        let blind = Vitals { docker: Some("no".into()), ..well.clone() };
        let mute = Vitals { store: Some("x".repeat(500)), ..Vitals::default() };
        let cut_off = "x".repeat(LONGEST_REASON);
        for (unanswered, vitals, line) in [
            (&none, None, "asking docker and etcd".to_owned()),
            (&both, None, "waiting for docker (no) and etcd (refused)".to_owned()),
            (&none, Some(&well), "1 record live, 2 on standby".to_owned()),
            (
                &none,
                Some(&blind),
                "docker does not answer (no); 1 record live, 2 on standby".to_owned(),
            ),
            (&none, Some(&mute), format!("etcd does not answer ({cut_off}…); 0 records live")),
            (
                &away,
                Some(&well),
                "the settings read last wait for etcd (refused); 1 record live, 2 on standby"
                    .to_owned(),
            ),
        ] {
            assert_eq!(status(unanswered, vitals), line);
        }
    }
}
