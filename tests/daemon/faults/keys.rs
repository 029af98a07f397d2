//! Faults of single keys: something else is where a record is to be.

use serde_json::Value;

use crate::fixture::{Stage, key, named};
use crate::support::docker::Container;
use crate::support::etcd::Etcd;
use crate::table::{Case, says};

/// Whether this is the container's record, and stands so.
pub fn stands<'a>(container: &'a Container, state: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |row| row["container"] == container.id() && row["state"] == state
}

pub fn foreign_record(case: &Case) {
    let (etcd, stage, name) = (Etcd::start(), Stage::new(), named("foreign"));
    let (v3, key) = (etcd.v3(), key(&name));
    let lease = v3.grant(600, None);
    v3.put(&key, r#"{"host":"10.9.8.7","port":80}"#, Some(lease));
    let (_daemon, admin) = stage.daemon(&etcd.url(), |it| it);
    let container = stage.offering(&name, &[], &[]);
    let row = case.row(admin, "a record on standby", stands(&container, "standby"));
    assert!(says(&row, "standby", &["foreign"]), "{row}");
    assert!(says(&row, "reason", &["10.9.8.7 holds the record"]), "{row}");
    v3.delete(&key);
    case.row(admin, "it is taken over", stands(&container, "live"));

    // Somebody's own entry, for ever: it says who has to go.
    let name = named("static");
    v3.put(&self::key(&name), r#"{"host":"10.9.8.7"}"#, None);
    let container = stage.offering(&name, &[], &[]);
    let row = case.row(admin, "a record on standby", stands(&container, "standby"));
    assert!(says(&row, "standby", &["static"]), "{row}");
    assert!(says(&row, "reason", &["a static entry (without a TTL) is there; remove it"]), "{row}");
}

pub fn shadowed_name(case: &Case) {
    let (etcd, stage, upper) = (Etcd::start(), Stage::new(), named("httpd"));
    let (_daemon, admin) = stage.daemon(&etcd.url(), |it| it);
    let above = stage.offering(&upper, &[], &[]);
    case.row(admin, "the first is there", stands(&above, "live"));
    let below = stage.offering(&format!("api.{upper}"), &[], &[]);
    let row = case.row(admin, "a record on standby", stands(&below, "standby"));
    assert!(says(&row, "standby", &["shadowed"]), "{row}");
    assert!(says(&row, "reason", &[&key(&upper)[1..]]), "{row}");
    above.stop();
    case.row(admin, "nothing shadows it", stands(&below, "live"));
}
