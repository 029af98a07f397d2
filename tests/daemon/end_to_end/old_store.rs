//! An etcd that returns after the TTL of the records, or with the content of an old snapshot.

use std::time::Duration;

use serde_json::Value;

use crate::TIMEOUT;
use crate::fixture::{Fixture, records_of, stored_records, wait_for_records};
use crate::support::admin::Admin;
use crate::support::etcd::Etcd;
use crate::support::eventually;

/// The time in which records with a TTL of five seconds expire, on a busy machine.
const EXPIRY_TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn withdraws_records_that_a_snapshot_restored() {
    let (mut etcd, fixture) = (Etcd::start(), Fixture::new());
    let v3 = etcd.v3();
    let (staying, ended) = (fixture.service_container(5), fixture.service_container(5));
    let highhock = fixture.highhock(&etcd.url());
    let mut first = highhock.start();
    wait_for_records(&v3, &records_of([&staying, &ended], 60), TIMEOUT);
    let snapshot = etcd.snapshot();

    // The second process never knew the container that ended.
    first.stop_with("TERM");
    ended.container.remove();
    let daemon = highhock.start();
    wait_for_records(&v3, &staying.records(), TIMEOUT);
    daemon.wait_for_log(&["record withdrawn"]);

    etcd.stop();
    etcd.restore(&snapshot);
    daemon.wait_for_log(&["WARNING", "went back in time"]);
    wait_for_records(&v3, &staying.records(), TIMEOUT);
    assert_eq!(daemon.lines_with(&["orphaned records"]), [""; 0]);
}

#[test]
fn records_expire_while_etcd_is_away() {
    for api in ["v2", "v3"] {
        let (mut etcd, fixture, admin) = (Etcd::start(), Fixture::new(), Admin::on_loopback());
        let services = fixture.service_container(3);
        let highhock = fixture.highhock(&etcd.url()).flag("--etcd-api", api);
        let highhock = highhock.flag("--etcd-ttl", "5").flag("--admin-listen", &admin.listen());
        let daemon = highhock.start();
        let count = |state: &str| admin.json("/status")["records"][state].as_u64();
        eventually("the records are live", TIMEOUT, || (count("live") == Some(3)).then_some(()));

        etcd.kill();
        eventually("they are expired", EXPIRY_TIMEOUT, || {
            (count("expired") == Some(3)).then_some(())
        });
        assert_eq!(count("live"), Some(0));
        daemon.wait_for_log(&["ERROR", "records expired"]);
        let rows = admin.json("/records");
        assert!(rows.as_array().unwrap().iter().all(|row| row["state"] == "expired"), "{rows}");
        assert!(admin.get("/metrics").body.contains(r#"highhock_records{state="expired"} 3.0"#));
        let left = &admin.json("/status")["lease_remaining_seconds"];
        assert_eq!(*left, if api == "v2" { Value::Null } else { 0.0.into() });

        etcd.restart(false);
        eventually("they are live again", TIMEOUT, || (count("live") == Some(3)).then_some(()));
        assert_eq!(daemon.lines_with(&["ERROR"]).len(), 1, "{}", daemon.log());
        if api == "v3" {
            assert_eq!(stored_records(&etcd.v3()), services.records_with_ttl(5));
        }
    }
}
