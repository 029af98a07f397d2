//! Puts, deletes, reads, and what must not be touched.

use highhock_actors::{Guard, RecordStore, StoreErrorKind, Tie, Written};

use crate::fixture::{Field, OTHER, VALUE, expect};

pub async fn creates_where_nothing_is(field: &Field<'_>) {
    let lease = field.lease(1).await;
    assert_eq!(field.write(field.put("httpd", lease)).await.unwrap(), Written::Done);
    let found = field.found("httpd").await;
    assert_eq!(found.value, VALUE);
    match lease {
        Some(lease) => assert_eq!(found.tie, Tie::Lease(lease)),
        None => assert!(matches!(found.tie, Tie::Ttl(left) if left.as_secs() > 50), "{found:?}"),
    }
    assert_eq!(field.write(field.put("httpd", lease)).await.unwrap(), Written::Conflict);
    assert_eq!(field.found("httpd").await.version, found.version);
}

pub async fn swaps_by_value_and_by_version(field: &Field<'_>) {
    let lease = field.lease(1).await;
    let swap = |old: &str, version| field.swap("httpd", old, version, lease);
    assert_eq!(field.write(swap(OTHER, None)).await.unwrap(), Written::Missing);
    assert_eq!(field.names(), [""; 0]);

    field.foreign_put("httpd", OTHER, Some(60));
    let version = field.found("httpd").await.version;
    for wrong in [swap("something else", Some(version)), swap(OTHER, Some(version + 1))] {
        assert_eq!(field.write(wrong).await.unwrap(), Written::Conflict);
    }
    assert_eq!(field.found("httpd").await.version, version);
    assert_eq!(field.write(swap(OTHER, Some(version))).await.unwrap(), Written::Done);
    let found = field.found("httpd").await;
    assert_eq!(found.value, VALUE);
    assert!(found.version > version);
    assert_eq!(field.write(swap(VALUE, None)).await.unwrap(), Written::Done);
}

pub async fn deletes_what_is_as_expected_and_nothing_else(field: &Field<'_>) {
    let delete = |value: &str, version| field.delete("httpd", value, version);
    assert_eq!(field.write(delete(VALUE, None)).await.unwrap(), Written::Missing);
    field.foreign_put("httpd", OTHER, Some(60));
    let version = field.found("httpd").await.version;
    for wrong in [delete(VALUE, None), delete(OTHER, Some(version + 1))] {
        assert_eq!(field.write(wrong).await.unwrap(), Written::Conflict);
    }
    assert_eq!(field.found("httpd").await.value, OTHER);
    assert_eq!(field.write(delete(OTHER, Some(version))).await.unwrap(), Written::Done);
    assert_eq!(field.read("httpd").await.unwrap(), None);
    assert_eq!(field.names(), [""; 0]);
}

pub async fn reads_what_is_there_and_what_ends_it(field: &Field<'_>) {
    let lease = field.foreign_put("s7", VALUE, Some(60));
    field.foreign_put("s300", OTHER, None);
    let keys = (0..500).map(|number| field.key(&format!("s{number}"))).collect::<Vec<_>>();
    let outcomes = field.store.read(keys).await;
    assert_eq!(outcomes.len(), 500);
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let found = outcome.unwrap();
        match number {
            7 => {
                let found = found.unwrap();
                assert_eq!(found.value, VALUE);
                match lease {
                    Some(lease) => assert_eq!(found.tie, Tie::Lease(lease)),
                    None => assert!(matches!(found.tie, Tie::Ttl(_)), "{found:?}"),
                }
            }
            300 => assert_eq!(found.map(|it| (it.value, it.tie)), Some((OTHER.into(), Tie::None))),
            _ => assert_eq!(found, None, "{number}"),
        }
    }
    field.store.probe().await.unwrap();
}

pub async fn leaves_static_entries_and_others_records_alone(field: &Field<'_>) {
    let lease = field.lease(1).await;
    field.foreign_put("static", OTHER, None);
    field.foreign_put("others", OTHER, Some(60));
    for name in ["static", "others"] {
        let before = field.found(name).await;
        for write in [
            field.put(name, lease),
            field.swap(name, VALUE, None, lease),
            field.delete(name, VALUE, None),
        ] {
            assert_eq!(field.write(write).await.unwrap(), Written::Conflict, "{name}");
        }
        let after = field.found(name).await;
        assert_eq!((after.value, after.version), (before.value, before.version));
    }
}

