//! Bad input, from a container, an engine or an etcd: told in a clear line, and
//! everything else goes on.

use crate::support::daemon::{Daemon, Highhock};
use crate::support::docker::{self, Container};
use crate::support::etcd::Etcd;
use crate::support::eventually;
use crate::support::proxy::{Front, Play};
use crate::{PATIENCE, becomes, goes, key, named, offering, record, value_at};

#[test]
fn a_malformed_entry_is_told_once_and_its_neighbours_are_kept() {
    let etcd = Etcd::start();
    let daemon = Highhock::new(&etcd.url()).start();
    let (first, last, unpublished) = (named("first"), named("last"), named("unpublished"));
    let container = Container::run(
        &[
            "-e",
            &format!("DISCOVER={first}:80,my web:80,far:70000,{unpublished}:81,{last}:80"),
            "-p",
            "0:80",
        ],
        &[],
    );
    let ours = record(container.published("80/tcp"));
    becomes(&etcd, &key(&last), &ours);
    becomes(&etcd, &key(&first), &ours);
    // Inspected again, and more than once.
    for _ in 0..2 {
        container.does("pause");
        goes(&etcd, &key(&first));
        container.does("unpause");
        becomes(&etcd, &key(&first), &ours);
    }
    for (entry, reason) in [
        ("my web:80", "a name is made of letters"),
        ("far:70000", "is not a port (a number from 1 to 65535)"),
        (&format!("{unpublished}:81"), "not published"),
    ] {
        let told = daemon.lines_with(&["left out", container.name(), entry]);
        assert_eq!(told.len(), 1, "{entry}: {told:#?}");
        assert!(told[0].contains(reason), "{}", told[0]);
    }
}

#[test]
fn an_empty_variable_is_told_once_and_the_label_is_heeded() {
    let etcd = Etcd::start();
    let daemon = Highhock::new(&etcd.url()).start();
    let name = named("labelled");
    let label = format!("highhock.discover={name}:80");
    let container = Container::run(&["-e", "DISCOVER=", "--label", &label, "-p", "0:80"], &[]);
    becomes(&etcd, &key(&name), &record(container.published("80/tcp")));
    let told = daemon.says(&["left out", container.name(), "DISCOVER="]);
    assert!(told.contains("it names no service"), "{told}");
    assert_eq!(daemon.lines_with(&["left out", container.name()]).len(), 1);
}

/// The one line in which the daemon told of a trouble with this server.
#[track_caller]
fn told_once(daemon: &Daemon, trouble: &str) -> String {
    daemon.says(&["WARNING", trouble]);
    let mut lines = daemon.lines_with(&["WARNING", trouble]);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.remove(0)
}

#[test]
fn an_engine_that_answers_html_or_half_a_body_is_told_and_outlived() {
    let etcd = Etcd::start();
    let engine = Front::before(docker::place());
    engine.plays(Play::Html);
    let url = format!("tcp://{}", engine.authority());
    let mut daemon = Highhock::new(&etcd.url()).flag("--docker-url", &url).start();
    let line = told_once(&daemon, "docker does not answer; waiting for it");
    assert!(line.contains(&url) && line.contains("<html>"), "{line}");

    engine.plays(Play::Honest);
    let name = named("outlives");
    let container = offering(&name);
    value_at(&etcd, &key(&name));
    for (play, told) in [(Play::HalfAnswers, "answer"), (Play::Html, "<html>")] {
        let past = daemon.lines_with(&["WARNING", "docker does not answer; what"]).len();
        engine.plays(play);
        let line = eventually(&format!("a line about {play:?}"), PATIENCE, || {
            daemon.lines_with(&["WARNING", "docker does not answer; what"]).get(past).cloned()
        });
        assert!(line.contains(told), "{line}");
        engine.plays(Play::Honest);
        let back = ["NOTICE", "docker answers again"];
        eventually("docker is back", PATIENCE, || {
            (daemon.lines_with(&back).len() > past).then_some(())
        });
        assert!(etcd.get(&key(&name)).is_some());
    }
    container.stop();
    goes(&etcd, &key(&name));
    assert!(daemon.is_alive());
}

#[test]
fn an_etcd_that_answers_html_is_told_and_outlived() {
    let etcd = Etcd::start();
    let front = Front::before(etcd.place());
    front.plays(Play::Html);
    let mut daemon = Highhock::new(&format!("http://{}", front.authority())).start();
    let (name, later) = (named("outlives"), named("later"));
    let container = offering(&name);
    let line = told_once(&daemon, "etcd does not answer");
    assert!(line.contains(&front.authority()) && line.contains("Welcome to nginx"), "{line}");

    front.plays(Play::Honest);
    value_at(&etcd, &key(&name));
    front.plays(Play::Html);
    let second = offering(&later);
    eventually("a second warning", PATIENCE, || {
        (daemon.lines_with(&["WARNING", "etcd does not answer"]).len() == 2).then_some(())
    });
    container.stop();
    front.plays(Play::HalfAnswers);
    daemon.says(&["etcd does not answer"]);
    front.plays(Play::Honest);
    becomes(&etcd, &key(&later), &record(second.published("80/tcp")));
    goes(&etcd, &key(&name));
    assert!(daemon.is_alive());
}
