//! Standalone mode: the daemon holds the records itself and answers DNS.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::admin::Admin;
use crate::support::cuttable_proxy::CuttableProxy;
use crate::support::daemon::{ADDRESS, Daemon, Highhock};
use crate::support::dns::{DigResponse, dig};
use crate::support::docker::{self, Container};
use crate::support::etcd::Etcd;
use crate::support::{TempDir, eventually, free_port};
use crate::{
    TIMEOUT, key, record, run_service, run_service_with, unique_name, wait_for_value, warnings,
};

/// The exit status if a required resource is missing.
const UNAVAILABLE: i32 = 69;

fn query(port: u16, name: &str, kind: &str) -> Option<DigResponse> {
    dig(port, &format!("{name}.skydns.local"), kind)
}

/// The ports of a name at this host's address.
fn ports(port: u16, name: &str) -> BTreeSet<u16> {
    let targets = query(port, name, "SRV").map(|reply| reply.targets()).unwrap_or_default();
    targets.into_iter().filter(|target| target.host == ADDRESS).map(|target| target.port).collect()
}

#[track_caller]
fn wait_for_answer(port: u16, name: &str, containers: &[&Container]) {
    let expected: BTreeSet<_> = containers.iter().map(|one| one.published_port("80/tcp")).collect();
    let what = format!("{name} at the ports {expected:?}");
    eventually(&what, TIMEOUT, || (ports(port, name) == expected).then_some(()));
    let reply = query(port, name, "A").unwrap();
    assert_eq!((reply.status.as_str(), reply.data("A")), ("NOERROR", [ADDRESS.into()].into()));
}

#[track_caller]
fn wait_for_nxdomain(port: u16, name: &str) {
    let gone = || (query(port, name, "A")?.status == "NXDOMAIN").then_some(());
    eventually(&format!("{name} is gone"), TIMEOUT, gone);
}

/// A daemon, and the port of its DNS server.
fn standalone() -> (Highhock, u16) {
    let port = free_port();
    (Highhock::standalone(port), port)
}

/// Waits until no write is pending.
#[track_caller]
fn wait_until_ready(daemon: &Daemon, port: u16) {
    daemon.wait_for_log(&["NOTICE", "dns listening", &format!("127.0.0.1:{port}"), "skydns.local"]);
    daemon.wait_for_log(&["NOTICE", "docker connected"]);
}

#[test]
fn service_resolves_while_its_container_runs() {
    let (highhock, port) = standalone();
    let mut daemon = highhock.start();
    let name = unique_name("httpd");
    let container = run_service(&name);
    wait_for_answer(port, &name, &[&container]);
    container.stop();
    wait_for_nxdomain(port, &name);
    assert_eq!(daemon.lines_with(&["etcd"]).len(), 1, "{}", daemon.log());
    daemon.wait_for_log(&["starting", "none: standalone"]);
    assert_eq!(daemon.stop_with("TERM").0, Some(0));
    daemon.wait_for_log(&["NOTICE", "stopped"]);
    assert_eq!(warnings(&daemon, &[&name]), [""; 0]);
}

#[test]
fn restart_publishes_only_running_containers() {
    let (highhock, port) = standalone();
    let mut daemon = highhock.start();
    let (stays, ends) = (unique_name("stays"), unique_name("ends"));
    let [container, other] = [&stays, &ends].map(|name| run_service(name));
    wait_for_answer(port, &stays, &[&container]);
    wait_for_answer(port, &ends, &[&other]);
    daemon.kill();
    assert_eq!(query(port, &stays, "A"), None);
    other.stop();

    let mut daemon = highhock.start();
    wait_for_answer(port, &stays, &[&container]);
    wait_for_nxdomain(port, &ends);
    assert_eq!(daemon.stop_with("TERM").0, Some(0));
    let _daemon = highhock.start();
    wait_for_answer(port, &stays, &[&container]);
}

#[test]
fn second_container_takes_over_a_shared_name() {
    let (highhock, port) = standalone();
    let _daemon = highhock.start();
    let name = unique_name("twin");
    let first = run_service(&name);
    wait_for_answer(port, &name, &[&first]);
    let second = run_service(&name);
    let third = unique_name("third");
    let behind = run_service(&third);
    // A later container is published, so the earlier event was processed.
    wait_for_answer(port, &third, &[&behind]);
    wait_for_answer(port, &name, &[&first]);
    first.stop();
    wait_for_answer(port, &name, &[&second]);
}

