//! The built daemon under a service manager that speaks systemd's notify protocol, without Docker
//! and etcd; and the unit file, checked with systemd's own tools.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::daemon::Highhock;
use support::systemd::NotifySocket;
use support::tools::program;
use support::{TempDir, free_port};

/// The limit of a clean stop ("Clean stop").
const LATENCY_MARGIN: Duration = Duration::from_secs(5);

/// With neither Docker nor etcd.
fn unreachable_servers(supervisor: &NotifySocket) -> Highhock {
    Highhock::new(&format!("http://127.0.0.1:{}", free_port()))
        .flag("--docker-url", "unix:///nonexistent/docker.sock")
        .env("NOTIFY_SOCKET", &supervisor.socket)
}

#[test]
fn ready_with_status_before_any_server_responds() {
    for supervisor in [NotifySocket::start(), NotifySocket::start_abstract()] {
        let mut daemon = unreachable_servers(&supervisor).start();
        supervisor.wait_for("READY", 1);
        supervisor.wait_for_status("waiting for docker (");
        supervisor.wait_for_status("/nonexistent/docker.sock");
        supervisor.wait_for_status(" and etcd (");
        let (code, took) = daemon.stop_with("TERM");
        assert_eq!(code, Some(0));
        assert!(took < LATENCY_MARGIN, "{took:?}");
        supervisor.wait_for("STOPPING", 1);
        assert_eq!(supervisor.values("READY"), ["1"]);
        assert_eq!(supervisor.values("WATCHDOG").len(), 0, "no watchdog was requested");
    }
}

#[test]
fn watchdog_is_notified_twice_per_interval() {
    const LIMIT: Duration = Duration::from_secs(1);
    let supervisor = NotifySocket::start();
    let usec = LIMIT.as_micros().to_string();
    let daemon = unreachable_servers(&supervisor).env("WATCHDOG_USEC", &usec).start();
    let first = supervisor.wait_for("WATCHDOG", 1);
    let last = supervisor.wait_for("WATCHDOG", 9);
    let pings: Vec<_> = supervisor.notifications();
    let pings: Vec<_> =
        pings.iter().filter(|message| message.value("WATCHDOG").is_some()).collect();
    let longest = pings.windows(2).map(|two| two[1].at - two[0].at).max().unwrap();
    println!("9 pings in {:?}, {longest:?} apart at most", last.at - first.at);
    assert!(longest < LIMIT, "{longest:?}");
    assert!(last.at - first.at > LIMIT * 3, "not more often than it takes");
    // A stopped process sends no watchdog message.
    daemon.signal("STOP");
    let before = supervisor.values("WATCHDOG").len();
    std::thread::sleep(LIMIT * 2);
    assert!(supervisor.values("WATCHDOG").len() <= before + 1);
    daemon.signal("CONT");
    supervisor.wait_for("WATCHDOG", before + 3);
}

#[test]
fn ignores_the_watchdog_of_another_process() {
    let supervisor = NotifySocket::start();
    let highhock =
        unreachable_servers(&supervisor).env("WATCHDOG_USEC", "100000").env("WATCHDOG_PID", "1");
    let _daemon = highhock.start();
    supervisor.wait_for_status(" and etcd (");
    assert_eq!(supervisor.values("WATCHDOG").len(), 0);
}

#[test]
fn reload_is_notified_with_its_time_then_ready() {
    let supervisor = NotifySocket::start();
    let daemon = unreachable_servers(&supervisor).start();
    supervisor.wait_for("READY", 1);
    for (round, config) in ["{}", "{oops", r#"{"logLevel": "INFO"}"#].into_iter().enumerate() {
        daemon.reload(config);
        let reloading = supervisor.wait_for("RELOADING", round + 1);
        let monotonic: u128 = reloading.value("MONOTONIC_USEC").unwrap().parse().unwrap();
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let now: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let ago = now - monotonic as f64 / 1e6;
        // The boot clock also counts the time in which the machine was suspended.
        assert!((-1.0..86_400.0).contains(&ago), "{ago} s ago");
        assert!(supervisor.wait_for("READY", round + 2).at >= reloading.at);
    }
}

