//! The command line and the configuration's faults, as an operator meets them:
//! by the built program.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

use std::process::{Command, Output};

const USAGE: i32 = 64;
const CONFIG: i32 = 78;

/// Runs the program with no environment but these variables.
fn highhock(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_highhock"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs `check`, which must end at once with a configuration's fault; returns
/// what it says.
#[track_caller]
fn refused(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut all = vec!["check"];
    all.extend(arguments);
    let output = highhock(&all, environment);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(CONFIG), "{text}");
    assert!(output.stdout.is_empty());
    text
}

#[track_caller]
fn refused_file(name: &str, lines: &[&str]) {
    let path = fixture(name);
    let text = refused(&["--config", &path], &[]);
    let faults: Vec<_> = text.lines().skip(1).collect();
    assert_eq!(faults.len(), lines.len(), "{text}");
    for (fault, line) in faults.iter().zip(lines) {
        assert!(fault.starts_with(&format!("  {path}: {line}")), "{fault}");
    }
}

#[test]
fn help_tells_each_flag_and_its_default() {
    let output = highhock(&["--help"], &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    for part in [
        "-e, --etcd-url <VALUE>",
        "http://127.0.0.1:4001/",
        "-c, --config <FILE>",
        "/etc/highhock.json",
        "--docker-poll-container",
        "--standalone",
        "records",
        "check",
        "HIGHHOCK_DOCKER__POLLCONTAINER",
        "--dns-listen 127.0.0.1:53,[::1]:53",
    ] {
        assert!(text.contains(part), "no {part} in:\n{text}");
    }
    assert!(!text.contains("etcd-password ") && !text.contains("admin-token "), "{text}");
}

#[test]
fn the_version_is_the_packages() {
    let output = highhock(&["--version"], &[]);
    assert_eq!(output.status.code(), Some(0));
    let version = String::from_utf8(output.stdout).unwrap();
    let rest = version.strip_prefix(concat!("highhock ", env!("CARGO_PKG_VERSION"))).unwrap();
    // Built from a clone it names the commit.
    let git = Command::new("git").args(["rev-parse", "--short=7", "HEAD"]).output();
    let commit = git.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let commit =
        std::env::var("HIGHHOCK_COMMIT").ok().or(commit.and_then(|it| String::from_utf8(it).ok()));
    match commit {
        Some(commit) => assert_eq!(rest, format!(" ({})\n", commit.trim())),
        None => assert_eq!(rest, "\n"),
    }
}

#[test]
fn a_flag_that_does_not_exist_is_a_usage_error() {
    let output = highhock(&["--etcd-ulr", "http://etcd/"], &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(USAGE), "{text}");
    assert!(text.contains("--etcd-ulr") && text.ends_with("is --etcd-url\n"), "{text}");
    assert!(output.stdout.is_empty());
}

#[test]
fn an_unknown_key_is_told_with_the_nearest() {
    refused_file("unknown-key.json", &["etcd.urll: no such key; the nearest is etcd.url"]);
}

#[test]
fn a_number_in_quotes_is_a_wrong_type() {
    let takes = "takes a whole number from 1 to 3600 (seconds)";
    refused_file("wrong-type.json", &[&format!("docker.poll: found \"10\"; {takes}")]);
}

#[test]
fn a_url_without_its_scheme_is_bad() {
    refused_file("bad-url.json", &["etcd.url: found \"127.0.0.1:4001\" ("]);
}

#[test]
fn a_ttl_has_its_range_and_is_whole() {
    let takes = "takes a whole number from 5 to 86400 (seconds)";
    refused_file("ttl-0.json", &[&format!("etcd.ttl: found 0; {takes}")]);
    refused_file("ttl-fraction.json", &[&format!("etcd.ttl: found 60.5; {takes}")]);
}

#[test]
fn all_faults_are_told_at_once_with_where_each_is() {
    let text = refused(
        &["--config", &fixture("several-faults.json"), "--docker-poll", "-5"],
        &[("HIGHHOCK_LOGLEVEL", "LOUD")],
    );
    assert!(text.starts_with("highhock: 8 faults in the configuration:\n"), "{text}");
    for part in [
        "several-faults.json: etcd.ttl: found 4;",
        "several-faults.json: loglevel: no such key; the nearest is logLevel",
        "  environment variable HIGHHOCK_LOGLEVEL: logLevel: found \"LOUD\"; takes DEBUG, INFO,",
        "  flag --docker-poll: docker.poll: found \"-5\"; takes a whole number from 1 to 3600",
    ] {
        assert!(text.contains(part), "no {part} in:\n{text}");
    }
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let text = refused(&["-c", "/nonexistent/highhock.json"], &[]);
    assert!(text.contains("\n  /nonexistent/highhock.json: there is no such file\n"), "{text}");
}

#[test]
fn a_broken_file_is_told_with_the_line() {
    for (name, line) in [("broken.json", 4), ("broken.yaml", 2), ("broken.toml", 2)] {
        let text = refused(&["--config", &fixture(name)], &[]);
        let expected = format!("{name}: can't be parsed: ");
        assert!(text.contains(&expected), "{text}");
        assert!(text.contains(&format!("line {line}")), "{text}");
    }
}

#[test]
fn all_that_is_wrong_with_dns_is_told_and_no_secret_shown() {
    let lines = [
        "admin.token: found a value (not shown); takes a token",
        "dns.forward: found the list [\"dns.example\"] (\"dns.example\" is no address); takes a list",
        "dns.listen: found the list [\"127.0.0.1\"] (\"127.0.0.1\" has no port); takes a list of",
        "dns.rateLimit: found -1; takes a whole number from 0 to 1000000 (answers a second)",
        "store: found \"alone\"; takes etcd or standalone",
    ];
    refused_file("standalone.json", &lines);
}

#[test]
fn an_ipv6_address_is_told_by_a_flag_or_a_variable_as_it_is_written() {
    let alone = ["check", "--standalone", "--docker-url", "unix:///nonexistent/docker.sock"];
    let holds = |flags: &[&str], environment: &[(&str, &str)]| {
        let output = highhock(&[&alone, flags].concat(), environment);
        assert!(output.stdout.starts_with(b"configuration  ok "), "{flags:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    // Nobody but root answers at port 1, and nobody does without IPv6: that it is tried
    // there is enough.
    for listen in ["[::1]:1", r#"["[::1]:1"]"#] {
        let text = holds(&["--dns-listen", listen], &[]);
        assert!(text.contains("[::1]:1: "), "{text}");
    }
    holds(&["--dns-listen", "[::1]:1,127.0.0.1:1"], &[]);
    holds(&["--dns-forward", "[2620:fe::fe]:53"], &[]);
    holds(&[], &[("HIGHHOCK_DNS__LISTEN", "[::1]:1"), ("HIGHHOCK_DNS__FORWARD", "[2620:fe::fe]")]);

    let text = refused(&["--standalone", "--dns-listen", r#"["[::1]:1""#], &[]);
    assert!(text.contains("is no address"), "{text}");
}

#[test]
fn standalone_and_another_store_contradict_each_other() {
    let text = refused(&["--standalone", "--store", "etcd"], &[]);
    let fault = "flag --standalone: store: set here and as flag --store, to different values";
    assert!(text.contains(fault), "{text}");
}

#[test]
fn addresses_that_need_the_instance_layout_are_refused_in_the_other() {
    refused_file(
        "flat-containers.json",
        &[
            "discovery.address: found \"container\", but skydns.layout is flat; takes skydns.layout \
             instance,",
            "discovery.host6: set, but skydns.layout is flat; takes skydns.layout instance,",
        ],
    );
    let text = refused(&["--discovery-host6", "10.0.0.1"], &[]);
    assert!(text.contains("takes an IPv6 address that clients can connect to, or auto"), "{text}");
}

#[test]
fn a_password_in_a_url_is_refused_unseen_with_the_right_place_for_it() {
    let text = refused(&["--config", &fixture("password-in-url.json")], &[]);
    assert!(!text.contains("hunter2") && text.contains("use etcd.username, and"), "{text}");
}

#[test]
fn keys_that_need_each_other_are_told_together() {
    refused_file(
        "halves.json",
        &[
            "etcd.password: set without etcd.username; takes both or neither",
            "etcd.cert: set without etcd.key; takes both or neither",
            "etcd.ca: set, but etcd.url begins with http://, not https://",
            "etcd.cert: set, but etcd.url begins with http://, not https://",
            "docker.key: set without docker.cert; takes both or neither",
        ],
    );
    refused_file(
        "two-passwords.json",
        &["etcd.passwordFile: set beside etcd.password; takes one of the two"],
    );
}

#[test]
fn files_that_cannot_be_used_are_told_by_their_setting() {
    let text = refused_at_once(&["--etcd-url=https://[::1]:1", "--etcd-ca=/nonexistent/ca.pem"]);
    assert_eq!(
        text,
        "highhock: etcd.ca: /nonexistent/ca.pem: can't be read: No such file or \
        directory (os error 2)\n"
    );
    let file = fixture("unknown-key.json");
    let text = refused_at_once(&["--docker-url=https://[::1]:1", "--docker-ca", &file]);
    assert_eq!(text, format!("highhock: docker.ca: {file}: holds no certificate in PEM\n"));
    let text = refused_at_once(&["--etcd-username=root", "--etcd-password-file=/nonexistent"]);
    assert!(text.starts_with("highhock: etcd.passwordFile: /nonexistent: can't be read"), "{text}");
}

/// Runs the daemon, which must end at once because of its configuration; returns
/// what it says.
#[track_caller]
fn refused_at_once(arguments: &[&str]) -> String {
    let mut all = vec!["run", "--discovery-host=10.0.0.1"];
    all.extend(arguments);
    let output = highhock(&all, &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(CONFIG), "{text}");
    text
}

#[test]
fn docker_variables_are_checked_where_they_count() {
    let text = refused(&[], &[("DOCKER_HOST", "ssh://engine")]);
    assert!(text.contains("\n  environment variable DOCKER_HOST: docker.url: found"), "{text}");
}
