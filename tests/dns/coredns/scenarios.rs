//! What a DNS server is asked once records are there, whoever brought them.

use std::collections::BTreeSet;

use super::publish::{DOMAIN, Published, Publisher, Service, TTL};
use super::servers::Machines;
use super::support::dns::{CoreDns, Reply, Target};

/// What the server makes of a record that names none.
const USUAL_PRIORITY: u16 = 10;

/// What one record alone weighs in the server's answer, of a hundred.
const WHOLE_WEIGHT: u16 = 100;

pub fn a_flat_record_answers_a_and_srv(publisher: &mut impl Publisher, dns: &CoreDns) {
    let service = Service::flat("httpd");
    let published = publisher.publish(&service);

    let reply = dns.dig(&service.question(), "A");
    assert_eq!((reply.status.as_str(), reply.data("A")), ("NOERROR", hosts(&[&published])));
    assert_eq!(dns.dig(&service.question(), "SRV").targets(), alone(&published));
    assert_no_data(&dns.dig(&service.question(), "AAAA"));
    assert_no_data(&dns.dig(&service.question(), "TXT"));
}

pub fn an_ipv6_record_answers_aaaa(publisher: &mut impl Publisher, dns: &CoreDns) {
    let service = Service { host: Some("fd00::7".into()), ..Service::flat("httpd") };
    let published = publisher.publish(&service);

    assert_eq!(dns.dig(&service.question(), "AAAA").data("AAAA"), hosts(&[&published]));
    assert_eq!(dns.dig(&service.question(), "SRV").targets(), alone(&published));
    assert_no_data(&dns.dig(&service.question(), "A"));
}

pub fn a_host_name_answers_a_cname_and_what_it_leads_to(
    publisher: &mut impl Publisher,
    dns: &CoreDns,
) {
    let machine = publisher.publish(&Service::flat("machine"));
    let service = Service { host: Some(format!("machine.{DOMAIN}")), ..Service::flat("httpd") };
    let published = publisher.publish(&service);

    let reply = dns.dig(&service.question(), "A");
    assert_eq!(reply.data("CNAME"), BTreeSet::from([format!("{}.", published.host)]));
    assert_eq!(reply.data("A"), hosts(&[&machine]));
    let led_to = Target { host: machine.host, ..target(&published, USUAL_PRIORITY, WHOLE_WEIGHT) };
    assert_eq!(dns.dig(&service.question(), "SRV").targets(), BTreeSet::from([led_to]));
}

pub fn a_host_name_elsewhere_answers_a_cname(publisher: &mut impl Publisher, dns: &CoreDns) {
    let service = Service { host: Some("machine.example.net".into()), ..Service::flat("httpd") };
    let published = publisher.publish(&service);

    let reply = dns.dig(&service.question(), "A");
    assert_eq!(reply.data("CNAME"), BTreeSet::from(["machine.example.net.".to_owned()]));
    assert_eq!(dns.dig(&service.question(), "SRV").targets(), alone(&published));
}

/// With an address CoreDNS tells no text; with a host name it tells nothing else.
pub fn a_text_is_told_of_a_host_name_and_of_no_address(
    publisher: &mut impl Publisher,
    dns: &CoreDns,
) {
    let told = Some("made of clay".to_owned());
    let address = Service { text: told.clone(), ..Service::flat("httpd") };
    let name = Service { host: Some("machine.example.net".into()), ..Service::flat("named") };
    let name = Service { text: told.clone(), ..name };
    let published = publisher.publish(&address);
    publisher.publish(&name);

    assert_eq!(dns.dig(&address.question(), "A").data("A"), hosts(&[&published]));
    assert_no_data(&dns.dig(&address.question(), "TXT"));
    assert_eq!(dns.dig(&name.question(), "TXT").texts(), told.into_iter().collect());
    assert_no_data(&dns.dig(&name.question(), "A"));
}

/// Whose container tells a text need not know that its host publishes a name.
pub fn a_text_hides_no_service(machines: &mut Machines, dns: &CoreDns) {
    let name = "machine.example.net".to_owned();
    machines.add(&name, "flat");
    let text = Some("made of clay".to_owned());
    let service = Service { host: Some(name.clone()), text, ..Service::flat("httpd") };
    let published = machines.publish(&service);

    let reply = dns.dig(&service.question(), "A");
    assert_eq!(reply.data("CNAME"), BTreeSet::from([format!("{name}.")]));
    assert_eq!(dns.dig(&service.question(), "SRV").targets(), alone(&published));
    machines.says(&["left out", "highhock.httpd.text=made of clay", &name]);
}

pub fn replicas_answer_together_and_each_alone(publisher: &mut impl Publisher, dns: &CoreDns) {
    let replicas = [1, 2, 3].map(|number| publisher.publish(&Service::replica("httpd", number)));
    let all: Vec<&Published> = replicas.iter().collect();
    let question = Service::flat("httpd").question();

    assert_eq!(dns.dig(&question, "A").data("A"), hosts(&all));
    let third = WHOLE_WEIGHT / 3;
    let targets = all.iter().map(|one| target(one, USUAL_PRIORITY, third)).collect();
    assert_eq!(dns.dig(&question, "SRV").targets(), targets);
    for one in all {
        assert_eq!(dns.dig(&one.own_name, "A").data("A"), hosts(&[one]));
        assert_eq!(dns.dig(&one.own_name, "SRV").targets(), alone(one));
    }
}

