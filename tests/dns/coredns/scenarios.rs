//! The queries and expected responses, independent of the publisher.

use std::collections::BTreeSet;

use super::publish::{DOMAIN, Published, Publisher, Service, TTL};
use super::servers::Machines;
use super::support::dns::{CoreDns, DigResponse, Target};

/// The priority in the response for a record without a priority.
const DEFAULT_PRIORITY: u16 = 10;

/// The sum of the weights of equal priority in a response.
const WHOLE_WEIGHT: u16 = 100;

pub fn flat_record_answers_a_and_srv(publisher: &mut impl Publisher, dns: &CoreDns) {
    let service = Service::flat("httpd");
    let published = publisher.publish(&service);

    let reply = dns.dig(&service.query_name(), "A");
    assert_eq!((reply.status.as_str(), reply.data("A")), ("NOERROR", hosts(&[&published])));
    assert_eq!(dns.dig(&service.query_name(), "SRV").targets(), only_target(&published));
    assert_no_data(&dns.dig(&service.query_name(), "AAAA"));
    assert_no_data(&dns.dig(&service.query_name(), "TXT"));
}

pub fn ipv6_record_answers_aaaa(publisher: &mut impl Publisher, dns: &CoreDns) {
    let service = Service { host: Some("fd00::7".into()), ..Service::flat("httpd") };
    let published = publisher.publish(&service);

    assert_eq!(dns.dig(&service.query_name(), "AAAA").data("AAAA"), hosts(&[&published]));
    assert_eq!(dns.dig(&service.query_name(), "SRV").targets(), only_target(&published));
    assert_no_data(&dns.dig(&service.query_name(), "A"));
}

pub fn host_name_answers_cname_and_its_target(publisher: &mut impl Publisher, dns: &CoreDns) {
    let machine = publisher.publish(&Service::flat("machine"));
    let service = Service { host: Some(format!("machine.{DOMAIN}")), ..Service::flat("httpd") };
    let published = publisher.publish(&service);

    let reply = dns.dig(&service.query_name(), "A");
    assert_eq!(reply.data("CNAME"), BTreeSet::from([format!("{}.", published.host)]));
    assert_eq!(reply.data("A"), hosts(&[&machine]));
    let resolved_target =
        Target { host: machine.host, ..target(&published, DEFAULT_PRIORITY, WHOLE_WEIGHT) };
    assert_eq!(dns.dig(&service.query_name(), "SRV").targets(), BTreeSet::from([resolved_target]));
}

pub fn external_host_name_answers_cname(publisher: &mut impl Publisher, dns: &CoreDns) {
    let service = Service { host: Some("machine.example.net".into()), ..Service::flat("httpd") };
    let published = publisher.publish(&service);

    let reply = dns.dig(&service.query_name(), "A");
    assert_eq!(reply.data("CNAME"), BTreeSet::from(["machine.example.net.".to_owned()]));
    assert_eq!(dns.dig(&service.query_name(), "SRV").targets(), only_target(&published));
}

/// CoreDNS returns no text of a record with an address, and only the text of a record with a
/// host name.
pub fn text_is_answered_for_host_names_but_not_addresses(
    publisher: &mut impl Publisher,
    dns: &CoreDns,
) {
    let text = Some("made of clay".to_owned());
    let address = Service { text: text.clone(), ..Service::flat("httpd") };
    let name = Service { host: Some("machine.example.net".into()), ..Service::flat("named") };
    let name = Service { text: text.clone(), ..name };
    let published = publisher.publish(&address);
    publisher.publish(&name);

    assert_eq!(dns.dig(&address.query_name(), "A").data("A"), hosts(&[&published]));
    assert_no_data(&dns.dig(&address.query_name(), "TXT"));
    assert_eq!(dns.dig(&name.query_name(), "TXT").texts(), text.into_iter().collect());
    assert_no_data(&dns.dig(&name.query_name(), "A"));
}

