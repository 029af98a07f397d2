//! What happens in a container's life, seen by events alone: the daemons here poll once an
//! hour.

use std::time::Duration;

use tokio::time::Instant;

use crate::changes::Changes;
use crate::fixture::{BELOW, Stage};
use crate::support::daemon::Daemon;
use crate::support::docker::{Container, docker};
use crate::support::etcd::Etcd;
use crate::support::eventually;
use crate::{PATIENCE, named};

/// As process 1, it ignores all signals that it has no handler for.
const UNMOVED: [&str; 2] = ["sleep", "100000"];

/// A daemon that follows the events of one stage.
struct Scene {
    etcd: Etcd,
    stage: Stage,
    daemon: Daemon,
}

impl Scene {
    fn new(flags: &[(&str, &str)]) -> Self {
        let (etcd, stage) = (Etcd::start(), Stage::new());
        let highhock = stage.following(&etcd.url());
        let highhock = flags.iter().fold(highhock, |it, (name, value)| it.flag(name, value));
        let daemon = highhock.flag("--log-level", "DEBUG").start();
        daemon.says(&["docker's events are followed"]);
        daemon.says(&["docker listed"]);
        Self { etcd, stage, daemon }
    }

    /// A container that offers its port 80 by this name.
    fn container(&self, name: &str, options: &[&str], command: &[&str]) -> Container {
        let offer = format!("DISCOVER={name}:80");
        let own = ["--label", self.stage.label(), "-e", &offer, "-p", "0:80"];
        Container::run(&[&own, options].concat(), command)
    }

    fn is_there(&self, name: &str) -> bool {
        self.etcd.v3().get(&format!("{BELOW}{name}")).is_some()
    }

    #[track_caller]
    fn comes(&self, name: &str) {
        eventually(&format!("{name} is there"), PATIENCE, || self.is_there(name).then_some(()));
    }

    #[track_caller]
    fn goes(&self, name: &str) {
        eventually(&format!("{name} is gone"), PATIENCE, || (!self.is_there(name)).then_some(()));
    }

    /// Waits until something that happens now is dealt with: what happened before is, then.
    fn settles(&self) {
        let name = named("mark");
        let mark = self.container(&name, &[], &[]);
        self.comes(&name);
        mark.remove();
        self.goes(&name);
    }
}

fn is_running(container: &Container) -> bool {
    docker(&["inspect", "--format", "{{.State.Running}}", container.id()]) == "true"
}

fn kill(container: &Container, signal: &str) {
    docker(&["kill", "--signal", signal, container.id()]);
}

#[test]
fn starts_pauses_ends_and_removals() {
    let scene = Scene::new(&[]);
    let name = named("life");
    let container = scene.container(&name, &[], &[]);
    scene.comes(&name);
    for (verb, is_there) in [
        ("pause", false),
        ("unpause", true),
        ("stop", false),
        ("start", true),
        ("kill", false),
        ("start", true),
        ("restart", true),
    ] {
        container.does(verb);
        if is_there { scene.comes(&name) } else { scene.goes(&name) }
    }
    docker(&["rm", "-f", container.id()]);
    scene.goes(&name);
    assert_eq!(scene.daemon.lines_with(&["docker listed"]).len(), 1);
}

#[test]
fn health_decides_unless_it_is_ignored() {
    let scene = Scene::new(&[]);
    let (heeded, ignored) = (named("heeded"), named("ignored"));
    let check = ["--health-cmd", "test -e /tmp/well", "--health-interval", "1s"];
    let check = [&check[..], &["--health-retries", "1"]].concat();
    let container = scene.container(&heeded, &check, &[]);
    let opted_out = [&check[..], &["--label", "highhock.health=ignore"]].concat();
    let _other = scene.container(&ignored, &opted_out, &[]);
    scene.comes(&ignored);
    assert!(!scene.is_there(&heeded));
    container.exec(&["touch", "/tmp/well"]);
    scene.comes(&heeded);
    container.exec(&["rm", "/tmp/well"]);
    scene.goes(&heeded);
    assert!(scene.is_there(&ignored));
    assert_eq!(scene.daemon.lines_with(&["docker listed"]).len(), 1);
}

