//! From a name to the records that answer for it, by CoreDNS's rules.

use std::sync::Arc;

use hickory_proto::rr::Name;

use super::zone_names::{Domain, Place};
use crate::zone::Zone;
use crate::zone::record::Published;

/// Nothing is at a name, and nothing below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoSuchName;

/// What a lookup is after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Records with a host.
    Hosts,
    /// Those, and records with nothing but a text.
    Texts,
}

/// Where names are looked up.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) zone: Zone,
    pub(super) domain: Domain,
}

impl Names {
    /// The records below a name, at any depth; where there is none, the one at the
    /// name itself. Only those of the group that holds there.
    pub(super) fn below_or_at(
        &self,
        name: &Name,
        wanted: Wanted,
    ) -> Result<Vec<Arc<Published>>, NoSuchName> {
        let place = self.domain.place(name).ok_or(NoSuchName)?;
        let mut found = self.zone.below(&place.key);
        if found.is_empty() {
            found.extend(self.zone.at(&place.key));
        }
        chosen(found, &place, wanted)
    }

    /// The record at a name, none of those below it.
    pub(super) fn at(&self, name: &Name) -> Result<Vec<Arc<Published>>, NoSuchName> {
        let place = self.domain.place(name).ok_or(NoSuchName)?;
        chosen(self.zone.at(&place.key).into_iter().collect(), &place, Wanted::Hosts)
    }

    /// As [`Self::below_or_at`], for a question for addresses: the domain's own name
    /// has those published at `apex.dns` in it, where there are any.
    pub(super) fn for_addresses(&self, name: &Name) -> Result<Vec<Arc<Published>>, NoSuchName> {
        if *name == self.domain.apex
            && let Ok(found) = self.below_or_at(&self.domain.apex_records, Wanted::Hosts)
        {
            return Ok(found);
        }
        self.below_or_at(name, Wanted::Hosts)
    }

    /// Whether there is such a name. The domain's own always is.
    pub(super) fn exists(&self, name: &Name) -> bool {
        let is_there = |place: Place| self.zone.has_at_or_below(&place.key);
        *name == self.domain.apex || self.domain.place(name).is_some_and(is_there)
    }
}

fn chosen(
    mut found: Vec<Arc<Published>>,
    place: &Place,
    wanted: Wanted,
) -> Result<Vec<Arc<Published>>, NoSuchName> {
    if found.is_empty() {
        return Err(NoSuchName);
    }
    found.retain(|published| {
        let answers = published.has_host() || wanted == Wanted::Texts && !published.text.is_empty();
        answers && place.admits(&published.key)
    });
    Ok(of_the_group(found))
}

/// The records with the group of the shortest key, and those without a group. Where
/// keys of that length disagree about the group, it holds for none.
///
/// A shorter key without a group ends the search for the shortest, and those behind
/// it never disagree: so CoreDNS counts.
fn of_the_group(found: Vec<Arc<Published>>) -> Vec<Arc<Published>> {
    let Some(first) = found.first() else { return found };
    let depth = |published: &Published| published.key.matches('/').count();
    let (mut group, mut shortest) = (first.group.as_str(), depth(first));
    let mut counted = 0;
    for published in &found {
        counted += 1;
        if depth(published) >= shortest {
            continue;
        }
        if published.group.is_empty() {
            break;
        }
        (group, shortest) = (published.group.as_str(), depth(published));
    }
    if group.is_empty() {
        return found;
    }
    let disagrees = |published: &Arc<Published>| {
        depth(published) == shortest && !published.group.is_empty() && published.group != group
    };
    if found.iter().take(counted).any(disagrees) {
        return found;
    }
    let holds =
        |published: &&Arc<Published>| published.group.is_empty() || published.group == group;
    found.iter().filter(holds).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::test_zone::{self, name};

    /// Records by their path, with their group.
    fn names(records: &[(&str, &str)]) -> Names {
        let valued = records
            .iter()
            .map(|(path, group)| (*path, format!(r#"{{"host":"10.0.0.1","group":"{group}"}}"#)));
        let valued = valued.collect::<Vec<_>>();
        let records = valued.iter().map(|(path, value)| (*path, value.as_str()));
        test_zone::names(&records.collect::<Vec<_>>())
    }

    fn found(names: &Names, text: &str) -> Vec<String> {
        let found = names.below_or_at(&name(text), Wanted::Hosts).expect("a name that is there");
        let short = |key: &str| key.replace("skydns/local/skydns/", "");
        found.iter().map(|published| short(&published.key)).collect()
    }

    #[test]
    fn a_name_is_answered_from_all_that_is_below_it_at_any_depth() {
        let names = names(&[("httpd/a", ""), ("httpd/b/c", ""), ("httpdx/a", "")]);
        assert_eq!(found(&names, "httpd"), ["httpd/a", "httpd/b/c"]);
        assert_eq!(found(&names, "b.httpd"), ["httpd/b/c"]);
    }

    #[test]
    fn a_record_with_others_below_it_is_hidden_by_them() {
        let names = names(&[("httpd", ""), ("httpd/a", "")]);
        assert_eq!(found(&names, "httpd"), ["httpd/a"]);
    }

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        let names = names(&[("httpd/a/x", ""), ("httpd/b/x", ""), ("httpd/b/y", "")]);
        assert_eq!(found(&names, "x.*.httpd"), ["httpd/a/x", "httpd/b/x"]);
        assert_eq!(found(&names, "any.httpd"), ["httpd/a/x", "httpd/b/x", "httpd/b/y"]);
        assert_eq!(found(&names, "*.x.a.httpd"), [""; 0]);
    }

    #[test]
    fn a_name_with_nothing_at_or_below_it_is_no_name() {
        let names = names(&[("httpd/a", "")]);
        let look = |text| names.below_or_at(&name(text), Wanted::Hosts).map(|found| found.len());
        assert_eq!(look("http"), Err(NoSuchName));
        assert_eq!(look("x.a.httpd"), Err(NoSuchName));
        assert_eq!(look("*.http"), Err(NoSuchName));
    }

    #[test]
    fn the_group_of_the_shortest_key_holds_and_those_without_one_always_do() {
        let names = names(&[("d/a", "g1"), ("d/s/b", "g2"), ("d/s/c", "g1"), ("d/s/d", "")]);
        assert_eq!(found(&names, "d"), ["d/a", "d/s/c", "d/s/d"]);
    }

    #[test]
    fn shortest_keys_that_disagree_make_no_group() {
        let names = names(&[("d/a", "g1"), ("d/b", "g2"), ("d/s/c", "g1")]);
        assert_eq!(found(&names, "d"), ["d/a", "d/b", "d/s/c"]);
    }

    #[test]
    fn a_group_on_a_shorter_key_that_comes_later_holds() {
        let names = names(&[("d/a/x", "g1"), ("d/b", "g2")]);
        assert_eq!(found(&names, "d"), ["d/b"]);
    }
}