pub fn a_name_of_several_labels_answers_and_so_does_what_is_above_it(
    publisher: &mut impl Publisher,
    dns: &CoreDns,
) {
    let [first, second] = [Service::flat("v1.api.shop"), Service::flat("v2.api.shop")];
    let published = [publisher.publish(&first), publisher.publish(&second)];
    let other = publisher.publish(&Service::flat("httpd"));

    assert_eq!(dns.dig(&first.question(), "A").data("A"), hosts(&[&published[0]]));
    assert_eq!(dns.dig(&second.question(), "SRV").targets(), alone(&published[1]));
    for above in ["api.shop", "shop"] {
        let reply = dns.dig(&Service::flat(above).question(), "A");
        assert_eq!(reply.data("A"), hosts(&[&published[0], &published[1]]), "{above}");
    }
    let all = hosts(&[&published[0], &published[1], &other]);
    assert_eq!(dns.dig(DOMAIN, "A").data("A"), all);
    assert_no_such_name(&dns.dig(&Service::flat("v3.api.shop").question(), "A"));
}

pub fn priority_and_weight_come_through(publisher: &mut impl Publisher, dns: &CoreDns) {
    let mut publish = |number, priority, weight| {
        let service = Service::replica("httpd", number);
        publisher.publish(&Service { priority: Some(priority), weight: Some(weight), ..service })
    };
    let [heavy, light, spare] = [publish(1, 5, 30), publish(2, 5, 10), publish(3, 20, 7)];

    let expected = [target(&heavy, 5, 75), target(&light, 5, 25), target(&spare, 20, WHOLE_WEIGHT)];
    let reply = dns.dig(&Service::flat("httpd").question(), "SRV");
    assert_eq!(reply.targets(), BTreeSet::from(expected));
}

pub fn a_priority_or_weight_of_zero_counts_as_none(publisher: &mut impl Publisher, dns: &CoreDns) {
    let service = Service { priority: Some(0), weight: Some(0), ..Service::flat("httpd") };
    let published = publisher.publish(&service);

    assert_eq!(dns.dig(&service.question(), "SRV").targets(), alone(&published));
}

pub fn the_group_of_the_shortest_key_wins(publisher: &mut impl Publisher, dns: &CoreDns) {
    let mut publish = |name: &str, group: Option<&str>| {
        publisher.publish(&Service { group: group.map(Into::into), ..Service::flat(name) })
    };
    let near = publish("near.httpd", Some("one"));
    let far = publish("a.far.httpd", Some("two"));
    let free = publish("b.far.httpd", None);

    let together = dns.dig(&Service::flat("httpd").question(), "A");
    assert_eq!(together.data("A"), hosts(&[&near, &free]));
    let apart = dns.dig(&Service::flat("far.httpd").question(), "A");
    assert_eq!(apart.data("A"), hosts(&[&far, &free]));
}

pub fn a_withdrawn_record_is_no_name_any_more(publisher: &mut impl Publisher, dns: &CoreDns) {
    let service = Service::flat("api.httpd");
    let published = publisher.publish(&service);
    assert_eq!(dns.dig(&service.question(), "A").data("A"), hosts(&[&published]));

    publisher.withdraw(&published);
    for kind in ["A", "AAAA", "SRV", "TXT"] {
        assert_no_such_name(&dns.dig(&service.question(), kind));
        assert_no_such_name(&dns.dig(&Service::flat("httpd").question(), kind));
    }
}

pub fn a_withdrawn_replica_leaves_the_others(publisher: &mut impl Publisher, dns: &CoreDns) {
    let replicas = [1, 2, 3].map(|number| publisher.publish(&Service::replica("httpd", number)));
    let question = Service::flat("httpd").question();

    publisher.withdraw(&replicas[1]);
    let left = [&replicas[0], &replicas[2]];
    assert_eq!(dns.dig(&question, "A").data("A"), hosts(&left));
    assert_eq!(dns.dig(&question, "SRV").targets().len(), left.len());
    assert_no_such_name(&dns.dig(&replicas[1].own_name, "A"));
}

pub fn the_last_replica_takes_the_name_along(publisher: &mut impl Publisher, dns: &CoreDns) {
    let replicas = [1, 2].map(|number| publisher.publish(&Service::replica("httpd", number)));
    let question = Service::flat("httpd").question();

    publisher.withdraw(&replicas[0]);
    assert_eq!(dns.dig(&question, "A").data("A"), hosts(&[&replicas[1]]));
    publisher.withdraw(&replicas[1]);
    for kind in ["A", "SRV"] {
        assert_no_such_name(&dns.dig(&question, kind));
        assert_no_such_name(&dns.dig(DOMAIN, kind));
    }
}

pub fn the_records_ttl_is_told(publisher: &mut impl Publisher, dns: &CoreDns) {
    let service = Service::flat("httpd");
    publisher.publish(&service);

    for kind in ["A", "SRV"] {
        let reply = dns.dig(&service.question(), kind);
        let ttls: Vec<u64> = reply.answer.iter().map(|row| row.ttl.into()).collect();
        // The lease may be the shorter of the two by now.
        assert!(matches!(ttls[..], [ttl] if (TTL - 20..=TTL).contains(&ttl)), "{reply:?}");
    }
}

fn hosts(published: &[&Published]) -> BTreeSet<String> {
    published.iter().map(|one| one.host.clone()).collect()
}

fn target(published: &Published, priority: u16, weight: u16) -> Target {
    Target { priority, weight, port: published.port, host: published.host.clone() }
}

fn alone(published: &Published) -> BTreeSet<Target> {
    BTreeSet::from([target(published, USUAL_PRIORITY, WHOLE_WEIGHT)])
}

#[track_caller]
fn assert_no_data(reply: &Reply) {
    assert_eq!((reply.status.as_str(), reply.answer.len()), ("NOERROR", 0), "{reply:?}");
}

#[track_caller]
fn assert_no_such_name(reply: &Reply) {
    assert_eq!((reply.status.as_str(), reply.answer.len()), ("NXDOMAIN", 0), "{reply:?}");
}
