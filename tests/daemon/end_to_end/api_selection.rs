//! The automatic choice of etcd's API and of the domain.

use crate::support::daemon::Highhock;
use crate::support::etcd::{Etcd, Release};
use crate::support::eventually;
use crate::{TIMEOUT, key, record, run_service, unique_name, wait_for_value};

const BOTH_APIS_WARNING: &str = "etcd answers both of its APIs, and CoreDNS reads v3 only";

/// The key that SkyDNS uses for its configuration.
const SKYDNS_CONFIG: &str =
    r#"{"dns_addr":"127.0.0.1:5354","domain":"highhock.local.","ttl":3600}"#;

#[test]
fn empty_etcd_with_both_apis_uses_v2_and_warns() {
    let etcd = Etcd::start();
    // Keys outside of the prefix do not select v3.
    etcd.v3().put("/skydnsx/local", "{}", None);
    let highhock = Highhock::new(&etcd.url());
    let daemon = highhock.start();
    daemon.wait_for_log(&["NOTICE", "using etcd API", "v2", "v3 holds no key under /skydns"]);
    daemon.wait_for_log(&["NOTICE", BOTH_APIS_WARNING, "v2"]);
    let name = unique_name("both");
    let container = run_service(&name);
    wait_for_value(&etcd, &key(&name), &record(container.published_port("80/tcp")));
    assert_eq!(etcd.v3().get(&format!("/{}", key(&name))), None);
    let check = String::from_utf8(highhock.output(&["check"]).stdout).unwrap();
    assert!(check.contains("CoreDNS reads v3 only"), "{check}");
}

#[test]
fn v3_keys_select_v3() {
    let etcd = Etcd::start();
    etcd.v3().put("/skydns/local/elsewhere/static", r#"{"host":"10.77.66.99"}"#, None);
    let daemon = Highhock::new(&etcd.url()).start();
    daemon.wait_for_log(&["NOTICE", "using etcd API", "v3", "skydns/local/elsewhere/static"]);
    daemon.wait_for_log(&["NOTICE", BOTH_APIS_WARNING, "v3"]);
    let name = unique_name("held");
    let container = run_service(&name);
    wait_for_v3_value(&etcd, &key(&name), &record(container.published_port("80/tcp")));
    assert_eq!(etcd.get(&key(&name)), None);
}

#[test]
fn current_etcd_uses_v3() {
    let Some(etcd) = Etcd::start_release(Release::V3_6) else { return };
    let daemon = Highhock::new(&etcd.url()).start();
    daemon.wait_for_log(&["NOTICE", "using etcd API", "v3", "does not serve the v2 keys API"]);
    let name = unique_name("today");
    let container = run_service(&name);
    wait_for_v3_value(&etcd, &key(&name), &record(container.published_port("80/tcp")));
    assert_eq!(daemon.lines_with(&[BOTH_APIS_WARNING]).len(), 0);
}

#[test]
fn empty_etcd_without_v2_uses_v3() {
    let etcd = Etcd::start_with(&["--enable-v2=false"]);
    let daemon = Highhock::new(&etcd.url()).start();
    daemon.wait_for_log(&["NOTICE", "using etcd API", "v3", "does not serve the v2 keys API"]);
    assert_eq!(daemon.lines_with(&[BOTH_APIS_WARNING]).len(), 0);
}

#[test]
fn domain_comes_from_skydns_config_in_v2() {
    let etcd = Etcd::start();
    etcd.put("skydns/config", SKYDNS_CONFIG, None);
    let daemon = Highhock::new(&etcd.url()).start();
    daemon.wait_for_log(&[
        "using etcd API",
        "v2",
        "highhock.local",
        "skydns configuration in etcd",
    ]);
    let name = unique_name("configured");
    let container = run_service(&name);
    let ours = record(container.published_port("80/tcp"));
    wait_for_value(&etcd, &format!("skydns/local/highhock/{name}"), &ours);
    assert_eq!(etcd.get(&key(&name)), None);
    assert_eq!(etcd.get("skydns/config").unwrap().value, SKYDNS_CONFIG);
}

#[test]
fn domain_comes_from_skydns_config_in_v3() {
    let etcd = Etcd::start();
    etcd.v3().put("/skydns/config", SKYDNS_CONFIG, None);
    let daemon = Highhock::new(&etcd.url()).start();
    daemon.wait_for_log(&[
        "using etcd API",
        "v3",
        "highhock.local",
        "skydns configuration in etcd",
    ]);
    let name = unique_name("configured");
    let container = run_service(&name);
    let ours = record(container.published_port("80/tcp"));
    wait_for_v3_value(&etcd, &format!("skydns/local/highhock/{name}"), &ours);
    assert_eq!(etcd.v3().get("/skydns/config").unwrap().value, SKYDNS_CONFIG);
}

#[test]
fn configured_domain_overrides_skydns_config() {
    let etcd = Etcd::start();
    etcd.put("skydns/config", SKYDNS_CONFIG, None);
    let highhock = Highhock::new(&etcd.url()).flag("--skydns-domain", "set.local");
    let daemon = highhock.start();
    daemon.wait_for_log(&["using etcd API", "set.local", "skydns.domain"]);
    let name = unique_name("set");
    let container = run_service(&name);
    let ours = record(container.published_port("80/tcp"));
    wait_for_value(&etcd, &format!("skydns/local/set/{name}"), &ours);
}

#[test]
fn invalid_skydns_config_warns_and_uses_the_default() {
    let etcd = Etcd::start();
    etcd.put("skydns/config", r#"{"domain":"no..domain"}"#, None);
    let daemon = Highhock::new(&etcd.url()).start();
    daemon.wait_for_log(&["WARNING", "ignoring its domain"]);
    let name = unique_name("unusable");
    let container = run_service(&name);
    wait_for_value(&etcd, &key(&name), &record(container.published_port("80/tcp")));
}

/// Like [`becomes`], for v3. The key has no leading slash here either.
#[track_caller]
fn wait_for_v3_value(etcd: &Etcd, key: &str, value: &str) {
    let (v3, key) = (etcd.v3(), format!("/{key}"));
    eventually(&format!("{value} at {key}"), TIMEOUT, || {
        (v3.get(&key)?.value == value).then_some(())
    });
}
