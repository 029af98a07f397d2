//! Two store clients that write the same key.

use highhock_actors::{ExpectedValue, KeptAlive, Precondition, RecordStore, Write, WriteOutcome};

use crate::fixture::{TestDomain, write_to};

const ROUNDS: usize = 1000;
/// All rounds may take longer than the TTL of a lease, in a cluster on a busy machine.
const ROUNDS_PER_KEEP_ALIVE: usize = 50;

/// The first writer holds the key. The other writer can neither overwrite nor delete it,
/// whatever precondition it uses.
pub async fn concurrent_writers_never_overwrite_each_other(domain: &TestDomain<'_>) {
    let others = domain.another_store();
    let (own_lease, other_lease) = (domain.lease(1).await, domain.lease(2).await);
    let mut won = [0; 2];
    for round in 0..ROUNDS {
        if round % ROUNDS_PER_KEEP_ALIVE == 0 {
            for lease in [own_lease, other_lease].into_iter().flatten() {
                assert_ne!(domain.store.keep_alive(lease).await.unwrap(), KeptAlive::Lost);
            }
        }
        let values = ["ours", "others"].map(|whose| domain.value_with(&format!("{whose} {round}")));
        let put = |writer: usize, precondition| {
            let lease = [own_lease, other_lease][writer];
            domain.put_value("httpd", &values[writer], lease, precondition)
        };
        let holds = |writer: usize| ExpectedValue {
            value: values[writer].clone(),
            lease: [own_lease, other_lease][writer],
            version: None,
        };
        let (ours, theirs) = futures_util::future::join(
            write_to(&domain.store, put(0, Precondition::Absent)),
            write_to(&others, put(1, Precondition::Absent)),
        )
        .await;
        let winner = match (ours.unwrap(), theirs.unwrap()) {
            (WriteOutcome::Done, WriteOutcome::Conflict) => 0,
            (WriteOutcome::Conflict, WriteOutcome::Done) => 1,
            both => panic!("round {round}: {both:?}"),
        };
        won[winner] += 1;
        let held = domain.found("httpd").await;
        assert_eq!(held.value, values[winner], "round {round}");

        // The loser continues as if it had won, while the winner withdraws its record.
        let stores = [&domain.store, &others];
        let loser = 1 - winner;
        let delete =
            |writer: usize| Write::Delete { key: domain.key("httpd"), expected: holds(writer) };
        let (swapped, deleted, withdrawn) = futures_util::future::join3(
            write_to(stores[loser], put(loser, Precondition::Equals(holds(loser)))),
            write_to(stores[loser], delete(loser)),
            write_to(stores[winner], delete(winner)),
        )
        .await;
        for lost in [swapped, deleted] {
            let lost = lost.unwrap();
            assert!(
                matches!(lost, WriteOutcome::Conflict | WriteOutcome::Missing),
                "round {round}: {lost:?}"
            );
        }
        assert_eq!(withdrawn.unwrap(), WriteOutcome::Done, "round {round}");
    }
    println!("won: {won:?}");
    assert_eq!(domain.names(), [""; 0]);
}
