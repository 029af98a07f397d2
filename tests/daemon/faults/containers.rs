//! Faults of Docker, and of what runs there.

use std::fs;

use serde_json::{Value, json};

use crate::fixture::{Stage, named};
use crate::support::TempDir;
use crate::support::cuttable_proxy::Relay;
use crate::support::docker::Container;
use crate::support::etcd::Etcd;
use crate::table::{Case, says};

pub fn docker_away(case: &Case) {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let mut way = Relay::tcp(stage.engine.place());
    let url = format!("tcp://{}", way.authority());
    let (_daemon, admin) = stage.daemon(&etcd.url(), |it| it.flag("--docker-url", &url));
    case.shows(admin, &["\"ready\":true"]);
    way.cut();
    case.shows(
        admin,
        &["docker was last listed", "connection refused; is Docker running", &way.authority()],
    );
    way.mend();
    case.shows(admin, &["\"ready\":true"]);
}

fn is_of<'a>(container: &'a Container, state: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |row| row["id"] == container.id() && row["state"] == state
}

/// Whether it is shown as running, with nothing against it.
fn is_well(container: &Container) -> impl Fn(&Value) -> bool + '_ {
    move |row| is_of(container, "running")(row) && row["withheld"] == json!(null)
}

pub fn unhealthy(case: &Case) {
    let (etcd, stage) = (Etcd::start(), Stage::new());
    let (_daemon, admin) = stage.daemon(&etcd.url(), |it| it);
    let check = ["--health-cmd", "test -e /tmp/well", "--health-interval", "1s"];
    let options = [&check[..], &["--health-retries", "1"]].concat();
    let container = stage.offering(&named("ill"), &options, &[]);
    let row = case.row(admin, "an unhealthy container", is_of(&container, "unhealthy"));
    assert!(says(&row, "withheld", &["is unhealthy, says its health check"]), "{row}");
    container.exec(&["touch", "/tmp/well"]);
    case.row(admin, "a healthy one", is_well(&container));
}

pub fn crash_loop(case: &Case) {
    let (etcd, stage, dir) = (Etcd::start(), Stage::new(), TempDir::new());
    let (_daemon, admin) = stage.daemon(&etcd.url(), |it| it);
    let volume = format!("{}:/from-outside", dir.0.display());
    let options = ["--restart", "always", "--volume", &volume];
    let command = "if [ -e /from-outside/well ]; then sleep 1000; fi; exit 3";
    let container = stage.offering(&named("loop"), &options, &["sh", "-c", command]);
    // In the moments in which it runs, another reason is told.
    let cause = ["times so far", "it ended with exit code 3", "docker logs"];
    case.row(admin, "a crash loop", |row| {
        is_of(&container, "crash_looping")(row) && says(row, "withheld", &cause)
    });
    fs::write(dir.0.join("well"), "").unwrap();
    case.row(admin, "its end", is_well(&container));
}