pub async fn a_name_above_or_below_another_is_blocked_with_the_reason(field: &Field<'_>) {
    let lease = field.lease(1).await;
    field.foreign_put("httpd", OTHER, None);
    field.foreign_put("full/far/api", OTHER, None);
    for (blocked, reason) in [
        ("httpd/api", format!("there is a record at {}, above it", field.path("httpd"))),
        ("httpd/api/v1", format!("there is a record at {}, above it", field.path("httpd"))),
        ("full", "there are records below it, such as ".to_owned()),
        ("full/far", "there are records below it, such as ".to_owned()),
    ] {
        let error = field.write(field.put(blocked, lease)).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Blocked, "{blocked}: {error}");
        assert!(error.message.contains(&reason), "{blocked}: {error}");
        assert!(error.message.contains("rename one of the services"), "{error}");
        // What is deleted isn't there: just what was wanted.
        let delete = field.delete(blocked, VALUE, None);
        assert_eq!(field.write(delete).await.unwrap(), Written::Missing, "{blocked}");
    }
    // Names that only begin alike are in nobody's way.
    for name in ["httpd2", "http", "httpd-api", "ful", "full0", "full/far0"] {
        assert_eq!(field.write(field.put(name, lease)).await.unwrap(), Written::Done, "{name}");
    }
    assert_eq!(field.found("httpd").await.value, OTHER);
    assert_eq!(field.found("full/far/api").await.value, OTHER);
}

/// Not even where they come in one batch.
pub async fn names_in_each_others_way_are_never_both_put(field: &Field<'_>) {
    let lease = field.lease(1).await;
    let names = ["a", "a/x", "b/y", "b", "c/d/e", "c/d", "c", "free"];
    let writes = names.iter().map(|name| field.put(name, lease)).collect();
    let outcomes = field.store.write(writes).await;
    let mut done = Vec::new();
    for (name, outcome) in names.iter().zip(outcomes) {
        match outcome {
            Ok(Written::Done) => done.push((*name).to_owned()),
            Err(error) => assert_eq!(error.kind, StoreErrorKind::Blocked, "{name}: {error}"),
            // v2: another came while the way was cleared.
            Ok(other) => assert_eq!(other, Written::Conflict, "{name}"),
        }
    }
    done.sort();
    let hides = |one: &str, other: &str| other.starts_with(&format!("{one}/"));
    for one in &done {
        assert!(!done.iter().any(|other| hides(one, other)), "{done:?}");
    }
    assert_eq!(field.names(), done);
    assert_eq!(done.len(), 4, "one of each family: {done:?}");
}

pub async fn a_batch_of_a_thousand_goes_on_past_what_fails(field: &Field<'_>) {
    let lease = field.lease(1).await;
    field.foreign_put("s500/api", OTHER, None);
    field.foreign_put("s700", OTHER, Some(600));
    let names = (0..1000).map(|number| format!("s{number}")).collect::<Vec<_>>();
    let puts = names.iter().map(|name| field.put(name, lease)).collect();
    let outcomes = field.store.write(puts).await;
    assert_eq!(outcomes.len(), 1000);
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match number {
            500 => assert_eq!(outcome.unwrap_err().kind, StoreErrorKind::Blocked),
            700 => assert_eq!(outcome.unwrap(), Written::Conflict),
            _ => assert_eq!(outcome.unwrap(), Written::Done, "{number}"),
        }
    }
    assert_eq!(field.names().len(), 1000);

    let deletes = names.iter().map(|name| field.delete(name, VALUE, None)).collect();
    let outcomes = field.store.write(deletes).await;
    assert_eq!(outcomes.iter().filter(|it| matches!(it, Ok(Written::Done))).count(), 998);
    assert_eq!(field.names(), ["s500/api", "s700"]);
}

pub async fn carries_odd_keys_and_values_to_the_letter(field: &Field<'_>) {
    let lease = field.lease(1).await;
    let long = r#"{"text":"a&b=c;d%20+ %zz \"q\" 'é' 日本 \\ /?#"}"#.repeat(90);
    for value in ["&", "%", "+", " ", "\"quoted\"", "日本\u{1f40b}", "\n\t\r", &long] {
        let value = &field.value_with(value);
        for name in ["plain", "_under", "u_s/_deep", "a b", "50%", "q?x=1", "h#sh", "日本"] {
            let put = field.put_value(name, value, lease, Guard::Absent);
            assert_eq!(field.write(put).await.unwrap(), Written::Done, "{name} {value}");
            assert_eq!(&field.found(name).await.value, value, "{name}");
            let not_quite = field.delete(name, &format!("{value}x"), None);
            assert_eq!(field.write(not_quite).await.unwrap(), Written::Conflict);
            let swap = field.put_value(name, VALUE, lease, Guard::Holds(expect(value)));
            assert_eq!(field.write(swap).await.unwrap(), Written::Done, "{name} {value}");
            let delete = field.delete(name, VALUE, None);
            assert_eq!(field.write(delete).await.unwrap(), Written::Done, "{name} {value}");
        }
    }
    assert_eq!(field.names(), [""; 0]);
}
