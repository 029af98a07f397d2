//! Which of etcd's two APIs is chosen, and which domain, where nobody said.

use crate::support::daemon::Highhock;
use crate::support::etcd::{Etcd, Release};
use crate::support::eventually;
use crate::{PATIENCE, becomes, key, named, offering, record};

const BOTH: &str = "etcd answers both of its APIs, and CoreDNS reads v3 only";

/// In the form that SkyDNS keeps it in.
const CONFIG: &str = r#"{"dns_addr":"127.0.0.1:5354","domain":"highhock.local.","ttl":3600}"#;

#[test]
fn an_etcd_with_both_apis_and_no_keys_is_spoken_to_by_v2_and_it_is_said_who_reads_what() {
    let etcd = Etcd::start();
    // Keys elsewhere are no reason for v3.
    etcd.v3().put("/skydnsx/local", "{}", None);
    let highhock = Highhock::new(&etcd.url());
    let daemon = highhock.start();
    daemon.says(&["NOTICE", "etcd is spoken to", "v2", "v3 holds nothing under /skydns"]);
    daemon.says(&["NOTICE", BOTH, "v2"]);
    let name = named("both");
    let container = offering(&name);
    becomes(&etcd, &key(&name), &record(container.published("80/tcp")));
    assert_eq!(etcd.v3().get(&format!("/{}", key(&name))), None);
    let check = String::from_utf8(highhock.output(&["check"]).stdout).unwrap();
    assert!(check.contains("CoreDNS reads v3 only"), "{check}");
}

#[test]
fn an_etcd_with_both_apis_and_keys_in_v3_is_spoken_to_by_v3() {
    let etcd = Etcd::start();
    etcd.v3().put("/skydns/local/elsewhere/static", r#"{"host":"10.77.66.99"}"#, None);
    let daemon = Highhock::new(&etcd.url()).start();
    daemon.says(&["NOTICE", "etcd is spoken to", "v3", "skydns/local/elsewhere/static"]);
    daemon.says(&["NOTICE", BOTH, "v3"]);
    let name = named("held");
    let container = offering(&name);
    becomes_in_v3(&etcd, &key(&name), &record(container.published("80/tcp")));
    assert_eq!(etcd.get(&key(&name)), None);
}

#[test]
fn an_etcd_of_today_is_spoken_to_by_v3() {
    let Some(etcd) = Etcd::start_release(Release::V3_6) else { return };
    let daemon = Highhock::new(&etcd.url()).start();
    daemon.says(&["NOTICE", "etcd is spoken to", "v3", "does not answer the v2 keys API"]);
    let name = named("today");
    let container = offering(&name);
    becomes_in_v3(&etcd, &key(&name), &record(container.published("80/tcp")));
    assert_eq!(daemon.lines_with(&[BOTH]).len(), 0);
}

#[test]
fn without_v2_v3_is_spoken_even_where_it_is_empty() {
    let etcd = Etcd::start_with(&["--enable-v2=false"]);
    let daemon = Highhock::new(&etcd.url()).start();
    daemon.says(&["NOTICE", "etcd is spoken to", "v3", "does not answer the v2 keys API"]);
    assert_eq!(daemon.lines_with(&[BOTH]).len(), 0);
}

#[test]
fn skydnss_configuration_names_the_domain_in_v2() {
    let etcd = Etcd::start();
    etcd.put("skydns/config", CONFIG, None);
    let daemon = Highhock::new(&etcd.url()).start();
    daemon.says(&["etcd is spoken to", "v2", "highhock.local", "skydns configuration in etcd"]);
    let name = named("configured");
    let container = offering(&name);
    let ours = record(container.published("80/tcp"));
    becomes(&etcd, &format!("skydns/local/highhock/{name}"), &ours);
    assert_eq!(etcd.get(&key(&name)), None);
    assert_eq!(etcd.get("skydns/config").unwrap().value, CONFIG);
}

#[test]
fn skydnss_configuration_names_the_domain_in_v3() {
    let etcd = Etcd::start();
    etcd.v3().put("/skydns/config", CONFIG, None);
    let daemon = Highhock::new(&etcd.url()).start();
    daemon.says(&["etcd is spoken to", "v3", "highhock.local", "skydns configuration in etcd"]);
    let name = named("configured");
    let container = offering(&name);
    let ours = record(container.published("80/tcp"));
    becomes_in_v3(&etcd, &format!("skydns/local/highhock/{name}"), &ours);
    assert_eq!(etcd.v3().get("/skydns/config").unwrap().value, CONFIG);
}

#[test]
fn a_domain_that_was_set_stands_above_skydnss_configuration() {
    let etcd = Etcd::start();
    etcd.put("skydns/config", CONFIG, None);
    let highhock = Highhock::new(&etcd.url()).flag("--skydns-domain", "set.local");
    let daemon = highhock.start();
    daemon.says(&["etcd is spoken to", "set.local", "skydns.domain"]);
    let name = named("set");
    let container = offering(&name);
    let ours = record(container.published("80/tcp"));
    becomes(&etcd, &format!("skydns/local/set/{name}"), &ours);
}

#[test]
fn a_configuration_that_names_no_usable_domain_is_told_and_the_default_holds() {
    let etcd = Etcd::start();
    etcd.put("skydns/config", r#"{"domain":"no..domain"}"#, None);
    let daemon = Highhock::new(&etcd.url()).start();
    daemon.says(&["WARNING", "no domain that can be used"]);
    let name = named("unusable");
    let container = offering(&name);
    becomes(&etcd, &key(&name), &record(container.published("80/tcp")));
}

/// As [`becomes`], in v3; the key is without its leading slash there, too.
#[track_caller]
fn becomes_in_v3(etcd: &Etcd, key: &str, value: &str) {
    let (v3, key) = (etcd.v3(), format!("/{key}"));
    eventually(&format!("{value} at {key}"), PATIENCE, || {
        (v3.get(&key)?.value == value).then_some(())
    });
}
