//! Faults of Docker and of containers.

use std::fs;

use serde_json::{Value, json};

use crate::fixture::{Fixture, unique_name};
use crate::support::TempDir;
use crate::support::cuttable_proxy::CuttableProxy;
use crate::support::docker::Container;
use crate::support::etcd::Etcd;
use crate::table::{FaultCase, field_contains};

pub fn docker_away(case: &FaultCase) {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let mut proxy = CuttableProxy::tcp(fixture.engine.server_address());
    let url = format!("tcp://{}", proxy.authority());
    let (_daemon, admin) = fixture.daemon(&etcd.url(), |it| it.flag("--docker-url", &url));
    case.wait_until_shown(admin, &["\"ready\":true"]);
    proxy.cut();
    case.wait_until_shown(
        admin,
        &[
            "docker was last listed",
            "connection refused; check that Docker is running",
            &proxy.authority(),
        ],
    );
    proxy.restore();
    case.wait_until_shown(admin, &["\"ready\":true"]);
}

fn has_state<'a>(container: &'a Container, state: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |row| row["id"] == container.id() && row["state"] == state
}

/// Returns `true` if the container is shown as running without a reason.
fn is_live(container: &Container) -> impl Fn(&Value) -> bool + '_ {
    move |row| has_state(container, "running")(row) && row["withheld"] == json!(null)
}

pub fn unhealthy(case: &FaultCase) {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let (_daemon, admin) = fixture.daemon(&etcd.url(), |it| it);
    let check = ["--health-cmd", "test -e /tmp/well", "--health-interval", "1s"];
    let options = [&check[..], &["--health-retries", "1"]].concat();
    let container = fixture.run_service(&unique_name("ill"), &options, &[]);
    let row = case.row(admin, "an unhealthy container", has_state(&container, "unhealthy"));
    assert!(field_contains(&row, "withheld", &["is unhealthy: its health check fails"]), "{row}");
    container.exec(&["touch", "/tmp/well"]);
    case.row(admin, "a healthy one", is_live(&container));
}

pub fn crash_loop(case: &FaultCase) {
    let (etcd, fixture, dir) = (Etcd::start(), Fixture::new(), TempDir::new());
    let (_daemon, admin) = fixture.daemon(&etcd.url(), |it| it);
    let volume = format!("{}:/from-outside", dir.0.display());
    let options = ["--restart", "always", "--volume", &volume];
    let command = "if [ -e /from-outside/well ]; then sleep 1000; fi; exit 3";
    let container = fixture.run_service(&unique_name("loop"), &options, &["sh", "-c", command]);
    // While the container runs for a moment, another reason is shown.
    let cause = ["times so far", "it ended with exit code 3", "docker logs"];
    case.row(admin, "a crash loop", |row| {
        has_state(&container, "crash_looping")(row) && field_contains(row, "withheld", &cause)
    });
    fs::write(dir.0.join("well"), "").unwrap();
    case.row(admin, "its end", is_live(&container));
}
