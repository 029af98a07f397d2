//! Puts, deletes, reads, and records that must not change.

use highhock_actors::{Expiry, Precondition, RecordStore, StoreErrorKind, WriteOutcome};

use crate::fixture::{OTHER, TestDomain, VALUE, expect_value};

pub async fn creates_an_absent_key(domain: &TestDomain<'_>) {
    let lease = domain.lease(1).await;
    assert_eq!(domain.write(domain.put("httpd", lease)).await.unwrap(), WriteOutcome::Done);
    let found = domain.found("httpd").await;
    assert_eq!(found.value, VALUE);
    match lease {
        Some(lease) => assert_eq!(found.expiry, Expiry::Lease(lease)),
        None => {
            assert!(matches!(found.expiry, Expiry::Ttl(left) if left.as_secs() > 50), "{found:?}")
        }
    }
    assert_eq!(domain.write(domain.put("httpd", lease)).await.unwrap(), WriteOutcome::Conflict);
    assert_eq!(domain.found("httpd").await.version, found.version);
}

pub async fn swaps_by_value_and_by_version(domain: &TestDomain<'_>) {
    let lease = domain.lease(1).await;
    let swap = |old: &str, version| domain.swap("httpd", old, version, lease);
    assert_eq!(domain.write(swap(OTHER, None)).await.unwrap(), WriteOutcome::Missing);
    assert_eq!(domain.names(), [""; 0]);

    domain.foreign_put("httpd", OTHER, Some(60));
    let version = domain.found("httpd").await.version;
    for wrong in [swap("something else", Some(version)), swap(OTHER, Some(version + 1))] {
        assert_eq!(domain.write(wrong).await.unwrap(), WriteOutcome::Conflict);
    }
    assert_eq!(domain.found("httpd").await.version, version);
    assert_eq!(domain.write(swap(OTHER, Some(version))).await.unwrap(), WriteOutcome::Done);
    let found = domain.found("httpd").await;
    assert_eq!(found.value, VALUE);
    assert!(found.version > version);
    assert_eq!(domain.write(swap(VALUE, None)).await.unwrap(), WriteOutcome::Done);
}

pub async fn deletes_only_the_expected_record(domain: &TestDomain<'_>) {
    let delete = |value: &str, version| domain.delete("httpd", value, version);
    assert_eq!(domain.write(delete(VALUE, None)).await.unwrap(), WriteOutcome::Missing);
    domain.foreign_put("httpd", OTHER, Some(60));
    let version = domain.found("httpd").await.version;
    for wrong in [delete(VALUE, None), delete(OTHER, Some(version + 1))] {
        assert_eq!(domain.write(wrong).await.unwrap(), WriteOutcome::Conflict);
    }
    assert_eq!(domain.found("httpd").await.value, OTHER);
    assert_eq!(domain.write(delete(OTHER, Some(version))).await.unwrap(), WriteOutcome::Done);
    assert_eq!(domain.read("httpd").await.unwrap(), None);
    assert_eq!(domain.names(), [""; 0]);
}

pub async fn reads_value_and_expiry(domain: &TestDomain<'_>) {
    let lease = domain.foreign_put("s7", VALUE, Some(60));
    domain.foreign_put("s300", OTHER, None);
    let keys = (0..500).map(|number| domain.key(&format!("s{number}"))).collect::<Vec<_>>();
    let outcomes = domain.store.read(keys).await;
    assert_eq!(outcomes.len(), 500);
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let found = outcome.unwrap();
        match number {
            7 => {
                let found = found.unwrap();
                assert_eq!(found.value, VALUE);
                match lease {
                    Some(lease) => assert_eq!(found.expiry, Expiry::Lease(lease)),
                    None => assert!(matches!(found.expiry, Expiry::Ttl(_)), "{found:?}"),
                }
            }
            300 => assert_eq!(
                found.map(|it| (it.value, it.expiry)),
                Some((OTHER.into(), Expiry::Never))
            ),
            _ => assert_eq!(found, None, "{number}"),
        }
    }
    domain.store.probe().await.unwrap();
}

pub async fn keeps_static_entries_and_foreign_records(domain: &TestDomain<'_>) {
    let lease = domain.lease(1).await;
    domain.foreign_put("static", OTHER, None);
    domain.foreign_put("others", OTHER, Some(60));
    for name in ["static", "others"] {
        let before = domain.found(name).await;
        for write in [
            domain.put(name, lease),
            domain.swap(name, VALUE, None, lease),
            domain.delete(name, VALUE, None),
        ] {
            assert_eq!(domain.write(write).await.unwrap(), WriteOutcome::Conflict, "{name}");
        }
        let after = domain.found(name).await;
        assert_eq!((after.value, after.version), (before.value, before.version));
    }
}