#[test]
fn no_nxdomain_before_the_first_full_listing() {
    let (dir, (highhock, port)) = (TempDir::new(), standalone());
    let socket = dir.0.join("docker.sock");
    let url = format!("unix://{}", socket.display());
    let daemon = highhock.flag("--docker-url", &url).start();
    daemon.wait_for_log(&["WARNING", "docker unreachable"]);
    let (name, unknown) = (unique_name("known"), unique_name("unknown"));
    let container = run_service(&name);
    let status = |name: &str| query(port, name, "A").unwrap().status;
    for name in [&name, &unknown] {
        assert_eq!(status(name), "SERVFAIL");
    }

    let mut relay = CuttableProxy::unix(&socket, docker::server_address());
    wait_for_nxdomain(port, &unknown);
    // NXDOMAIN is answered only when all records are known.
    assert_eq!(ports(port, &name), [container.published_port("80/tcp")].into());
    relay.cut();
    eventually("docker is away again", TIMEOUT, || {
        (daemon.lines_with(&["WARNING", "docker unreachable; keeping"]).len() == 1).then_some(())
    });
    assert_eq!(status(&unknown), "NXDOMAIN");
    wait_for_answer(port, &name, &[&container]);
}

#[test]
fn instances_resolve_together() {
    let (highhock, port) = standalone();
    let _daemon = highhock.flag("--skydns-layout", "instance").start();
    let name = unique_name("many");
    let [first, second] = [(); 2].map(|()| run_service(&name));
    wait_for_answer(port, &name, &[&first, &second]);
    first.stop();
    wait_for_answer(port, &name, &[&second]);
}

#[test]
fn reload_interrupts_no_answer() {
    let (highhock, port) = standalone();
    let daemon = highhock.start();
    let name = unique_name("kept");
    let container = run_service(&name);
    wait_for_answer(port, &name, &[&container]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let missing = scope.spawn(|| {
            let (mut missing, mut asked_for) = (0, 0);
            while !done.load(Ordering::Relaxed) {
                missing += usize::from(ports(port, &name).is_empty());
                asked_for += 1;
            }
            (missing, asked_for)
        });
        let configs = [
            r#"{"docker": {"poll": 5}, "etcd": {"ttl": 30, "url": "http://10.255.255.1:1/"}}"#,
            r#"{"etcd": {"ttl": 90}, "skydns": {"ttl": 300}}"#,
            r#"{"discovery": {"methods": ["label", "env"]}, "etcd": {"onExit": "remove"}}"#,
            "{}",
        ];
        for config in configs.iter().cycle().take(5 * configs.len()) {
            daemon.reload_and_wait(config);
        }
        done.store(true, Ordering::Relaxed);
        let (missing, asked_for) = missing.join().unwrap();
        assert_eq!(missing, 0, "of {asked_for} answers");
        assert!(asked_for > configs.len(), "{asked_for} answers");
    });
    wait_for_answer(port, &name, &[&container]);

    // A reload does not change the settings that the DNS server started with.
    daemon.reload(
        r#"{"dns": {"forward": ["9.9.9.9"], "rateLimit": 9},
        "skydns": {"domain": "other.local", "prefix": "dns"}}"#,
    );
    let kept = daemon.wait_for_log(&["WARN", "need a restart"]);
    for key in ["skydns.domain", "skydns.prefix", "dns.forward", "dns.rateLimit"] {
        assert!(kept.contains(key), "{kept}");
    }
    wait_for_answer(port, &name, &[&container]);
}

#[test]
fn missing_dns_address_prevents_start() {
    let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let highhock = Highhock::standalone(port);
    let mut daemon = highhock.start();
    assert_eq!(daemon.wait_for_exit(), Some(UNAVAILABLE));
    let last = daemon.log().lines().last().unwrap_or_default().to_owned();
    let at = format!("highhock: cannot answer DNS at 127.0.0.1:{port}: ");
    assert!(last.starts_with(&at) && last.contains("dns.listen"), "{last}");

    let output = highhock.output(&["check"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(UNAVAILABLE), "{text}");
    let verdict = text.lines().find(|line| line.starts_with("dns ")).unwrap();
    assert!(verdict.contains("FAILED") && verdict.contains("cannot answer"), "{text}");
    assert!(!text.contains("etcd"), "{text}");
    drop(holder);
    // Another test may use the port for a moment as a client port.
    eventually("a place to answer at", TIMEOUT, || {
        let text = String::from_utf8(highhock.output(&["check"]).stdout).unwrap();
        text.contains(&format!("127.0.0.1:{port}: free, for the domain skydns.local\n"))
            .then_some(())
    });
}

/// A DNS server that answers each query with this code until the process ends.
fn start_upstream(code: u8) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 512];
        while let Ok((length, source)) = socket.recv_from(&mut bytes) {
            bytes[2] |= 0x80;
            bytes[3] = bytes[3] & 0xf0 | code;
            socket.send_to(&bytes[..length], source).unwrap();
        }
    });
    address
}

