//! Faults of the daemon itself and of its configuration.

use std::time::Duration;

use serde_json::{Value, json};

use crate::driver::Browser;
use crate::fixture::{Fixture, unique_name};
use crate::support::admin::Admin;
use crate::support::docker::{Container, docker};
use crate::support::etcd::Etcd;
use crate::support::eventually;
use crate::table::FaultCase;
use crate::timing::InProcessDaemon;

const TIMEOUT: Duration = Duration::from_secs(30);
/// The time in which the inserter handles no message.
const SLOW_HANDLER_TIME: Duration = Duration::from_secs(10);
const CONTAINERS: usize = 4;

fn is_actor(name: &str) -> impl Fn(&Value) -> bool + '_ {
    move |row| row["actor"] == name
}

fn number(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or_else(|| panic!("{field} in {row}"))
}

/// The value of a metric, by its name with all labels.
#[track_caller]
fn metric(admin: Admin, name: &str) -> f64 {
    let text = admin.get("/metrics").body;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// The inserter's row on the page: the waiting messages, and their waiting time.
fn read_page_row(browser: &Browser) -> (String, String) {
    let row = browser.run(
        "const rows = [...document.querySelectorAll('#actors tbody tr')];\
         const row = rows.find((row) => row.textContent.includes('EtcdInserter'));\
         return row ? [row.children[2].textContent, row.children[6].textContent] : ['', '']",
    );
    let text = |at: usize| row[at].as_str().unwrap().to_owned();
    (text(0), text(1))
}

/// The number at the start of such a cell.
fn first_number(cell: &str) -> f64 {
    cell.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

/// Parses a time as the page prints it.
fn seconds(text: &str) -> f64 {
    let unit = match text.split(' ').nth(1) {
        Some("µs") => 1e-6,
        Some("ms") => 1e-3,
        _ => 1.0,
    };
    first_number(text) * unit
}

pub fn slow_inserter(case: &FaultCase) {
    const DEPTH: &str = "highhock_mailbox_depth{actor=\"EtcdInserter\"}";
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let within = InProcessDaemon::start(&fixture, &etcd.url());
    let admin = within.admin;
    let containers: Vec<_> =
        (0..CONTAINERS).map(|_| fixture.run_service(&unique_name("slow"), &[], &[])).collect();
    all_are_live(admin, &containers);
    let browser = Browser::start();
    if let Some(browser) = &browser {
        browser.open(&admin.url());
        eventually("a row for it", TIMEOUT, || {
            (!read_page_row(browser).0.is_empty()).then_some(())
        });
    }
    let before = case.row(admin, "an inserter at rest", |row| {
        is_actor("EtcdInserter")(row) && number(row, "depth") == 0
    });

    within.with_core(|core| core.inject_inserter_delay(SLOW_HANDLER_TIME));
    let ids: Vec<_> = containers.iter().map(Container::id).collect();
    docker(&[&["pause"], &ids[..]].concat());
    let many = u64::try_from(CONTAINERS).unwrap();
    case.row(admin, "messages that wait", |row| {
        is_actor("EtcdInserter")(row) && number(row, "depth") >= many
    });
    assert!(metric(admin, DEPTH) >= 1.0);
    if let Some(browser) = &browser {
        eventually("they are on the page", TIMEOUT, || {
            (first_number(&read_page_row(browser).0) >= 1.0).then_some(())
        });
    }

    let after = case.row(admin, "none waits any more", |row| {
        is_actor("EtcdInserter")(row)
            && number(row, "depth") == 0
            && number(row, "handled") >= number(&before, "handled") + many
    });
    // The waiting time of a message is known once the message is handled.
    assert!(after["wait_seconds"]["max"].as_f64().unwrap() >= 1.0, "{after}");
    const DOMAIN_LABELS: &str = "actor=\"EtcdInserter\",message=\"Domain\"";
    let waited = |le: &str| {
        let name = "highhock_message_wait_seconds_bucket";
        metric(admin, &format!("{name}{{le=\"{le}\",{DOMAIN_LABELS}}}"))
    };
    assert!(waited("+Inf") - waited("1.0") >= 1.0, "none waited for a second");
    assert_eq!(metric(admin, DEPTH), 0.0);
    if let Some(browser) = &browser {
        eventually("it is over on the page", TIMEOUT, || {
            let (waiting, wait) = read_page_row(browser);
            let (now, worst) = wait.split_once(" (p99 ")?;
            let over = waiting.starts_with("0 (max ") && seconds(now) < 0.1;
            let told = seconds(worst.trim_end_matches(')')) >= 1.0;
            (over && told).then_some(())
        });
    }
    // New messages wait no longer than before.
    docker(&[&["unpause"], &ids[..]].concat());
    all_are_live(admin, &containers);
    let now = case.row(admin, "more was handled", |row| {
        is_actor("EtcdInserter")(row)
            && number(&row["wait_seconds"], "count")
                >= number(&after["wait_seconds"], "count") + many
    });
    let since = |field: &str| {
        let [then, now] = [&after, &now].map(|row| row["wait_seconds"][field].as_f64().unwrap());
        now - then
    };
    assert!(since("sum") / since("count") < 0.1, "{after} {now}");
}

#[track_caller]
fn all_are_live(admin: Admin, containers: &[Container]) {
    for container in containers {
        admin.row("/records", |row| row["container"] == container.id() && row["state"] == "live");
    }
}

pub fn panicking_watcher(case: &FaultCase) {
    const RESTARTS: &str = "highhock_actor_restarts_total{actor=\"ContainerWatcher\"}";
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let within = InProcessDaemon::start(&fixture, &etcd.url());
    let admin = within.admin;
    let containers = [0, 1].map(|_| fixture.run_service(&unique_name("fallen"), &[], &[]));
    all_are_live(admin, &containers);
    let watchers = is_actor("ContainerWatcher");
    let before = case.row(admin, "both watchers", |row| watchers(row) && row["instances"] == 2);
    assert_eq!((&before["panics"], &before["restarts"]), (&json!(0), &json!(0)));

    let name = containers[0].name().to_owned();
    within.with_core(move |core| core.inject_watcher_panic(&name));
    case.row(admin, "one panic", |row| watchers(row) && row["panics"] == 1);
    case.row(admin, "one restart, and both watchers", |row| {
        watchers(row) && row["panics"] == 1 && row["restarts"] == 1 && row["instances"] == 2
    });
    assert_eq!(metric(admin, RESTARTS), 1.0);
    all_are_live(admin, &containers);
}

pub fn bad_reload(case: &FaultCase) {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let (daemon, admin) = fixture.daemon(&etcd.url(), |it| it);
    case.wait_until_shown(admin, &["ready        yes"]);
    case.wait_until_gone(admin, "settings");
    daemon.reload(r#"{"logLevel": "LOUD", "etcd": {"tll": 30}}"#);
    let cause = [
        "the last reload was REJECTED",
        "the old configuration stays active",
        "logLevel",
        "LOUD",
        "tll",
    ];
    case.wait_until_shown(admin, &cause);
    case.wait_until_shown(admin, &["ready        yes"]);
    daemon.reload("{}");
    case.wait_until_gone(admin, "REFUSED");
    // A later rejection is not mixed with an earlier one.
    assert_eq!(admin.json("/status")["reload_refused"], json!([]));
}
