//! The standalone server queried by common programs: `dig`, `kdig`, glibc's resolver by
//! `getent`, and the resolver of a container. All use port 53.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

mod network_namespace;
#[path = "../../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use network_namespace::{NetworkNamespace, address_in};
use support::docker::{Container, Network, default_network};
use support::eventually;

/// The time limit for the first response of another container.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The number of addresses in the longest response, which exceeds UDP without EDNS by far.
const MANY_RECORDS: u8 = 100;

/// Creates a network namespace whose server has records of every kind.
fn namespace() -> NetworkNamespace {
    let namespace = NetworkNamespace::new();
    namespace.put("httpd", r#"{"host":"10.77.66.1","port":8080,"ttl":60}"#);
    namespace.put("six", r#"{"host":"fd00::77","port":8080,"ttl":60}"#);
    namespace.put("both/a", r#"{"host":"10.77.66.2","port":81,"ttl":60,"priority":5,"weight":1}"#);
    namespace.put("both/b", r#"{"host":"fd00::78","port":82,"ttl":60,"priority":5,"weight":3}"#);
    namespace.put("alias", r#"{"host":"httpd.skydns.local","port":80,"ttl":60}"#);
    namespace.put("text", r#"{"host":"here.skydns.local","text":"as it is","ttl":60}"#);
    namespace.put("dns/ns", r#"{"host":"10.77.66.53","ttl":60}"#);
    for at in 1..=MANY_RECORDS {
        namespace.put(
            &format!("many/{at}"),
            &format!(r#"{{"host":"10.77.1.{at}","port":80,"ttl":60}}"#),
        );
    }
    namespace
}

fn many_addresses() -> BTreeSet<String> {
    (1..=MANY_RECORDS).map(|at| format!("10.77.1.{at}")).collect()
}

#[test]
fn dig_resolves_every_type() {
    let namespace = namespace();
    let dig =
        |arguments: &[&str]| namespace.run("dig", &[&["+short"], arguments].concat()).sorted();
    for option in ["+notcp", "+tcp", "+noedns", "+dnssec"] {
        assert_eq!(dig(&["httpd.skydns.local", "A", option]), ["10.77.66.1"], "{option}");
    }
    assert_eq!(dig(&["@::1", "httpd.skydns.local", "A"]), ["10.77.66.1"]);
    assert_eq!(dig(&["six.skydns.local", "AAAA"]), ["fd00::77"]);
    assert_eq!(dig(&["six.skydns.local", "A"]), [""; 0]);
    let pair = ["5 25 81 a.both.skydns.local.", "5 75 82 b.both.skydns.local."];
    assert_eq!(dig(&["both.skydns.local", "SRV"]), pair);
    assert_eq!(dig(&["*.both.skydns.local", "SRV"]), pair);
    assert_eq!(dig(&["alias.skydns.local", "A"]), ["10.77.66.1", "httpd.skydns.local."]);
    assert_eq!(dig(&["alias.skydns.local", "CNAME"]), ["httpd.skydns.local."]);
    assert_eq!(dig(&["text.skydns.local", "TXT"]), [r#""as it is""#]);
    assert_eq!(dig(&["skydns.local", "NS"]), ["ns.dns.skydns.local."]);
    assert_eq!(dig(&["-x", "10.77.66.1"]), ["httpd.skydns.local."]);
    assert_eq!(dig(&["-x", "fd00::77"]), ["six.skydns.local."]);
    assert_eq!(dig(&["httpd.skydns.local", "ANY"]), [r#""RFC8482" """#]);
    let soa = dig(&["skydns.local", "SOA"]);
    assert!(soa[0].starts_with("ns.dns.skydns.local. hostmaster.skydns.local. "), "{soa:?}");
}

#[test]
fn dig_reports_missing_names() {
    let namespace = namespace();
    let status = |arguments: &[&str], status: &str| {
        let output = namespace.run("dig", arguments);
        assert!(output.has_line(&["status: ", status]), "{arguments:?}: {output:?}");
    };
    status(&["nobody.skydns.local"], "NXDOMAIN");
    status(&["six.skydns.local", "A"], "NOERROR");
    status(&["skydns.local", "A"], "NOERROR");
    status(&["www.example.com"], "REFUSED");
    status(&["+opcode=notify", "httpd.skydns.local"], "NOTIMP");
    status(&["+edns=1", "+noednsnegotiation", "httpd.skydns.local"], "BADVERS");
    // The response repeats the letter case of the query.
    let output = namespace.run("dig", &["hTTpd.SkyDNS.local"]);
    assert!(output.has_line(&["hTTpd.SkyDNS.local.", "60", "A", "10.77.66.1"]), "{output:?}");
}

#[test]
fn dig_and_kdig_retry_truncated_responses_over_tcp() {
    let namespace = namespace();
    for program in ["dig", "kdig"] {
        for option in ["+noedns", "+bufsize=512", "+bufsize=1232", "+bufsize=4096", "+tcp"] {
            let output = namespace.run(program, &["+short", "many.skydns.local", "A", option]);
            let found: BTreeSet<_> = output
                .lines
                .into_iter()
                .filter(|line| !line.starts_with(';') && !line.is_empty())
                .collect();
            assert_eq!(found, many_addresses(), "{program} {option}");
        }
        let output = namespace.run(program, &["+noedns", "+ignore", "many.skydns.local", "A"]);
        let is_cut = |line: &String| {
            line.to_lowercase().contains("flags:") && line.to_lowercase().contains(" tc")
        };
        assert!(output.lines.iter().any(is_cut), "{program}: {output:?}");
    }
}

#[test]
fn kdig_resolves_every_type() {
    let namespace = namespace();
    let kdig =
        |arguments: &[&str]| namespace.run("kdig", &[&["+short"], arguments].concat()).sorted();
    for option in ["+notcp", "+tcp", "+noedns", "+dnssec", "+cookie", "+padding"] {
        assert_eq!(kdig(&["httpd.skydns.local", "A", option]), ["10.77.66.1"], "{option}");
    }
    assert_eq!(kdig(&["six.skydns.local", "AAAA"]), ["fd00::77"]);
    let pair = ["5 25 81 a.both.skydns.local.", "5 75 82 b.both.skydns.local."];
    assert_eq!(kdig(&["both.skydns.local", "SRV"]), pair);
    assert_eq!(kdig(&["text.skydns.local", "TXT"]), [r#""as it is""#]);
    assert_eq!(kdig(&["-x", "10.77.66.1"]), ["httpd.skydns.local."]);
    let output = namespace.run("kdig", &["nobody.skydns.local"]);
    assert!(output.has_line(&["status: NXDOMAIN"]), "{output:?}");
}

/// glibc queries A and AAAA at once, uses the search list, and switches to TCP.
#[test]
fn getent_resolves_names_and_addresses() {
    let namespace = namespace();
    let addresses = |database: &str, name: &str| -> BTreeSet<String> {
        let output = namespace.run("getent", &[database, name]);
        let first = |line: &String| line.split_whitespace().next().unwrap().to_owned();
        output.lines.iter().map(first).collect()
    };
    let set =
        |addresses: &[&str]| addresses.iter().map(|&one| one.to_owned()).collect::<BTreeSet<_>>();
    for name in ["httpd.skydns.local", "httpd.skydns.local.", "httpd", "alias", "HTTPD"] {
        assert_eq!(addresses("ahosts", name), set(&["10.77.66.1"]), "{name}");
        assert_eq!(addresses("hosts", name), set(&["10.77.66.1"]), "{name}");
    }
    assert_eq!(addresses("ahosts", "six"), set(&["fd00::77"]));
    assert_eq!(addresses("ahosts", "both"), set(&["10.77.66.2", "fd00::78"]));
    assert_eq!(addresses("ahostsv4", "both"), set(&["10.77.66.2"]));
    assert_eq!(addresses("ahostsv6", "both").len(), 1);
    assert_eq!(addresses("ahostsv4", "many"), many_addresses());
    let output = namespace.run("getent", &["hosts", "10.77.66.1"]);
    assert!(output.has_line(&["10.77.66.1", "httpd.skydns.local"]), "{output:?}");
    for name in ["nobody.skydns.local", "www.example.com"] {
        assert!(!namespace.run("getent", &["ahosts", name]).succeeded, "{name}");
    }
}

/// On the engine's default network, a container queries the server directly. On another network,
/// it queries the engine's resolver, which queries the server.
#[test]
fn container_resolves_another_by_name() {
    // Created first and therefore dropped last, because a network with containers cannot be
    // removed.
    let network = Network::create(&[]);
    let namespace = namespace();
    let page = "the page of the container";
    let command = format!(
        "mkdir /tmp/www; echo '{page}' > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www"
    );
    let web = Container::run(&[], &["sh", "-c", &command]);
    network.connect(namespace.container());
    network.connect(&web);
    for name in [default_network(), network.name()] {
        let host = address_in(name, &web);
        namespace.put("web", &format!(r#"{{"host":"{host}","port":8080,"ttl":60}}"#));
        let server = address_in(name, namespace.container()).to_string();
        let client = Container::run(&["--dns", &server, "--network", name], &[]);
        let lookup = client.exec(&["nslookup", "httpd.skydns.local"]);
        assert!(lookup.contains("10.77.66.1"), "{name}: {lookup}");
        let (succeeded, output) = client.try_exec(&["nslookup", "nobody.skydns.local"]);
        assert!(!succeeded && output.contains("NXDOMAIN"), "{name}: {output}");
        let fetch = ["wget", "-q", "-O-", "http://web.skydns.local:8080/"];
        let fetched = eventually("the other container's page", TIMEOUT, || {
            let (succeeded, output) = client.try_exec(&fetch);
            succeeded.then_some(output)
        });
        assert_eq!(fetched, page, "{name}");
    }
}
