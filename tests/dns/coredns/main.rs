//! What DNS servers make of the records that HighHock keeps in etcd, asked as any
//! client would ask them: of records written by the suite itself, and of those that
//! the built daemon writes for real containers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test is to panic")]

mod publish;
mod scenarios;
mod servers;
#[path = "../../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use publish::{DOMAIN, Handwritten, Publisher, Service};
use servers::Machines;
use support::cluster::Cluster;
use support::dns::{CoreDns, CoreDnsOptions, dig};
use support::etcd::{Etcd, Release};
use support::eventually;

/// Runs a scenario with CoreDNS on an etcd of this release, the records written by
/// the suite itself.
fn by_hand(release: Release, scenario: fn(&mut Handwritten, &CoreDns)) {
    with_coredns(release, |etcd, dns| scenario(&mut Handwritten::new(etcd.v3()), dns));
}

/// The same, the records written by HighHock for containers.
fn by_highhock(release: Release, scenario: fn(&mut Machines, &CoreDns)) {
    with_coredns(release, |etcd, dns| scenario(&mut Machines::new(etcd, release), dns));
}

fn with_coredns(release: Release, scenario: impl FnOnce(&Etcd, &CoreDns)) {
    let Some(etcd) = Etcd::start_release(release) else { return };
    let Some(dns) = CoreDns::start(&CoreDnsOptions::new(DOMAIN, &[etcd.url()])) else { return };
    scenario(&etcd, &dns);
}

/// A test a scenario and release, the records written so.
macro_rules! on_every_release {
    ($written:ident: $($scenario:ident)*) => {
        mod $written {
            mod on_etcd_3_4 {
                $(#[test]
                fn $scenario() {
                    crate::$written(crate::Release::V3_4, crate::scenarios::$scenario);
                })*
            }

            mod on_etcd_3_6 {
                $(#[test]
                fn $scenario() {
                    crate::$written(crate::Release::V3_6, crate::scenarios::$scenario);
                })*
            }
        }
    };
}

on_every_release! {
    by_hand:
    a_flat_record_answers_a_and_srv
    an_ipv6_record_answers_aaaa
    a_host_name_answers_a_cname_and_what_it_leads_to
    a_host_name_elsewhere_answers_a_cname
    a_text_is_told_of_a_host_name_and_of_no_address
    replicas_answer_together_and_each_alone
    a_name_of_several_labels_answers_and_so_does_what_is_above_it
    priority_and_weight_come_through
    a_priority_or_weight_of_zero_counts_as_none
    the_group_of_the_shortest_key_wins
    a_withdrawn_record_is_no_name_any_more
    a_withdrawn_replica_leaves_the_others
    the_records_ttl_is_told
}

on_every_release! {
    by_highhock:
    a_flat_record_answers_a_and_srv
    an_ipv6_record_answers_aaaa
    a_host_name_answers_a_cname_and_what_it_leads_to
    a_host_name_elsewhere_answers_a_cname
    a_text_is_told_of_a_host_name_and_of_no_address
    a_text_hides_no_service
    replicas_answer_together_and_each_alone
    a_name_of_several_labels_answers_and_so_does_what_is_above_it
    priority_and_weight_come_through
    a_priority_or_weight_of_zero_counts_as_none
    the_group_of_the_shortest_key_wins
    a_withdrawn_record_is_no_name_any_more
    a_withdrawn_replica_leaves_the_others
    the_last_replica_takes_the_name_along
    the_records_ttl_is_told
}

#[test]
fn coredns_answers_from_a_cluster_that_lost_its_leader() {
    let Some(mut cluster) = Cluster::start(Release::V3_6) else { return };
    let urls: Vec<_> = cluster.members.iter().map(Etcd::url).collect();
    let Some(dns) = CoreDns::start(&CoreDnsOptions::new(DOMAIN, &urls)) else { return };
    let leader = cluster.wait_for_leader();
    let [kept, late] = [Service::flat("kept"), Service::flat("late")];
    let kept_as = Handwritten::new(cluster.members[leader].v3()).publish(&kept);

    cluster.members[leader].kill();
    let next = cluster.wait_for_another_leader(leader);
    let late_as = Handwritten::new(cluster.members[next].v3()).publish(&late);
    for (service, published) in [(kept, kept_as), (late, late_as)] {
        eventually("CoreDNS asks the members that are left", Duration::from_secs(20), || {
            let hosts = dig(dns.port(), &service.question(), "A")?.data("A");
            (hosts == BTreeSet::from([published.host.clone()])).then_some(())
        });
    }
}