#[test]
fn a_stop_signal_withdraws_a_container_that_lives_on() {
    let scene = Scene::new(&[]);
    let (by_term, by_own) = (named("term"), named("own"));
    let one = scene.container(&by_term, &[], &UNMOVED);
    let other = scene.container(&by_own, &["--stop-signal", "RTMIN+3"], &UNMOVED);
    scene.comes(&by_term);
    scene.comes(&by_own);
    for signal in ["HUP", "USR1", "WINCH"] {
        kill(&one, signal);
        kill(&other, signal);
    }
    // Not its own.
    kill(&one, "RTMIN+3");
    scene.settles();
    assert!(scene.is_there(&by_term) && scene.is_there(&by_own));

    kill(&one, "TERM");
    kill(&other, "RTMIN+3");
    scene.goes(&by_term);
    scene.goes(&by_own);
    assert!(is_running(&one) && is_running(&other));
    // Whatever else is told of it.
    docker(&["rename", one.id(), &named("renamed")]);
    kill(&one, "HUP");
    scene.settles();
    assert!(!scene.is_there(&by_term));
    scene.daemon.says(&["held back", "got its stop signal"]);

    docker(&["restart", "-t", "0", one.id()]);
    scene.comes(&by_term);
    assert!(!scene.is_there(&by_own));
}

#[test]
fn one_that_outlives_its_stop_signal_for_long_comes_back() {
    const LONG: Duration = Duration::from_secs(5);
    let scene = Scene::new(&[("--discovery-drain-max", "5")]);
    let name = named("survivor");
    let container = scene.container(&name, &[], &UNMOVED);
    scene.comes(&name);
    let sent = Instant::now();
    kill(&container, "TERM");
    scene.goes(&name);
    scene.comes(&name);
    assert!(sent.elapsed() >= LONG, "{:?}", sent.elapsed());
}

#[test]
fn who_ignores_draining_stays_until_the_end() {
    let scene = Scene::new(&[]);
    let name = named("stays");
    let container = scene.container(&name, &["--label", "highhock.drain=ignore"], &UNMOVED);
    scene.comes(&name);
    kill(&container, "TERM");
    scene.settles();
    assert!(scene.is_there(&name));
    kill(&container, "KILL");
    scene.goes(&name);
}

#[test]
fn nobody_is_drained_where_that_is_switched_off() {
    let scene = Scene::new(&[("--discovery-drain", "false")]);
    let name = named("undrained");
    let container = scene.container(&name, &[], &UNMOVED);
    scene.comes(&name);
    kill(&container, "TERM");
    scene.settles();
    assert!(scene.is_there(&name));
}

#[test]
fn a_crash_loop_does_not_flood_etcd() {
    let scene = Scene::new(&[]);
    let name = named("loop");
    let container = scene.container(&name, &[], &UNMOVED);
    scene.comes(&name);
    let (changes, began) = (Changes::watch(&scene.etcd), Instant::now());
    for _ in 0..12 {
        docker(&["restart", "-t", "0", container.id()]);
    }
    scene.daemon.says(&["held back", "restarts again and again"]);
    scene.comes(&name);
    scene.settles();
    assert!(scene.is_there(&name));
    let took = began.elapsed().as_secs();
    let key = format!("{BELOW}{name}");
    let changes = changes.finish(&scene.etcd);
    let puts = changes.iter().filter(|it| it.key == key && it.value.is_some()).count();
    // Two are free, then one in five seconds.
    assert!(puts as u64 <= 3 + took / 5, "{puts} puts in {took} s");
    assert!(puts < 12, "{puts} puts");
}

#[test]
fn a_restart_policy_is_followed_through_its_restarts() {
    let scene = Scene::new(&[]);
    let name = named("restarting");
    let policy = ["--restart", "on-failure:2"];
    let container = scene.container(&name, &policy, &["sh", "-c", "sleep 1; exit 1"]);
    scene.comes(&name);
    // It is over after its second restart.
    let over = || {
        let told = "{{.RestartCount}} {{.State.Status}}";
        let told = docker(&["inspect", "--format", told, container.id()]);
        (told == "2 exited").then_some(())
    };
    eventually("it has ended for good", PATIENCE, over);
    scene.goes(&name);
    scene.settles();
    assert!(!scene.is_there(&name));
}