pub async fn name_above_or_below_another_is_blocked(domain: &TestDomain<'_>) {
    let lease = domain.lease(1).await;
    domain.foreign_put("httpd", OTHER, None);
    domain.foreign_put("full/far/api", OTHER, None);
    for (blocked, reason) in [
        ("httpd/api", format!("there is a record at {}, above it", domain.path("httpd"))),
        ("httpd/api/v1", format!("there is a record at {}, above it", domain.path("httpd"))),
        ("full", "there are records below it, such as ".to_owned()),
        ("full/far", "there are records below it, such as ".to_owned()),
    ] {
        let error = domain.write(domain.put(blocked, lease)).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Blocked, "{blocked}: {error}");
        assert!(error.message.contains(&reason), "{blocked}: {error}");
        assert!(error.message.contains("rename one of the services"), "{error}");
        // A missing record is the intended result of a delete.
        let delete = domain.delete(blocked, VALUE, None);
        assert_eq!(domain.write(delete).await.unwrap(), WriteOutcome::Missing, "{blocked}");
    }
    // Names that only share a prefix do not conflict.
    for name in ["httpd2", "http", "httpd-api", "ful", "full0", "full/far0"] {
        assert_eq!(
            domain.write(domain.put(name, lease)).await.unwrap(),
            WriteOutcome::Done,
            "{name}"
        );
    }
    assert_eq!(domain.found("httpd").await.value, OTHER);
    assert_eq!(domain.found("full/far/api").await.value, OTHER);
}

/// Conflicting names in one batch are not both written either.
pub async fn conflicting_names_are_never_both_put(domain: &TestDomain<'_>) {
    let lease = domain.lease(1).await;
    let names = ["a", "a/x", "b/y", "b", "c/d/e", "c/d", "c", "free"];
    let writes = names.iter().map(|name| domain.put(name, lease)).collect();
    let outcomes = domain.store.write(writes).await;
    let mut done = Vec::new();
    for (name, outcome) in names.iter().zip(outcomes) {
        match outcome {
            Ok(WriteOutcome::Done) => done.push((*name).to_owned()),
            Err(error) => assert_eq!(error.kind, StoreErrorKind::Blocked, "{name}: {error}"),
            // v2: another client wrote while the directory was removed.
            Ok(other) => assert_eq!(other, WriteOutcome::Conflict, "{name}"),
        }
    }
    done.sort();
    let hides = |one: &str, other: &str| other.starts_with(&format!("{one}/"));
    for one in &done {
        assert!(!done.iter().any(|other| hides(one, other)), "{done:?}");
    }
    assert_eq!(domain.names(), done);
    assert_eq!(done.len(), 4, "one name of each family: {done:?}");
}

pub async fn large_batch_continues_past_failures(domain: &TestDomain<'_>) {
    let lease = domain.lease(1).await;
    domain.foreign_put("s500/api", OTHER, None);
    domain.foreign_put("s700", OTHER, Some(600));
    let names = (0..1000).map(|number| format!("s{number}")).collect::<Vec<_>>();
    let puts = names.iter().map(|name| domain.put(name, lease)).collect();
    let outcomes = domain.store.write(puts).await;
    assert_eq!(outcomes.len(), 1000);
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match number {
            500 => assert_eq!(outcome.unwrap_err().kind, StoreErrorKind::Blocked),
            700 => assert_eq!(outcome.unwrap(), WriteOutcome::Conflict),
            _ => assert_eq!(outcome.unwrap(), WriteOutcome::Done, "{number}"),
        }
    }
    assert_eq!(domain.names().len(), 1000);

    let deletes = names.iter().map(|name| domain.delete(name, VALUE, None)).collect();
    let outcomes = domain.store.write(deletes).await;
    assert_eq!(outcomes.iter().filter(|it| matches!(it, Ok(WriteOutcome::Done))).count(), 998);
    assert_eq!(domain.names(), ["s500/api", "s700"]);
}

pub async fn preserves_unusual_keys_and_values(domain: &TestDomain<'_>) {
    let lease = domain.lease(1).await;
    let long = r#"{"text":"a&b=c;d%20+ %zz \"q\" 'é' 日本 \\ /?#"}"#.repeat(90);
    for value in ["&", "%", "+", " ", "\"quoted\"", "日本\u{1f40b}", "\n\t\r", &long] {
        let value = &domain.value_with(value);
        for name in ["plain", "_under", "u_s/_deep", "a b", "50%", "q?x=1", "h#sh", "日本"] {
            let put = domain.put_value(name, value, lease, Precondition::Absent);
            assert_eq!(domain.write(put).await.unwrap(), WriteOutcome::Done, "{name} {value}");
            assert_eq!(&domain.found(name).await.value, value, "{name}");
            let not_quite = domain.delete(name, &format!("{value}x"), None);
            assert_eq!(domain.write(not_quite).await.unwrap(), WriteOutcome::Conflict);
            let swap =
                domain.put_value(name, VALUE, lease, Precondition::Equals(expect_value(value)));
            assert_eq!(domain.write(swap).await.unwrap(), WriteOutcome::Done, "{name} {value}");
            let delete = domain.delete(name, VALUE, None);
            assert_eq!(domain.write(delete).await.unwrap(), WriteOutcome::Done, "{name} {value}");
        }
    }
    assert_eq!(domain.names(), [""; 0]);
}