#[test]
fn check_queries_each_upstream() {
    let (well, ill, refuses) = (start_upstream(0), start_upstream(2), start_upstream(5));
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent_at = silent.local_addr().unwrap();
    let closed_port = format!("127.0.0.1:{}", free_port());
    let checked = |servers: &str| {
        let (highhock, _) = standalone();
        let output = highhock.flag("--dns-forward", servers).output(&["check"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let of_servers = text.lines().filter(|line| line.starts_with("dns.forward "));
        (output.status.code(), of_servers.map(str::to_owned).collect::<Vec<_>>())
    };
    let (code, lines) = checked(&format!("{well},{ill}"));
    assert_eq!(code, Some(0), "{lines:?}");
    assert_eq!(lines[0], format!("dns.forward    ok      {well}: answers"));
    assert_eq!(lines[1], format!("dns.forward    ok      {ill}: answers, but with SERVFAIL"));

    let (code, lines) = checked(&format!("{silent_at},{well},{refuses},{closed_port}"));
    assert_eq!(code, Some(UNAVAILABLE), "{lines:?}");
    let parts = [
        format!("FAILED  query to {silent_at}: no answer within "),
        format!("ok      {well}: answers"),
        format!("FAILED  query to {refuses}: it answers REFUSED"),
        format!("FAILED  query to {closed_port}: Connection refused"),
    ];
    assert_eq!(lines.len(), parts.len(), "{lines:?}");
    for (line, part) in lines.iter().zip(parts) {
        assert!(line.contains(&part), "no {part} in: {line}");
        assert!(line.contains(" ok ") || line.ends_with("in dns.forward"), "{line}");
    }
}

#[test]
fn commands_and_endpoints_show_dns_instead_of_etcd() {
    let (highhock, port) = standalone();
    let admin = Admin::on_loopback();
    let highhock = highhock.flag("--admin-listen", &admin.listen());
    let name = unique_name("known");
    let container = run_service(&name);
    let daemon = highhock.start();
    wait_until_ready(&daemon, port);
    wait_for_answer(port, &name, &[&container]);
    eventually("it is ready", TIMEOUT, || (admin.get("/readyz").status == 200).then_some(()));

    let output = highhock.output(&["status"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let line = format!("dns          answers for skydns.local at 127.0.0.1:{port}\n");
    assert!(text.contains(&line) && !text.contains("\netcd"), "{text}");
    let output = highhock.output(&["check"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("the running highhock answers for skydns.local"), "{text}");

    let metrics = admin.get("/metrics").body;
    for part in [
        "highhock_dns_questions_total{transport=\"udp\"} ",
        "highhock_dns_questions_total{transport=\"tcp\"} 0",
        "highhock_dns_answers_total{rcode=\"NOERROR\"} ",
        "highhock_dns_forwarded_total 0",
        "highhock_dns_forward_failures_total 0",
        "highhock_dns_rate_limited_total 0",
        "highhock_dns_malformed_total 0",
        "highhock_ready 1",
    ] {
        assert!(metrics.contains(part), "no {part} in:\n{metrics}");
    }
    assert!(!metrics.contains("highhock_etcd_requests"), "{metrics}");
    // The help texts of the etcd metrics speak of the store in standalone mode.
    let helps = metrics.lines().filter(|line| line.starts_with("# HELP highhock_"));
    let of_all = helps.filter(|line| !line.starts_with("# HELP highhock_etcd_"));
    let telling = of_all.filter(|line| line.contains("etcd")).collect::<Vec<_>>();
    assert!(telling.iter().all(|line| line.ends_with("(etcd v2).")), "{telling:?}");
    assert!(!metrics.contains("highhock_dns_questions_total{transport=\"udp\"} 0"), "{metrics}");

    let records = highhock.output(&["records"]);
    assert!(records.status.success() && records.stderr.is_empty(), "{records:?}");
    assert!(String::from_utf8(records.stdout).unwrap().contains(&key(&name)));
}

#[test]
fn same_config_works_with_etcd() {
    let (port, etcd) = (free_port(), Etcd::start());
    let config = |store: &str| {
        format!(
            r#"{{"store": "{store}", "etcd": {{"url": "{}"}}, "dns": {{"listen": ["127.0.0.1:{port}"]}}}}"#,
            etcd.url()
        )
    };
    let highhock = Highhock::new("").without_flag("--etcd-url");
    let name = unique_name("moves");
    let container = run_service_with(&name, &["--label", "highhock.weight=7"]);
    let mut daemon = highhock.clone().config(&config("standalone")).start();
    wait_for_answer(port, &name, &[&container]);
    assert_eq!(etcd.get(&key(&name)), None);
    assert_eq!(daemon.stop_with("TERM").0, Some(0));

    let _daemon = highhock.config(&config("etcd")).start();
    let published = container.published_port("80/tcp");
    let weighed = record(published).replace(r#","ttl""#, r#","weight":7,"ttl""#);
    wait_for_value(&etcd, &key(&name), &weighed);
    assert_eq!(query(port, &name, "A"), None);
}
