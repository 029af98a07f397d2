//! The life of a container, observed by events alone: these daemons poll once an hour.

use std::time::Duration;

use tokio::time::Instant;

use crate::changes::WatchRecorder;
use crate::fixture::{Fixture, KEY_PREFIX};
use crate::support::daemon::Daemon;
use crate::support::docker::{Container, docker};
use crate::support::etcd::Etcd;
use crate::support::eventually;
use crate::{TIMEOUT, unique_name};

/// Process 1 ignores all signals without a handler.
const IGNORES_SIGNALS: [&str; 2] = ["sleep", "100000"];

/// A daemon that follows the events of one fixture.
struct LifecycleFixture {
    etcd: Etcd,
    fixture: Fixture,
    daemon: Daemon,
}

impl LifecycleFixture {
    fn new(flags: &[(&str, &str)]) -> Self {
        let (etcd, fixture) = (Etcd::start(), Fixture::new());
        let highhock = fixture.event_driven(&etcd.url());
        let highhock = flags.iter().fold(highhock, |it, (name, value)| it.flag(name, value));
        let daemon = highhock.flag("--log-level", "DEBUG").start();
        daemon.wait_for_log(&["docker event stream open"]);
        daemon.wait_for_log(&["docker listed"]);
        Self { etcd, fixture, daemon }
    }

    /// A container that declares its port 80 by this name.
    fn container(&self, name: &str, options: &[&str], command: &[&str]) -> Container {
        let offer = format!("DISCOVER={name}:80");
        let own = ["--label", self.fixture.label(), "-e", &offer, "-p", "0:80"];
        Container::run(&[&own, options].concat(), command)
    }

    fn has_record(&self, name: &str) -> bool {
        self.etcd.v3().get(&format!("{KEY_PREFIX}{name}")).is_some()
    }

    #[track_caller]
    fn wait_for_record(&self, name: &str) {
        eventually(&format!("{name} is published"), TIMEOUT, || {
            self.has_record(name).then_some(())
        });
    }

    #[track_caller]
    fn wait_for_removal(&self, name: &str) {
        eventually(&format!("{name} is withdrawn"), TIMEOUT, || {
            (!self.has_record(name)).then_some(())
        });
    }

    /// Waits until a new event was processed, and therefore all earlier ones.
    fn wait_for_settled(&self) {
        let name = unique_name("mark");
        let mark = self.container(&name, &[], &[]);
        self.wait_for_record(&name);
        mark.remove();
        self.wait_for_removal(&name);
    }
}

fn is_running(container: &Container) -> bool {
    docker(&["inspect", "--format", "{{.State.Running}}", container.id()]) == "true"
}

fn kill(container: &Container, signal: &str) {
    docker(&["kill", "--signal", signal, container.id()]);
}

#[test]
fn records_follow_start_pause_end_and_removal() {
    let fixture = LifecycleFixture::new(&[]);
    let name = unique_name("life");
    let container = fixture.container(&name, &[], &[]);
    fixture.wait_for_record(&name);
    for (verb, has_record) in [
        ("pause", false),
        ("unpause", true),
        ("stop", false),
        ("start", true),
        ("kill", false),
        ("start", true),
        ("restart", true),
    ] {
        container.docker_command(verb);
        if has_record { fixture.wait_for_record(&name) } else { fixture.wait_for_removal(&name) }
    }
    docker(&["rm", "-f", container.id()]);
    fixture.wait_for_removal(&name);
    assert_eq!(fixture.daemon.lines_with(&["docker listed"]).len(), 1);
}

#[test]
fn unhealthy_container_is_withdrawn_unless_ignored() {
    let fixture = LifecycleFixture::new(&[]);
    let (gated, ignored) = (unique_name("gated"), unique_name("ignored"));
    let check = ["--health-cmd", "test -e /tmp/well", "--health-interval", "1s"];
    let check = [&check[..], &["--health-retries", "1"]].concat();
    let container = fixture.container(&gated, &check, &[]);
    let opted_out = [&check[..], &["--label", "highhock.health=ignore"]].concat();
    let _other = fixture.container(&ignored, &opted_out, &[]);
    fixture.wait_for_record(&ignored);
    assert!(!fixture.has_record(&gated));
    container.exec(&["touch", "/tmp/well"]);
    fixture.wait_for_record(&gated);
    container.exec(&["rm", "/tmp/well"]);
    fixture.wait_for_removal(&gated);
    assert!(fixture.has_record(&ignored));
    assert_eq!(fixture.daemon.lines_with(&["docker listed"]).len(), 1);
}

