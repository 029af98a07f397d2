//! Suspect listings: a real engine whose listings are manipulated.

use std::time::Duration;

use crate::TIMEOUT;
use crate::changes::{WatchRecorder, deleted_keys};
use crate::fixture::{Fixture, records_of, stored_records, wait_for_records};
use crate::support::daemon::Daemon;
use crate::support::etcd::Etcd;
use crate::support::eventually;
use crate::support::proxy::ProxyMode;

const MASS_WITHDRAWAL_WARNING: &str = "listing would withdraw most records";
const OTHER_ENGINE_WARNING: &str = "docker engine changed";

/// Waits until the daemon has listed this many times more.
fn wait_for_listings(fixture: &Fixture, times: usize) {
    let before = fixture.proxy().request_counts().0;
    eventually("it lists", TIMEOUT, || {
        (fixture.proxy().request_counts().0 >= before + times).then_some(())
    });
}

/// Manipulates the listings until the daemon logs this text.
fn wait_until_logged(fixture: &Fixture, daemon: &Daemon, mode: ProxyMode, what: &str) {
    let before = daemon.lines_with(&[what]).len();
    fixture.proxy().set_mode(mode);
    let said = || (daemon.lines_with(&[what]).len() > before).then_some(());
    eventually(what, TIMEOUT, said);
    fixture.proxy().set_mode(ProxyMode::PassThrough);
}

#[test]
fn mass_withdrawal_needs_a_second_listing() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    let service_containers = [fixture.service_container(8), fixture.service_container(4)];
    // Long enough that a single listing can be manipulated.
    let daemon = fixture.highhock(&etcd.url()).flag("--docker-poll", "2").start();
    let records = records_of(&service_containers, 60);
    wait_for_records(&etcd.v3(), &records, TIMEOUT);

    let changes = WatchRecorder::watch(&etcd);
    wait_until_logged(&fixture, &daemon, ProxyMode::EmptyListing, MASS_WITHDRAWAL_WARNING);
    wait_for_listings(&fixture, 3);
    assert_eq!(stored_records(&etcd.v3()), records);
    assert_eq!(deleted_keys(&changes.finish(&etcd)), [""; 0]);

    // Two such listings are accepted.
    fixture.proxy().set_mode(ProxyMode::EmptyListing);
    wait_for_records(&etcd.v3(), &Default::default(), TIMEOUT);
    fixture.proxy().set_mode(ProxyMode::PassThrough);
    wait_for_records(&etcd.v3(), &records, TIMEOUT);
}

#[test]
fn replaced_engine_needs_a_second_listing() {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    // Few enough that their number alone makes no listing suspect.
    let services = fixture.service_container(3);
    let daemon = fixture.highhock(&etcd.url()).flag("--docker-poll", "2").start();
    let records = services.records();
    wait_for_records(&etcd.v3(), &records, TIMEOUT);

    let changes = WatchRecorder::watch(&etcd);
    wait_until_logged(&fixture, &daemon, ProxyMode::OtherEngine, OTHER_ENGINE_WARNING);
    wait_for_listings(&fixture, 3);
    assert_eq!(stored_records(&etcd.v3()), records);
    assert_eq!(deleted_keys(&changes.finish(&etcd)), [""; 0]);

    fixture.proxy().set_mode(ProxyMode::OtherEngine);
    wait_for_records(&etcd.v3(), &Default::default(), Duration::from_secs(10));
}