/// A text in a container's labels must not hide the service on a host that publishes a name.
pub fn text_does_not_hide_the_service(machines: &mut Machines, dns: &CoreDns) {
    let name = "machine.example.net".to_owned();
    machines.add(&name, "flat");
    let text = Some("made of clay".to_owned());
    let service = Service { host: Some(name.clone()), text, ..Service::flat("httpd") };
    let published = machines.publish(&service);

    let reply = dns.dig(&service.query_name(), "A");
    assert_eq!(reply.data("CNAME"), BTreeSet::from([format!("{name}.")]));
    assert_eq!(dns.dig(&service.query_name(), "SRV").targets(), only_target(&published));
    machines.wait_for_log(&["skipped", "highhock.httpd.text=made of clay", &name]);
}

pub fn replicas_answer_together_and_individually(publisher: &mut impl Publisher, dns: &CoreDns) {
    let replicas = [1, 2, 3].map(|number| publisher.publish(&Service::replica("httpd", number)));
    let all: Vec<&Published> = replicas.iter().collect();
    let query_name = Service::flat("httpd").query_name();

    assert_eq!(dns.dig(&query_name, "A").data("A"), hosts(&all));
    let third = WHOLE_WEIGHT / 3;
    let targets = all.iter().map(|one| target(one, DEFAULT_PRIORITY, third)).collect();
    assert_eq!(dns.dig(&query_name, "SRV").targets(), targets);
    for one in all {
        assert_eq!(dns.dig(&one.own_name, "A").data("A"), hosts(&[one]));
        assert_eq!(dns.dig(&one.own_name, "SRV").targets(), only_target(one));
    }
}

pub fn multi_label_name_and_its_parent_answer(publisher: &mut impl Publisher, dns: &CoreDns) {
    let [first, second] = [Service::flat("v1.api.shop"), Service::flat("v2.api.shop")];
    let published = [publisher.publish(&first), publisher.publish(&second)];
    let other = publisher.publish(&Service::flat("httpd"));

    assert_eq!(dns.dig(&first.query_name(), "A").data("A"), hosts(&[&published[0]]));
    assert_eq!(dns.dig(&second.query_name(), "SRV").targets(), only_target(&published[1]));
    for above in ["api.shop", "shop"] {
        let reply = dns.dig(&Service::flat(above).query_name(), "A");
        assert_eq!(reply.data("A"), hosts(&[&published[0], &published[1]]), "{above}");
    }
    let all = hosts(&[&published[0], &published[1], &other]);
    assert_eq!(dns.dig(DOMAIN, "A").data("A"), all);
    assert_no_such_name(&dns.dig(&Service::flat("v3.api.shop").query_name(), "A"));
}

pub fn priority_and_weight_are_preserved(publisher: &mut impl Publisher, dns: &CoreDns) {
    let mut publish = |number, priority, weight| {
        let service = Service::replica("httpd", number);
        publisher.publish(&Service { priority: Some(priority), weight: Some(weight), ..service })
    };
    let [heavy, light, spare] = [publish(1, 5, 30), publish(2, 5, 10), publish(3, 20, 7)];

    let expected = [target(&heavy, 5, 75), target(&light, 5, 25), target(&spare, 20, WHOLE_WEIGHT)];
    let reply = dns.dig(&Service::flat("httpd").query_name(), "SRV");
    assert_eq!(reply.targets(), BTreeSet::from(expected));
}

pub fn zero_priority_and_weight_use_the_defaults(publisher: &mut impl Publisher, dns: &CoreDns) {
    let service = Service { priority: Some(0), weight: Some(0), ..Service::flat("httpd") };
    let published = publisher.publish(&service);

    assert_eq!(dns.dig(&service.query_name(), "SRV").targets(), only_target(&published));
}

