//! The command line and configuration errors of the built program.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::process::{Command, Output};

const USAGE_ERROR: i32 = 64;
const UNAVAILABLE: i32 = 69;
const CONFIG_ERROR: i32 = 78;

/// Runs the program with only these environment variables.
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

/// Runs `check`, which must exit at once with a configuration error. Returns its output.
#[track_caller]
fn rejected(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut all = vec!["check"];
    all.extend(arguments);
    let output = highhock(&all, environment);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(CONFIG_ERROR), "{text}");
    assert!(output.stdout.is_empty());
    text
}

#[track_caller]
fn rejected_file(name: &str, lines: &[&str]) {
    let path = fixture(name);
    let text = rejected(&["--config", &path], &[]);
    let faults: Vec<_> = text.lines().skip(1).collect();
    assert_eq!(faults.len(), lines.len(), "{text}");
    for (fault, line) in faults.iter().zip(lines) {
        assert!(fault.starts_with(&format!("  {path}: {line}")), "{fault}");
    }
}

#[test]
fn help_lists_each_flag_with_its_default() {
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
fn version_is_the_package_version() {
    let output = highhock(&["--version"], &[]);
    assert_eq!(output.status.code(), Some(0));
    let version = String::from_utf8(output.stdout).unwrap();
    let rest = version.strip_prefix(concat!("highhock ", env!("CARGO_PKG_VERSION"))).unwrap();
    // A build from a clone names its commit.
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
fn unknown_flag_is_a_usage_error() {
    let output = highhock(&["--etcd-ulr", "http://etcd/"], &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(USAGE_ERROR), "{text}");
    assert!(text.contains("--etcd-ulr") && text.ends_with("is --etcd-url\n"), "{text}");
    assert!(output.stdout.is_empty());
}

#[test]
fn unknown_key_error_suggests_the_nearest() {
    rejected_file(
        "unknown-key.json",
        &["etcd.urll: unknown key; the nearest known key is etcd.url"],
    );
}

#[test]
fn quoted_number_is_a_type_error() {
    let expected = "expected a whole number from 1 to 3600 (seconds)";
    rejected_file("wrong-type.json", &[&format!("docker.poll: found \"10\"; {expected}")]);
}

#[test]
fn rejects_url_without_scheme() {
    rejected_file("bad-url.json", &["etcd.url: found \"127.0.0.1:4001\" ("]);
}

#[test]
fn ttl_must_be_an_integer_in_range() {
    let expected = "expected a whole number from 5 to 86400 (seconds)";
    rejected_file("ttl-0.json", &[&format!("etcd.ttl: found 0; {expected}")]);
    rejected_file("ttl-fraction.json", &[&format!("etcd.ttl: found 60.5; {expected}")]);
}

#[test]
fn reports_all_errors_with_their_origin() {
    let text = rejected(
        &["--config", &fixture("several-faults.json"), "--docker-poll", "-5"],
        &[("HIGHHOCK_LOGLEVEL", "LOUD")],
    );
    assert!(text.starts_with("highhock: 8 errors in the configuration:\n"), "{text}");
    for part in [
        "several-faults.json: etcd.ttl: found 4;",
        "several-faults.json: loglevel: unknown key; the nearest known key is logLevel",
        "  environment variable HIGHHOCK_LOGLEVEL: logLevel: found \"LOUD\"; expected DEBUG, INFO,",
        "  flag --docker-poll: docker.poll: found \"-5\"; expected a whole number from 1 to 3600",
    ] {
        assert!(text.contains(part), "no {part} in:\n{text}");
    }
}

#[test]
fn named_file_must_exist() {
    let text = rejected(&["-c", "/nonexistent/highhock.json"], &[]);
    assert!(text.contains("\n  /nonexistent/highhock.json: no such file\n"), "{text}");
}

#[test]
fn environment_names_the_file() {
    let (named, other) = (fixture("unknown-key.json"), fixture("wrong-type.json"));
    let environment = [("HIGHHOCK_CONFIG", named.as_str())];
    let text = rejected(&[], &environment);
    assert!(text.contains(&format!("\n  {named}: etcd.urll: unknown key")), "{text}");
    let text = rejected(&["--config", &other], &environment);
    assert!(text.contains(&other) && !text.contains(&named), "{text}");
    let text = rejected(&[], &[("HIGHHOCK_CONFIG", "/nonexistent/highhock.json")]);
    let line = "\n  /nonexistent/highhock.json: no such file; correct or unset the environment \
                variable HIGHHOCK_CONFIG\n";
    assert!(text.contains(line), "{text}");
}

#[test]
fn misspelt_flag_is_not_the_name_of_a_file() {
    let text = rejected(&["-cleanup"], &[]);
    assert!(text.contains("  leanup: no such file: -cleanup means -c leanup;"), "{text}");
    assert!(text.contains("-c FILE"), "{text}");
}

#[test]
fn unknown_command_is_a_usage_error() {
    for (arguments, expected) in [
        (["stat"], "the nearest command is status"),
        (["--standalon"], "the nearest flag is --standalone"),
        (["-etcd-url=http://etcd/"], "-etcd-url is not a flag; write --etcd-url"),
    ] {
        let output = highhock(&arguments, &[]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(USAGE_ERROR), "{text}");
        assert!(text.trim_end().ends_with(expected), "{text}");
    }
}

#[test]
fn variable_with_one_underscore_names_the_right_one() {
    let text = rejected(&[], &[("HIGHHOCK_ETCD_URL", "http://etcd:2379/")]);
    let line = "\n  environment variable HIGHHOCK_ETCD_URL: etcd.url: written with single \
                underscores; rename the variable to HIGHHOCK_ETCD__URL\n";
    assert!(text.contains(line), "{text}");
    // Container links and Kubernetes create such variables.
    let foreign = [
        ("HIGHHOCK_PORT_9465_TCP", "tcp://10.0.0.1:9465"),
        ("HIGHHOCK_SERVICE_HOST", "10.0.0.1"),
        ("HIGHHOCK_LOGLEVEL", "LOUD"),
    ];
    let text = rejected(&[], &foreign);
    assert!(text.starts_with("highhock: 1 error") && !text.contains("PORT"), "{text}");
}

#[test]
fn wrong_top_level_empty_file_and_repeated_keys_are_errors() {
    for (name, text) in [
        ("list.json", "found a list at the top level; expected a table of keys"),
        ("list.yaml", "found a list at the top level; expected a table of keys"),
        ("empty.json", "empty file; add keys to it"),
        ("empty.yaml", "empty file; add keys to it"),
        ("empty.toml", "empty file; add keys to it"),
    ] {
        rejected_file(name, &[text]);
    }
    let twice = "given twice, with different values";
    rejected_file(
        "repeated-keys.json",
        &[&format!("etcd.ttl: {twice}"), &format!("skydns: {twice}")],
    );
}

/// Runs a command that queries a daemon. No daemon runs at the address.
#[track_caller]
fn unreachable_daemon(command: &str, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = highhock(&[&[command], arguments].concat(), environment);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(UNAVAILABLE), "{text}");
    text
}

#[test]
fn status_and_actors_ignore_errors_of_other_keys() {
    // Nothing listens on port 1.
    let listen = ("HIGHHOCK_ADMIN__LISTEN", "127.0.0.1:1");
    for command in ["status", "actors"] {
        for name in ["several-faults.json", "unknown-key.json"] {
            let text = unreachable_daemon(command, &["-c", &fixture(name)], &[listen]);
            assert!(text.contains("127.0.0.1:1"), "{text}");
            assert!(!text.contains(name), "{text}");
        }
        let text = unreachable_daemon(command, &["-c", &fixture("broken.json")], &[listen]);
        assert!(text.contains("cannot be parsed") && text.contains("127.0.0.1:1"), "{text}");
        let output = highhock(&[command, "--admin-listen", "9465"], &[]);
        assert_eq!(output.status.code(), Some(CONFIG_ERROR), "{output:?}");
    }
}

#[test]
fn unparsable_file_error_names_the_line() {
    for (name, line) in [("broken.json", 4), ("broken.yaml", 2), ("broken.toml", 2)] {
        let text = rejected(&["--config", &fixture(name)], &[]);
        let expected = format!("{name}: cannot be parsed: ");
        assert!(text.contains(&expected), "{text}");
        assert!(text.contains(&format!("line {line}")), "{text}");
    }
}

#[test]
fn reports_all_dns_errors_without_secrets() {
    let lines = [
        "admin.token: found a value (not shown); expected a token",
        "dns.forward: found the list [\"dns.example\"] (\"dns.example\" is not an address); expected a list",
        "dns.listen: found the list [\"127.0.0.1\"] (\"127.0.0.1\" has no port); expected a list of",
        "dns.rateLimit: found -1; expected a whole number from 0 to 1000000 (answers per second)",
        "store: found \"alone\"; expected etcd or standalone",
    ];
    rejected_file("standalone.json", &lines);
}

#[test]
fn accepts_ipv6_addresses_from_flag_and_variable() {
    let alone = ["check", "--standalone", "--docker-url", "unix:///nonexistent/docker.sock"];
    let holds = |flags: &[&str], environment: &[(&str, &str)]| {
        let output = highhock(&[&alone, flags].concat(), environment);
        assert!(output.stdout.starts_with(b"configuration  ok "), "{flags:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    // Only root can listen on port 1, and without IPv6 the address is missing. Both show that the
    // address was used.
    for listen in ["[::1]:1", r#"["[::1]:1"]"#] {
        let text = holds(&["--dns-listen", listen], &[]);
        assert!(text.contains("[::1]:1: "), "{text}");
    }
    holds(&["--dns-listen", "[::1]:1,127.0.0.1:1"], &[]);
    holds(&["--dns-forward", "[2620:fe::fe]:53"], &[]);
    holds(&[], &[("HIGHHOCK_DNS__LISTEN", "[::1]:1"), ("HIGHHOCK_DNS__FORWARD", "[2620:fe::fe]")]);

    let text = rejected(&["--standalone", "--dns-listen", r#"["[::1]:1""#], &[]);
    assert!(text.contains("is not an address"), "{text}");
}

#[test]
fn rejects_standalone_with_another_store() {
    let text = rejected(&["--standalone", "--store", "etcd"], &[]);
    let fault = "flag --standalone: store: also set as flag --store, to a different value";
    assert!(text.contains(fault), "{text}");
}

#[test]
fn rejects_container_addresses_in_the_flat_layout() {
    rejected_file(
        "flat-containers.json",
        &[
            "discovery.address: found \"container\", but skydns.layout is flat; set skydns.layout to \
             instance,",
            "discovery.host6: found \"auto\", but skydns.layout is flat; set skydns.layout to instance,",
        ],
    );
    let text = rejected(&["--discovery-host6", "10.0.0.1"], &[]);
    assert!(
        text.contains("expected an IPv6 address that clients can connect to, or auto"),
        "{text}"
    );
}

#[test]
fn rejects_password_in_url_and_names_the_setting() {
    let text = rejected(&["--config", &fixture("password-in-url.json")], &[]);
    assert!(!text.contains("hunter2") && text.contains("use etcd.username, and"), "{text}");
}

#[test]
fn reports_dependent_keys_together() {
    rejected_file(
        "halves.json",
        &[
            "etcd.password: set without etcd.username; set both or neither",
            "etcd.cert: set without etcd.key; set both or neither",
            "etcd.ca: set, but etcd.url begins with http://, not https://",
            "etcd.cert: set, but etcd.url begins with http://, not https://",
            "docker.key: set without docker.cert; set both or neither",
        ],
    );
    rejected_file(
        "two-passwords.json",
        &["etcd.passwordFile: set together with etcd.password; set only one of the two"],
    );
}

#[test]
fn unusable_file_error_names_its_setting() {
    let text = rejected_at_start(&["--etcd-url=https://[::1]:1", "--etcd-ca=/nonexistent/ca.pem"]);
    assert_eq!(
        text,
        "highhock: etcd.ca: /nonexistent/ca.pem: cannot be read: No such file or \
        directory (os error 2)\n"
    );
    let file = fixture("unknown-key.json");
    let text = rejected_at_start(&["--docker-url=https://[::1]:1", "--docker-ca", &file]);
    assert_eq!(
        text,
        format!("highhock: docker.ca: {file}: contains no certificate in PEM format\n")
    );
    let text = rejected_at_start(&["--etcd-username=root", "--etcd-password-file=/nonexistent"]);
    assert!(
        text.starts_with("highhock: etcd.passwordFile: /nonexistent: cannot be read"),
        "{text}"
    );
}

/// Runs the daemon, which must exit at once with a configuration error. Returns its output.
#[track_caller]
fn rejected_at_start(arguments: &[&str]) -> String {
    let mut all = vec!["run", "--discovery-host=10.0.0.1"];
    all.extend(arguments);
    let output = highhock(&all, &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(CONFIG_ERROR), "{text}");
    text
}

#[test]
fn checks_docker_variables_only_if_used() {
    let text = rejected(&[], &[("DOCKER_HOST", "ssh://engine")]);
    assert!(text.contains("\n  environment variable DOCKER_HOST: docker.url: found"), "{text}");
}
