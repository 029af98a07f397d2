//! Faults of single keys: another value is at the key of a record.

use serde_json::Value;

use crate::fixture::{Fixture, key, unique_name};
use crate::support::docker::Container;
use crate::support::etcd::Etcd;
use crate::table::{FaultCase, field_contains};

/// Returns `true` if the row is the record of this container and has this state.
pub fn has_state<'a>(container: &'a Container, state: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |row| row["container"] == container.id() && row["state"] == state
}

pub fn foreign_record(case: &FaultCase) {
    let (etcd, fixture, name) = (Etcd::start(), Fixture::new(), unique_name("foreign"));
    let (v3, key) = (etcd.v3(), key(&name));
    let lease = v3.grant(600, None);
    v3.put(&key, r#"{"host":"10.9.8.7","port":80}"#, Some(lease));
    let (_daemon, admin) = fixture.daemon(&etcd.url(), |it| it);
    let container = fixture.run_service(&name, &[], &[]);
    let row = case.row(admin, "a record on standby", has_state(&container, "standby"));
    assert!(field_contains(&row, "standby", &["foreign"]), "{row}");
    assert!(field_contains(&row, "reason", &["10.9.8.7 holds the key"]), "{row}");
    v3.delete(&key);
    case.row(admin, "it is taken over", has_state(&container, "live"));

    // A static record of an administrator.
    let name = unique_name("static");
    v3.put(&self::key(&name), r#"{"host":"10.9.8.7"}"#, None);
    let container = fixture.run_service(&name, &[], &[]);
    let row = case.row(admin, "a record on standby", has_state(&container, "standby"));
    assert!(field_contains(&row, "standby", &["static"]), "{row}");
    assert!(
        field_contains(
            &row,
            "reason",
            &["a static record (without a TTL) is at this key; remove it"]
        ),
        "{row}"
    );
}

pub fn shadowed_name(case: &FaultCase) {
    let (etcd, fixture, upper) = (Etcd::start(), Fixture::new(), unique_name("httpd"));
    let (_daemon, admin) = fixture.daemon(&etcd.url(), |it| it);
    let above = fixture.run_service(&upper, &[], &[]);
    case.row(admin, "the first is there", has_state(&above, "live"));
    let below = fixture.run_service(&format!("api.{upper}"), &[], &[]);
    let row = case.row(admin, "a record on standby", has_state(&below, "standby"));
    assert!(field_contains(&row, "standby", &["shadowed"]), "{row}");
    assert!(field_contains(&row, "reason", &[&key(&upper)[1..]]), "{row}");
    above.stop();
    case.row(admin, "nothing shadows it", has_state(&below, "live"));
}
