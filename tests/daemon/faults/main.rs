//! Twelve faults, one at a time: each must be visible, with its cause, at the place that the
//! table in `deploy/README.md` names, and the place must be normal again after the fault. The
//! suite needs the feature `test-hooks`, so `tests/run` starts it by name.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

#[path = "../../support/mod.rs"]
mod support;

mod containers;
mod daemon;
#[allow(dead_code, reason = "a part of it is enough here")]
#[path = "../status_page/driver.rs"]
mod driver;
mod etcd;
mod fixture;
mod keys;
mod table;
mod timing;

use table::{FaultCase, rows};

/// One test for each row of the table, in its order: the failure, the place, and the function
/// that causes the fault.
macro_rules! faults {
    ($($name:ident: $failure:literal, $place:literal, $test:path;)*) => {
        $(#[test]
        fn $name() {
            $test(&FaultCase { place: $place });
        })*

        const CASES: &[(&str, &str)] = &[$(($failure, $place)),*];
    };
}

faults! {
    docker_away: "Docker away", "/readyz", containers::docker_away;
    etcd_away: "etcd away", "/readyz", etcd::away;
    etcd_read_only_or_full: "etcd read-only or full", "/records", etcd::takes_no_writes;
    wrong_password: "Wrong password", "/readyz", etcd::wrong_password;
    expired_certificate: "Expired certificate", "/readyz", etcd::expired_certificate;
    foreign_record: "Foreign record", "/records", keys::foreign_record;
    shadowed_name: "Shadowed name", "/records", keys::shadowed_name;
    unhealthy_container: "Unhealthy container", "/containers", containers::unhealthy;
    crash_loop: "Crash loop", "/containers", containers::crash_loop;
    slow_inserter: "Slow inserter", "/actors", daemon::slow_inserter;
    panicking_watcher: "Panicking watcher", "/actors", daemon::panicking_watcher;
    bad_reload: "Bad reload", "highhock status", daemon::bad_reload;
}

#[test]
fn table_rows_match_the_tests() {
    let rows = rows();
    let rows: Vec<_> = rows.iter().map(|row| (row.failure.as_str(), row.place.as_str())).collect();
    assert_eq!(rows, CASES);
}
