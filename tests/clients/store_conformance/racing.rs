//! Two stores that want the same.

use highhock_actors::{Expected, Guard, Write, Written};

use crate::fixture::{Field, write_to};

const ROUNDS: usize = 1000;

/// Whoever is first holds the name; the other can neither overwrite nor delete it,
/// whatever it believes to be there.
pub async fn two_that_want_one_name_never_overwrite_each_other(field: &Field<'_>) {
    let others = field.another_store();
    let (ours_on, others_on) = (field.lease(1).await, field.lease(2).await);
    let mut won = [0; 2];
    for round in 0..ROUNDS {
        let values = ["ours", "others"].map(|whose| field.value_with(&format!("{whose} {round}")));
        let put = |whose: usize, guard| {
            let lease = [ours_on, others_on][whose];
            field.put_value("httpd", &values[whose], lease, guard)
        };
        let holds = |whose: usize| Expected {
            value: values[whose].clone(),
            lease: [ours_on, others_on][whose],
            version: None,
        };
        let (ours, theirs) = futures_util::future::join(
            write_to(&field.store, put(0, Guard::Absent)),
            write_to(&others, put(1, Guard::Absent)),
        )
        .await;
        let winner = match (ours.unwrap(), theirs.unwrap()) {
            (Written::Done, Written::Conflict) => 0,
            (Written::Conflict, Written::Done) => 1,
            both => panic!("round {round}: {both:?}"),
        };
        won[winner] += 1;
        let held = field.found("httpd").await;
        assert_eq!(held.value, values[winner], "round {round}");

        // The loser goes on as if it had won, while the winner withdraws.
        let stores = [&field.store, &others];
        let loser = 1 - winner;
        let delete =
            |whose: usize| Write::Delete { key: field.key("httpd"), expected: holds(whose) };
        let (swapped, deleted, withdrawn) = futures_util::future::join3(
            write_to(stores[loser], put(loser, Guard::Holds(holds(loser)))),
            write_to(stores[loser], delete(loser)),
            write_to(stores[winner], delete(winner)),
        )
        .await;
        for lost in [swapped, deleted] {
            let lost = lost.unwrap();
            assert!(
                matches!(lost, Written::Conflict | Written::Missing),
                "round {round}: {lost:?}"
            );
        }
        assert_eq!(withdrawn.unwrap(), Written::Done, "round {round}");
    }
    println!("won: {won:?}");
    assert_eq!(field.names(), [""; 0]);
}
