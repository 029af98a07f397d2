//! The built daemon under a supervisor that speaks systemd's notify protocol, where neither
//! Docker nor etcd is there; and the unit, by systemd's own tools.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::daemon::Highhock;
use support::systemd::Supervisor;
use support::tools::program;
use support::{TempDir, free_port};

/// What a clean stop may take (SPEC 7).
const GRACE: Duration = Duration::from_secs(5);

/// With neither Docker nor etcd.
fn lonely(supervisor: &Supervisor) -> Highhock {
    Highhock::new(&format!("http://127.0.0.1:{}", free_port()))
        .flag("--docker-url", "unix:///nonexistent/docker.sock")
        .env("NOTIFY_SOCKET", &supervisor.socket)
}

#[test]
fn it_is_ready_and_says_what_it_waits_for_though_nobody_answers() {
    for supervisor in [Supervisor::start(), Supervisor::start_abstract()] {
        let mut daemon = lonely(&supervisor).start();
        supervisor.hears("READY", 1);
        supervisor.sees("waiting for docker (");
        supervisor.sees("/nonexistent/docker.sock");
        supervisor.sees(" and etcd (");
        let (code, took) = daemon.ends_on("TERM");
        assert_eq!(code, Some(0));
        assert!(took < GRACE, "{took:?}");
        supervisor.hears("STOPPING", 1);
        assert_eq!(supervisor.values("READY"), ["1"]);
        assert_eq!(supervisor.values("WATCHDOG").len(), 0, "nobody asked for it");
    }
}

#[test]
fn it_gives_a_sign_of_life_twice_in_the_watchdogs_time() {
    const LIMIT: Duration = Duration::from_secs(1);
    let supervisor = Supervisor::start();
    let usec = LIMIT.as_micros().to_string();
    let daemon = lonely(&supervisor).env("WATCHDOG_USEC", &usec).start();
    let first = supervisor.hears("WATCHDOG", 1);
    let last = supervisor.hears("WATCHDOG", 9);
    let pings: Vec<_> = supervisor.told();
    let pings: Vec<_> = pings.iter().filter(|told| told.value("WATCHDOG").is_some()).collect();
    let longest = pings.windows(2).map(|two| two[1].at - two[0].at).max().unwrap();
    println!("9 pings in {:?}, {longest:?} apart at most", last.at - first.at);
    assert!(longest < LIMIT, "{longest:?}");
    assert!(last.at - first.at > LIMIT * 3, "not more often than it takes");
    // A daemon that stands still gives none.
    daemon.signal("STOP");
    let before = supervisor.values("WATCHDOG").len();
    std::thread::sleep(LIMIT * 2);
    assert!(supervisor.values("WATCHDOG").len() <= before + 1);
    daemon.signal("CONT");
    supervisor.hears("WATCHDOG", before + 3);
}

#[test]
fn the_watchdog_of_another_process_is_none_of_its_business() {
    let supervisor = Supervisor::start();
    let highhock = lonely(&supervisor).env("WATCHDOG_USEC", "100000").env("WATCHDOG_PID", "1");
    let _daemon = highhock.start();
    supervisor.sees(" and etcd (");
    assert_eq!(supervisor.values("WATCHDOG").len(), 0);
}

#[test]
fn a_reload_is_told_with_its_time_and_followed_by_ready() {
    let supervisor = Supervisor::start();
    let daemon = lonely(&supervisor).start();
    supervisor.hears("READY", 1);
    for (round, config) in ["{}", "{oops", r#"{"logLevel": "INFO"}"#].into_iter().enumerate() {
        daemon.reload(config);
        let reloading = supervisor.hears("RELOADING", round + 1);
        let told: u128 = reloading.value("MONOTONIC_USEC").unwrap().parse().unwrap();
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let now: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let ago = now - told as f64 / 1e6;
        // The boot clock, which is read here, counts a machine's sleep as well.
        assert!((-1.0..86_400.0).contains(&ago), "{ago} s ago");
        assert!(supervisor.hears("READY", round + 2).at >= reloading.at);
    }
}

#[test]
fn a_wrong_url_is_mended_by_a_reload_before_anybody_answered() {
    let supervisor = Supervisor::start();
    let highhock = lonely(&supervisor).without("--docker-url").without("--etcd-url");
    let config = |docker: &str, etcd: &str| {
        format!(r#"{{"docker": {{"url": "unix://{docker}"}}, "etcd": {{"url": "http://{etcd}"}}}}"#)
    };
    let (wrong, right) = ("127.0.0.1:1", format!("127.0.0.1:{}", free_port()));
    let daemon = highhock.config(&config("/nonexistent/one.sock", wrong)).start();
    supervisor.sees("one.sock");
    supervisor.sees(wrong);
    daemon.reload(&config("/nonexistent/two.sock", &right));
    supervisor.sees("two.sock");
    supervisor.sees(&right);
    let applied = daemon.says(&["the configuration was read again and is applied"]);
    assert!(applied.contains("etcd.url, docker.url"), "{applied}");
}

#[test]
fn a_socket_that_is_none_is_warned_of_and_changes_nothing() {
    let supervisor = Supervisor::start();
    let mut daemon = lonely(&supervisor).env("NOTIFY_SOCKET", "vsock:2:1").start();
    daemon.says(&["WARNING", "the supervisor can't be told how it goes", "vsock:2:1"]);
    assert_eq!(daemon.ends_on("TERM").0, Some(0));
}

/// The unit, as it is when it is installed here: with the built program.
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

/// What systemd has to say against a unit and what stands beside it.
fn faults(analyze: &Path, unit: &Path) -> Vec<String> {
    let output = Command::new(analyze).arg("verify").arg("--man=no").arg(unit).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // It looks at the machine's other units, too.
    let ours: Vec<_> = said.lines().filter(|line| line.contains("highhock")).collect();
    assert!(!ours.is_empty() || output.status.success(), "{said}");
    ours.into_iter().map(str::to_owned).collect()
}

#[test]
fn systemd_finds_no_fault_in_the_unit() {
    let Some(analyze) = program("systemd-analyze") else { return };
    let (_dir, unit) = unit();
    assert_eq!(faults(&analyze, &unit), [""; 0]);
}

#[test]
fn systemd_finds_no_fault_in_what_opens_port_53() {
    let Some(analyze) = program("systemd-analyze") else { return };
    let (_dir, unit) = unit();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd/port-53.conf");
    let drop_in = std::fs::read_to_string(source).unwrap();
    let alone = std::fs::read_to_string(&unit).unwrap();
    // It counts as if it stood at the unit's end.
    std::fs::write(&unit, format!("{alone}\n{drop_in}")).unwrap();
    assert_eq!(faults(&analyze, &unit), [""; 0]);
    let broken = drop_in.replace("AmbientCapabilities", "AmbientCapability");
    std::fs::write(&unit, format!("{alone}\n{broken}")).unwrap();
    assert_ne!(faults(&analyze, &unit), [""; 0]);
}

#[test]
fn the_units_exposure_is_low() {
    let Some(analyze) = program("systemd-analyze") else { return };
    let (_dir, unit) = unit();
    let output = Command::new(analyze)
        .args(["security", "--offline=true", "--no-pager", "--threshold=19"])
        .arg(&unit)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let overall = said.lines().find(|line| line.contains("Overall exposure level"));
    println!("{}", overall.unwrap_or(&said));
    // The threshold is in tenths.
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_user_is_one_of_the_engines_group() {
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
