//! CoreDNS with the records that HighHock keeps in etcd, queried like any DNS server. The
//! records are written by the suite itself, and by the built daemon for real containers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

mod publish;
mod scenarios;
mod servers;
#[path = "../../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use publish::{DOMAIN, DirectPublisher, Publisher, Service};
use servers::Machines;
use support::cluster::Cluster;
use support::dns::{CoreDns, CoreDnsOptions, dig};
use support::etcd::{Etcd, Release};
use support::eventually;

/// Runs a scenario with CoreDNS and etcd of this release, with records that the suite writes.
fn published_directly(release: Release, scenario: fn(&mut DirectPublisher, &CoreDns)) {
    with_coredns(release, |etcd, dns| scenario(&mut DirectPublisher::new(etcd.v3()), dns));
}

/// Runs a scenario with records that HighHock writes for containers.
fn published_by_highhock(release: Release, scenario: fn(&mut Machines, &CoreDns)) {
    with_coredns(release, |etcd, dns| scenario(&mut Machines::new(etcd, release), dns));
}

fn with_coredns(release: Release, scenario: impl FnOnce(&Etcd, &CoreDns)) {
    let Some(etcd) = Etcd::start_release(release) else { return };
    let Some(dns) = CoreDns::start(&CoreDnsOptions::new(DOMAIN, &[etcd.url()])) else { return };
    scenario(&etcd, &dns);
}

/// Defines one test per scenario and release, for one kind of publisher.
macro_rules! on_every_release {
    ($publisher:ident: $($scenario:ident)*) => {
        mod $publisher {
            mod on_etcd_3_4 {
                $(#[test]
                fn $scenario() {
                    crate::$publisher(crate::Release::V3_4, crate::scenarios::$scenario);
                })*
            }

            mod on_etcd_3_6 {
                $(#[test]
                fn $scenario() {
                    crate::$publisher(crate::Release::V3_6, crate::scenarios::$scenario);
                })*
            }
        }
    };
}

on_every_release! {
    published_directly:
    flat_record_answers_a_and_srv
    ipv6_record_answers_aaaa
    host_name_answers_cname_and_its_target
    external_host_name_answers_cname
    text_is_answered_for_host_names_but_not_addresses
    replicas_answer_together_and_individually
    multi_label_name_and_its_parent_answer
    priority_and_weight_are_preserved
    zero_priority_and_weight_use_the_defaults
    group_of_the_shortest_key_wins
    withdrawn_record_is_nxdomain
    withdrawing_one_replica_keeps_the_others
    answer_has_the_ttl_of_the_record
}

on_every_release! {
    published_by_highhock:
    flat_record_answers_a_and_srv
    ipv6_record_answers_aaaa
    host_name_answers_cname_and_its_target
    external_host_name_answers_cname
    text_is_answered_for_host_names_but_not_addresses
    text_does_not_hide_the_service
    replicas_answer_together_and_individually
    multi_label_name_and_its_parent_answer
    priority_and_weight_are_preserved
    zero_priority_and_weight_use_the_defaults
    group_of_the_shortest_key_wins
    withdrawn_record_is_nxdomain
    withdrawing_one_replica_keeps_the_others
    withdrawing_the_last_replica_removes_the_name
    answer_has_the_ttl_of_the_record
}

#[test]
fn coredns_answers_after_the_cluster_loses_its_leader() {
    let Some(mut cluster) = Cluster::start(Release::V3_6) else { return };
    let urls: Vec<_> = cluster.members.iter().map(Etcd::url).collect();
    let Some(dns) = CoreDns::start(&CoreDnsOptions::new(DOMAIN, &urls)) else { return };
    let leader = cluster.wait_for_leader();
    let [kept, late] = [Service::flat("kept"), Service::flat("late")];
    let kept_as = DirectPublisher::new(cluster.members[leader].v3()).publish(&kept);

    cluster.members[leader].kill();
    let next = cluster.wait_for_another_leader(leader);
    let late_as = DirectPublisher::new(cluster.members[next].v3()).publish(&late);
    for (service, published) in [(kept, kept_as), (late, late_as)] {
        eventually("CoreDNS queries the remaining members", Duration::from_secs(20), || {
            let hosts = dig(dns.port(), &service.query_name(), "A")?.data("A");
            (hosts == BTreeSet::from([published.host.clone()])).then_some(())
        });
    }
}
