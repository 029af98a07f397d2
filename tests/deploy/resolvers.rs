//! The resolver snippets that send the domain of a standalone daemon to it.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use highhock::settings::find;

use crate::support::admin::Admin;
use crate::support::daemon::{ADDRESS, Highhock};
use crate::support::dns::dig;
use crate::support::docker::Container;
use crate::support::tools::program;
use crate::support::{TempDir, eventually, free_port, unique};
use crate::{TIMEOUT, file, run, run_successfully, text};

const DNSMASQ: &str = "deploy/dnsmasq/highhock.conf";
const RESOLVED: &str = "deploy/resolved/highhock.conf";

/// The default DNS address and domain of the daemon.
fn defaults() -> [String; 2] {
    ["dns.listen", "skydns.domain"].map(|path| {
        let fallback = format!("{:?}", find(path).unwrap().default);
        fallback.split('"').nth(1).unwrap().to_owned()
    })
}

/// A dnsmasq in the foreground. Dropping it ends the process.
struct Dnsmasq {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Dnsmasq {
    /// Starts dnsmasq with this configuration. `None` if dnsmasq is not installed.
    fn start(conf: &str) -> Option<Self> {
        let dnsmasq = program("dnsmasq")?;
        let (folder, port) = (TempDir::new(), free_port());
        let file = folder.0.join("dnsmasq.conf");
        fs::write(&file, conf).unwrap();
        let log = File::create(folder.0.join("log")).unwrap();
        let mut command = Command::new(dnsmasq);
        command.args(["--keep-in-foreground", "--log-facility=-", "--no-resolv", "--no-hosts"]);
        command.args(["--bind-interfaces", "--listen-address=127.0.0.1", "--pid-file="]);
        command.args(["--user=", "--group=", &format!("--port={port}")]);
        command.arg(format!("--conf-file={}", file.display()));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        Some(Self { child: child.unwrap(), port, folder })
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.0.join("log")).unwrap_or_default();
            eprintln!("dnsmasq's log:\n{log}");
        }
    }
}

#[test]
fn dnsmasq_accepts_its_snippet() {
    let Some(dnsmasq) = program("dnsmasq") else { return };
    let output_text =
        run_successfully(Command::new(&dnsmasq).arg("--test").arg("-C").arg(file(DNSMASQ)));
    assert!(output_text.contains("syntax check OK"), "{output_text}");
    let folder = TempDir::new();
    let broken = folder.0.join("broken.conf");
    fs::write(&broken, text(DNSMASQ).replace("server=", "servers=")).unwrap();
    assert!(!run(Command::new(dnsmasq).arg("--test").arg("-C").arg(broken)).0);
}

#[test]
fn dnsmasq_forwards_only_the_domain_to_the_daemon() {
    let ([listen, domain], snippet) = (defaults(), text(DNSMASQ));
    let (port, admin) = (free_port(), Admin::on_loopback());
    let place = listen.replace(':', "#");
    let rule = format!("server=/{domain}/{place}");
    assert!(snippet.lines().any(|line| line == rule), "{snippet}");
    let conf = snippet.replace(&place, &format!("127.0.0.1#{port}"));
    let Some(dnsmasq) = Dnsmasq::start(&conf) else { return };

    let highhock = Highhock::standalone(port).flag("--admin-listen", &admin.listen());
    let _daemon = highhock.start();
    let name = format!("resolved-{}-{}", std::process::id(), unique());
    let offer = format!("DISCOVER={name}:80");
    let _container = Container::run(&["-e", &offer, "-p", "0:80"], &[]);
    let name = format!("{name}.{domain}");
    eventually("an answer by way of dnsmasq", TIMEOUT, || {
        let reply = dig(dnsmasq.port, &name, "A")?;
        (reply.data("A") == [ADDRESS.to_owned()].into()).then_some(())
    });
    assert_eq!(dig(dnsmasq.port, "other.example", "A").unwrap().status, "REFUSED");
    let metrics = admin.get("/metrics").body;
    let refused = "highhock_dns_answers_total{rcode=\"REFUSED\"} 0";
    assert!(metrics.lines().any(|line| line == refused), "{metrics}");
}

/// systemd-resolved cannot be started without replacing the machine's own resolver, so the test
/// only compares the text.
#[test]
fn resolved_snippet_names_the_defaults() {
    let ([listen, domain], snippet) = (defaults(), text(RESOLVED));
    let output_text: Vec<_> = snippet.lines().filter(|line| !line.starts_with('#')).collect();
    let expected = ["[Resolve]", &format!("DNS={listen}"), &format!("Domains=~{domain}")];
    assert_eq!(output_text, expected);
}

#[test]
fn every_dns_metric_is_documented() {
    let admin = Admin::on_loopback();
    let highhock = Highhock::standalone(free_port()).flag("--admin-listen", &admin.listen());
    let _daemon = highhock.start();
    let metrics = admin.get("/metrics").body;
    let names = metrics.lines().filter_map(|line| line.split(['{', ' ']).next());
    let names: Vec<_> = names.filter(|name| name.starts_with("highhock_dns_")).collect();
    assert!(names.len() > 10, "{metrics}");
    let explained = text("deploy/README.md");
    for name in names {
        assert!(explained.contains(&format!("`{name}")), "{name}");
    }
}
