//! The watch.

use std::time::Duration;

use futures_util::StreamExt;
use highhock_actors::{Change, ChangeStream, Expiry, RecordStore, WriteOutcome};

use crate::fixture::{OTHER, TestDomain, VALUE, write_to};

const TIMEOUT: Duration = Duration::from_secs(10);

async fn next(changes: &mut ChangeStream) -> Change {
    let next = tokio::time::timeout(TIMEOUT, changes.next()).await;
    next.expect("a change within the time limit").expect("an open stream").unwrap()
}

/// Waits for the next change of the value of `name`, skipping changes of v2 directories.
async fn next_value(
    changes: &mut ChangeStream,
    domain: &TestDomain<'_>,
    name: &str,
) -> Option<String> {
    loop {
        let change = next(changes).await;
        if change.key == domain.key(name) {
            return change.now.map(|found| found.value);
        }
        assert_eq!(change.now, None, "{change:?} before {name}");
    }
}

pub async fn watch_reports_all_changes_in_the_domain(domain: &TestDomain<'_>) {
    let lease = domain.lease(1).await;
    let another = domain.another_store();
    domain.foreign_put("before", OTHER, None);
    let mut changes = domain.store.watch().await.unwrap();

    domain.foreign_put("static", OTHER, None);
    let mut change = next(&mut changes).await;
    if change.key == domain.key("before") {
        // The watch is at a member of a cluster that had not applied the write yet.
        change = next(&mut changes).await;
    }
    assert_eq!(change.key, domain.key("static"));
    assert_eq!(change.now, domain.read("static").await.unwrap());
    assert_eq!(change.now.unwrap().expiry, Expiry::Never);

    assert_eq!(
        write_to(&another, domain.put("httpd/one", lease)).await.unwrap(),
        WriteOutcome::Done
    );
    assert_eq!(next_value(&mut changes, domain, "httpd/one").await.as_deref(), Some(VALUE));
    domain.foreign_put("httpd/one", OTHER, Some(60));
    assert_eq!(next_value(&mut changes, domain, "httpd/one").await.as_deref(), Some(OTHER));
    let swap = domain.swap("httpd/one", OTHER, None, lease);
    assert_eq!(domain.write(swap).await.unwrap(), WriteOutcome::Done);
    assert_eq!(next_value(&mut changes, domain, "httpd/one").await.as_deref(), Some(VALUE));
    let delete = domain.delete("httpd/one", VALUE, None);
    assert_eq!(domain.write(delete).await.unwrap(), WriteOutcome::Done);
    assert_eq!(next_value(&mut changes, domain, "httpd/one").await, None);
    domain.foreign_delete("before");
    assert_eq!(next_value(&mut changes, domain, "before").await, None);

    // Many changes at once must arrive complete and in order.
    for number in 0..300 {
        domain.foreign_put("busy", &domain.value_with(&number.to_string()), None);
    }
    for number in 0..300 {
        let value = next_value(&mut changes, domain, "busy").await;
        assert_eq!(value, Some(domain.value_with(&number.to_string())));
    }
}

pub async fn watch_reports_expired_records(domain: &TestDomain<'_>) {
    let mut changes = domain.store.watch().await.unwrap();
    domain.foreign_put("brief", OTHER, Some(2));
    assert_eq!(next_value(&mut changes, domain, "brief").await.as_deref(), Some(OTHER));
    assert_eq!(next_value(&mut changes, domain, "brief").await, None);
}