#[test]
fn reload_fixes_a_wrong_url_before_any_response() {
    let supervisor = NotifySocket::start();
    let highhock =
        unreachable_servers(&supervisor).without_flag("--docker-url").without_flag("--etcd-url");
    let config = |docker: &str, etcd: &str| {
        format!(r#"{{"docker": {{"url": "unix://{docker}"}}, "etcd": {{"url": "http://{etcd}"}}}}"#)
    };
    let (wrong, right) = ("127.0.0.1:1", format!("127.0.0.1:{}", free_port()));
    let daemon = highhock.config(&config("/nonexistent/one.sock", wrong)).start();
    supervisor.wait_for_status("one.sock");
    supervisor.wait_for_status(wrong);
    daemon.reload(&config("/nonexistent/two.sock", &right));
    supervisor.wait_for_status("two.sock");
    supervisor.wait_for_status(&right);
    let applied = daemon.wait_for_log(&["configuration reloaded"]);
    assert!(applied.contains("etcd.url, docker.url"), "{applied}");
}

#[test]
fn unusable_notify_socket_is_only_a_warning() {
    let supervisor = NotifySocket::start();
    let mut daemon = unreachable_servers(&supervisor).env("NOTIFY_SOCKET", "vsock:2:1").start();
    daemon.wait_for_log(&["WARNING", "systemd notification failed", "vsock:2:1"]);
    assert_eq!(daemon.stop_with("TERM").0, Some(0));
}

/// The unit file as it is installed here, with the built program.
fn unit() -> (TempDir, std::path::PathBuf) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd/highhock.service");
    let text = std::fs::read_to_string(source).unwrap();
    let program = env!("CARGO_BIN_EXE_highhock");
    assert!(text.contains("ExecStart=/usr/bin/highhock"));
    let dir = TempDir::new();
    let path = dir.0.join("highhock.service");
    std::fs::write(&path, text.replace("/usr/bin/highhock", program)).unwrap();
    (dir, path)
}

/// The findings of systemd about a unit and its drop-ins.
fn analyze_errors(analyze: &Path, unit: &Path) -> Vec<String> {
    let output = Command::new(analyze).arg("verify").arg("--man=no").arg(unit).output().unwrap();
    let output_text = String::from_utf8_lossy(&output.stderr).into_owned();
    // systemd checks the machine's other units, too.
    let ours: Vec<_> = output_text.lines().filter(|line| line.contains("highhock")).collect();
    assert!(!ours.is_empty() || output.status.success(), "{output_text}");
    ours.into_iter().map(str::to_owned).collect()
}

#[test]
fn systemd_accepts_the_unit() {
    let Some(analyze) = program("systemd-analyze") else { return };
    let (_dir, unit) = unit();
    assert_eq!(analyze_errors(&analyze, &unit), [""; 0]);
}

#[test]
fn systemd_accepts_the_port_53_drop_in() {
    let Some(analyze) = program("systemd-analyze") else { return };
    let (_dir, unit) = unit();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd/port-53.conf");
    let drop_in = std::fs::read_to_string(source).unwrap();
    let alone = std::fs::read_to_string(&unit).unwrap();
    // Appended, which has the same effect as a drop-in.
    std::fs::write(&unit, format!("{alone}\n{drop_in}")).unwrap();
    assert_eq!(analyze_errors(&analyze, &unit), [""; 0]);
    let broken = drop_in.replace("AmbientCapabilities", "AmbientCapability");
    std::fs::write(&unit, format!("{alone}\n{broken}")).unwrap();
    assert_ne!(analyze_errors(&analyze, &unit), [""; 0]);
}

#[test]
fn unit_exposure_is_low() {
    let Some(analyze) = program("systemd-analyze") else { return };
    let (_dir, unit) = unit();
    let output = Command::new(analyze)
        .args(["security", "--offline=true", "--no-pager", "--threshold=19"])
        .arg(&unit)
        .output()
        .unwrap();
    let output_text = String::from_utf8_lossy(&output.stdout).into_owned();
    let overall = output_text.lines().find(|line| line.contains("Overall exposure level"));
    println!("{}", overall.unwrap_or(&output_text));
    // The threshold is in tenths.
    assert!(output.status.success(), "{output_text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn user_is_in_the_docker_group() {
    let Some(sysusers) = program("systemd-sysusers") else { return };
    let root = TempDir::new();
    let (etc, conf) = (root.0.join("etc"), root.0.join("usr/lib/sysusers.d"));
    std::fs::create_dir_all(&etc).unwrap();
    std::fs::create_dir_all(&conf).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd/highhock.sysusers");
    std::fs::copy(source, conf.join("highhock.conf")).unwrap();
    let output = Command::new(sysusers).arg(format!("--root={}", root.0.display())).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let users = std::fs::read_to_string(etc.join("passwd")).unwrap();
    assert!(users.lines().any(|line| line.starts_with("highhock:")), "{users}");
    let groups = std::fs::read_to_string(etc.join("group")).unwrap();
    let docker = groups.lines().find(|line| line.starts_with("docker:"));
    assert!(docker.is_some_and(|line| line.ends_with(":highhock")), "{groups}");
}
