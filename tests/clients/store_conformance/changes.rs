//! The watch.

use std::time::Duration;

use futures_util::StreamExt;
use highhock_actors::{Change, Changes, RecordStore, Tie, Written};

use crate::fixture::{Field, OTHER, VALUE, write_to};

const SOON: Duration = Duration::from_secs(10);

async fn next(changes: &mut Changes) -> Change {
    let next = tokio::time::timeout(SOON, changes.next()).await;
    next.expect("a change soon").expect("no end").unwrap()
}

/// The next change that tells of a value's coming or going, and not of a v2
/// directory's.
async fn next_of(changes: &mut Changes, field: &Field<'_>, name: &str) -> Option<String> {
    loop {
        let change = next(changes).await;
        if change.key == field.key(name) {
            return change.now.map(|found| found.value);
        }
        assert_eq!(change.now, None, "{change:?} before {name}");
    }
}

pub async fn a_watch_sees_all_changes_in_the_domain(field: &Field<'_>) {
    let lease = field.lease(1).await;
    let another = field.another_store();
    field.foreign_put("before", OTHER, None);
    let mut changes = field.store.watch().await.unwrap();

    field.foreign_put("static", OTHER, None);
    let change = next(&mut changes).await;
    assert_eq!(change.key, field.key("static"));
    assert_eq!(change.now, field.read("static").await.unwrap());
    assert_eq!(change.now.unwrap().tie, Tie::None);

    assert_eq!(write_to(&another, field.put("httpd/one", lease)).await.unwrap(), Written::Done);
    assert_eq!(next_of(&mut changes, field, "httpd/one").await.as_deref(), Some(VALUE));
    field.foreign_put("httpd/one", OTHER, Some(60));
    assert_eq!(next_of(&mut changes, field, "httpd/one").await.as_deref(), Some(OTHER));
    let swap = field.swap("httpd/one", OTHER, None, lease);
    assert_eq!(field.write(swap).await.unwrap(), Written::Done);
    assert_eq!(next_of(&mut changes, field, "httpd/one").await.as_deref(), Some(VALUE));
    let delete = field.delete("httpd/one", VALUE, None);
    assert_eq!(field.write(delete).await.unwrap(), Written::Done);
    assert_eq!(next_of(&mut changes, field, "httpd/one").await, None);
    field.foreign_delete("before");
    assert_eq!(next_of(&mut changes, field, "before").await, None);

    // Many at once, none lost, in their order.
    for number in 0..300 {
        field.foreign_put("busy", &field.value_with(&number.to_string()), None);
    }
    for number in 0..300 {
        let value = next_of(&mut changes, field, "busy").await;
        assert_eq!(value, Some(field.value_with(&number.to_string())));
    }
}

pub async fn a_watch_sees_what_expires(field: &Field<'_>) {
    let mut changes = field.store.watch().await.unwrap();
    field.foreign_put("brief", OTHER, Some(2));
    assert_eq!(next_of(&mut changes, field, "brief").await.as_deref(), Some(OTHER));
    assert_eq!(next_of(&mut changes, field, "brief").await, None);
}
