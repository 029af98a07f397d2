//! The fingerprints of a listing and of an inspection of the same container are equal.

use highhock_actors::{
    Condition, Container as Inspected, ContainerSource, ContainerSummary, Health, NetworkMode,
};

use crate::engine::{TIMEOUT, engine};
use crate::support::docker::{Container, Network};
use crate::support::{eventually_async, free_port};

/// Waits until the listing and the inspection are equal, and returns both. An engine updates the
/// listing a moment after the inspection.
async fn assert_same_fingerprint(
    container: &Container,
    label: &str,
) -> (ContainerSummary, Inspected) {
    let docker = engine();
    eventually_async(&format!("equal listing and inspection: {label}"), TIMEOUT, || async {
        let rows = docker.list().await.unwrap().containers;
        let row = rows.into_iter().find(|row| row.id.as_str() == container.id())?;
        let inspected = docker.inspect(container.id()).await.unwrap().unwrap();
        assert_eq!(row.name, inspected.name);
        let is_equal =
            row.fingerprint == inspected.fingerprint && row.condition == inspected.condition();
        is_equal.then_some((row, inspected))
    })
    .await
}

#[actix_rt::test]
async fn matches_with_any_ports() {
    let (one, two, three) = (free_port(), free_port(), free_port());
    for (label, options) in [
        ("none", vec![]),
        ("all addresses", vec![format!("-p={one}:80"), "-p=81".into(), "--expose=99".into()]),
        (
            "some addresses",
            vec![
                format!("-p=127.0.0.1:{one}:80"),
                format!("-p=127.0.0.2:{two}:80"),
                format!("-p=[::1]:{one}:80"),
                format!("-p=[::1]:{two}:82"),
            ],
        ),
        ("udp", vec![format!("-p=127.0.0.1:{three}:53/udp"), format!("-p={three}:53/tcp")]),
    ] {
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        let container = Container::run(&[&["--label", "a=1"], &*options].concat(), &[]);
        assert_same_fingerprint(&container, label).await;
    }
}

#[actix_rt::test]
async fn matches_on_any_network() {
    let host = Container::run(&["--network", "host"], &[]);
    assert_same_fingerprint(&host, "host").await;
    let none = Container::run(&["--network", "none"], &[]);
    assert_same_fingerprint(&none, "none").await;
    let within = Container::run(&["--network", &format!("container:{}", none.name())], &[]);
    let (_, inspected) = assert_same_fingerprint(&within, "container:").await;
    assert_eq!(inspected.network, NetworkMode::Container(none.id().into()));
}

#[actix_rt::test]
async fn matches_on_user_defined_networks() {
    let (one, two) = (
        Network::create(&["--subnet", "10.213.80.0/24"]),
        Network::create(&["--ipv6", "--subnet", "10.213.81.0/24", "--subnet", "fd00:213:81::/64"]),
    );
    let container = Container::run(&["--network", one.name(), "-p", "127.0.0.1::80"], &[]);
    let (first, inspected) = assert_same_fingerprint(&container, "one network").await;
    assert_eq!(inspected.networks.keys().collect::<Vec<_>>(), [one.name()]);
    let place = inspected.networks[one.name()];
    assert!(place.address4.unwrap().to_string().starts_with("10.213.80."), "{place:?}");
    assert_eq!(place.address6, None);

    two.connect(&container);
    let (both, inspected) = assert_same_fingerprint(&container, "two networks").await;
    assert_ne!(first.fingerprint, both.fingerprint);
    assert_eq!(inspected.networks.len(), 2);
    let place = inspected.networks[two.name()];
    assert!(place.address6.unwrap().to_string().starts_with("fd00:213:81:"), "{place:?}");

    two.disconnect(&container);
    assert_same_fingerprint(&container, "one network, again").await;
}

#[actix_rt::test]
async fn matches_in_any_state() {
    let container = Container::run(
        &["--health-cmd", "test -e /tmp/well", "--health-interval", "1s", "--health-retries", "1"],
        &[],
    );
    let mut seen = Vec::new();
    for (label, command, health) in [
        ("starting", "true", Health::Starting),
        ("unhealthy", "true", Health::Unhealthy),
        ("healthy", "touch /tmp/well", Health::Healthy),
    ] {
        container.exec(&["sh", "-c", command]);
        let row = eventually_async(label, TIMEOUT, || async {
            if health != Health::Starting {
                container.check_health();
            }
            let (row, _) = assert_same_fingerprint(&container, label).await;
            (row.condition == Some(Condition::Running(health))).then_some(row)
        })
        .await;
        seen.push(row.fingerprint);
    }
    container.docker_command("pause");
    let (row, _) = assert_same_fingerprint(&container, "paused").await;
    assert_eq!(row.condition, Some(Condition::Paused));
    seen.push(row.fingerprint);
    container.docker_command("unpause");
    container.restart();
    seen.push(assert_same_fingerprint(&container, "restarted").await.0.fingerprint);
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count, "distinct fingerprints");
}