#[test]
fn stop_signal_withdraws_a_running_container() {
    let fixture = LifecycleFixture::new(&[]);
    let (by_term, by_own) = (unique_name("term"), unique_name("own"));
    let one = fixture.container(&by_term, &[], &IGNORES_SIGNALS);
    let other = fixture.container(&by_own, &["--stop-signal", "RTMIN+3"], &IGNORES_SIGNALS);
    fixture.wait_for_record(&by_term);
    fixture.wait_for_record(&by_own);
    for signal in ["HUP", "USR1", "WINCH"] {
        kill(&one, signal);
        kill(&other, signal);
    }
    // Another signal than its stop signal.
    kill(&one, "RTMIN+3");
    fixture.wait_for_settled();
    assert!(fixture.has_record(&by_term) && fixture.has_record(&by_own));

    kill(&one, "TERM");
    kill(&other, "RTMIN+3");
    fixture.wait_for_removal(&by_term);
    fixture.wait_for_removal(&by_own);
    assert!(is_running(&one) && is_running(&other));
    // Regardless of other events.
    docker(&["rename", one.id(), &unique_name("renamed")]);
    kill(&one, "HUP");
    fixture.wait_for_settled();
    assert!(!fixture.has_record(&by_term));
    fixture.daemon.wait_for_log(&["container withheld", "received its stop signal"]);

    docker(&["restart", "-t", "0", one.id()]);
    fixture.wait_for_record(&by_term);
    assert!(!fixture.has_record(&by_own));
}

#[test]
fn republishes_after_drain_timeout() {
    const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
    let fixture = LifecycleFixture::new(&[("--discovery-drain-max", "5")]);
    let name = unique_name("survivor");
    let container = fixture.container(&name, &[], &IGNORES_SIGNALS);
    fixture.wait_for_record(&name);
    let sent = Instant::now();
    kill(&container, "TERM");
    fixture.wait_for_removal(&name);
    fixture.wait_for_record(&name);
    assert!(sent.elapsed() >= DRAIN_TIMEOUT, "{:?}", sent.elapsed());
}

#[test]
fn drain_label_ignore_keeps_the_record_until_the_end() {
    let fixture = LifecycleFixture::new(&[]);
    let name = unique_name("stays");
    let container =
        fixture.container(&name, &["--label", "highhock.drain=ignore"], &IGNORES_SIGNALS);
    fixture.wait_for_record(&name);
    kill(&container, "TERM");
    fixture.wait_for_settled();
    assert!(fixture.has_record(&name));
    kill(&container, "KILL");
    fixture.wait_for_removal(&name);
}

#[test]
fn disabled_drain_keeps_the_record_until_the_end() {
    let fixture = LifecycleFixture::new(&[("--discovery-drain", "false")]);
    let name = unique_name("undrained");
    let container = fixture.container(&name, &[], &IGNORES_SIGNALS);
    fixture.wait_for_record(&name);
    kill(&container, "TERM");
    fixture.wait_for_settled();
    assert!(fixture.has_record(&name));
}

#[test]
fn crash_loop_does_not_flood_etcd() {
    let fixture = LifecycleFixture::new(&[]);
    let name = unique_name("loop");
    let container = fixture.container(&name, &[], &IGNORES_SIGNALS);
    fixture.wait_for_record(&name);
    let (changes, began) = (WatchRecorder::watch(&fixture.etcd), Instant::now());
    for _ in 0..12 {
        docker(&["restart", "-t", "0", container.id()]);
    }
    fixture.daemon.wait_for_log(&["container withheld", "restarts repeatedly"]);
    fixture.wait_for_record(&name);
    fixture.wait_for_settled();
    assert!(fixture.has_record(&name));
    let took = began.elapsed().as_secs();
    let key = format!("{KEY_PREFIX}{name}");
    let changes = changes.finish(&fixture.etcd);
    let puts = changes.iter().filter(|it| it.key == key && it.value.is_some()).count();
    // Two starts are published at once, then one per five seconds.
    assert!(puts as u64 <= 3 + took / 5, "{puts} puts in {took} s");
    assert!(puts < 12, "{puts} puts");
}

#[test]
fn records_follow_a_restart_policy() {
    let fixture = LifecycleFixture::new(&[]);
    let name = unique_name("restarting");
    let policy = ["--restart", "on-failure:2"];
    let container = fixture.container(&name, &policy, &["sh", "-c", "sleep 1; exit 1"]);
    fixture.wait_for_record(&name);
    // The container has ended after its second restart.
    let over = || {
        let state = "{{.RestartCount}} {{.State.Status}}";
        let state = docker(&["inspect", "--format", state, container.id()]);
        (state == "2 exited").then_some(())
    };
    eventually("it has ended for good", TIMEOUT, over);
    fixture.wait_for_removal(&name);
    fixture.wait_for_settled();
    assert!(!fixture.has_record(&name));
}