pub fn group_of_the_shortest_key_wins(publisher: &mut impl Publisher, dns: &CoreDns) {
    let mut publish = |name: &str, group: Option<&str>| {
        publisher.publish(&Service { group: group.map(Into::into), ..Service::flat(name) })
    };
    let near = publish("near.httpd", Some("one"));
    let far = publish("a.far.httpd", Some("two"));
    let free = publish("b.far.httpd", None);

    let together = dns.dig(&Service::flat("httpd").query_name(), "A");
    assert_eq!(together.data("A"), hosts(&[&near, &free]));
    let apart = dns.dig(&Service::flat("far.httpd").query_name(), "A");
    assert_eq!(apart.data("A"), hosts(&[&far, &free]));
}

pub fn withdrawn_record_is_nxdomain(publisher: &mut impl Publisher, dns: &CoreDns) {
    let service = Service::flat("api.httpd");
    let published = publisher.publish(&service);
    assert_eq!(dns.dig(&service.query_name(), "A").data("A"), hosts(&[&published]));

    publisher.withdraw(&published);
    for kind in ["A", "AAAA", "SRV", "TXT"] {
        assert_no_such_name(&dns.dig(&service.query_name(), kind));
        assert_no_such_name(&dns.dig(&Service::flat("httpd").query_name(), kind));
    }
}

pub fn withdrawing_one_replica_keeps_the_others(publisher: &mut impl Publisher, dns: &CoreDns) {
    let replicas = [1, 2, 3].map(|number| publisher.publish(&Service::replica("httpd", number)));
    let query_name = Service::flat("httpd").query_name();

    publisher.withdraw(&replicas[1]);
    let left = [&replicas[0], &replicas[2]];
    assert_eq!(dns.dig(&query_name, "A").data("A"), hosts(&left));
    assert_eq!(dns.dig(&query_name, "SRV").targets().len(), left.len());
    assert_no_such_name(&dns.dig(&replicas[1].own_name, "A"));
}

pub fn withdrawing_the_last_replica_removes_the_name(
    publisher: &mut impl Publisher,
    dns: &CoreDns,
) {
    let replicas = [1, 2].map(|number| publisher.publish(&Service::replica("httpd", number)));
    let query_name = Service::flat("httpd").query_name();

    publisher.withdraw(&replicas[0]);
    assert_eq!(dns.dig(&query_name, "A").data("A"), hosts(&[&replicas[1]]));
    publisher.withdraw(&replicas[1]);
    for kind in ["A", "SRV"] {
        assert_no_such_name(&dns.dig(&query_name, kind));
        assert_no_such_name(&dns.dig(DOMAIN, kind));
    }
}

pub fn answer_has_the_ttl_of_the_record(publisher: &mut impl Publisher, dns: &CoreDns) {
    let service = Service::flat("httpd");
    publisher.publish(&service);

    for kind in ["A", "SRV"] {
        let reply = dns.dig(&service.query_name(), kind);
        let ttls: Vec<u64> = reply.answer.iter().map(|row| row.ttl.into()).collect();
        // The remaining time of the lease may already be shorter than the TTL.
        assert!(matches!(ttls[..], [ttl] if (TTL - 20..=TTL).contains(&ttl)), "{reply:?}");
    }
}

fn hosts(published: &[&Published]) -> BTreeSet<String> {
    published.iter().map(|one| one.host.clone()).collect()
}

fn target(published: &Published, priority: u16, weight: u16) -> Target {
    Target { priority, weight, port: published.port, host: published.host.clone() }
}

fn only_target(published: &Published) -> BTreeSet<Target> {
    BTreeSet::from([target(published, DEFAULT_PRIORITY, WHOLE_WEIGHT)])
}

#[track_caller]
fn assert_no_data(reply: &DigResponse) {
    assert_eq!((reply.status.as_str(), reply.answer.len()), ("NOERROR", 0), "{reply:?}");
}

#[track_caller]
fn assert_no_such_name(reply: &DigResponse) {
    assert_eq!((reply.status.as_str(), reply.answer.len()), ("NXDOMAIN", 0), "{reply:?}");
}
