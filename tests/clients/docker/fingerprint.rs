//! A row of the real engine's listing and an inspection of the same container are alike.

use highhock_actors::{
    Condition, Container as Inspected, ContainerRow, ContainerSource, Health, NetworkMode,
};

use crate::engine::{SOON, engine};
use crate::support::docker::{Container, Network};
use crate::support::{eventually_async, free_port};

/// Both, as soon as they are alike: an engine writes its listing a moment later than what
/// it tells in an inspection.
async fn alike(container: &Container, what: &str) -> (ContainerRow, Inspected) {
    let docker = engine();
    eventually_async(&format!("row and inspection alike: {what}"), SOON, || async {
        let rows = docker.list().await.unwrap();
        let row = rows.into_iter().find(|row| row.id.as_str() == container.id())?;
        let inspected = docker.inspect(container.id()).await.unwrap().unwrap();
        assert_eq!(row.name, inspected.name);
        let is_alike = row.likeness == inspected.likeness && row.condition == inspected.condition();
        is_alike.then_some((row, inspected))
    })
    .await
}

#[actix_rt::test]
async fn with_any_ports() {
    let (one, two, three) = (free_port(), free_port(), free_port());
    for (what, options) in [
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
        alike(&container, what).await;
    }
}

#[actix_rt::test]
async fn on_any_network() {
    let host = Container::run(&["--network", "host"], &[]);
    alike(&host, "host").await;
    let none = Container::run(&["--network", "none"], &[]);
    alike(&none, "none").await;
    let within = Container::run(&["--network", &format!("container:{}", none.name())], &[]);
    let (_, inspected) = alike(&within, "container:").await;
    assert_eq!(inspected.network, NetworkMode::Container(none.id().into()));
}

#[actix_rt::test]
async fn on_networks_of_the_users() {
    let (one, two) = (
        Network::create(&["--subnet", "10.213.80.0/24"]),
        Network::create(&["--ipv6", "--subnet", "10.213.81.0/24", "--subnet", "fd00:213:81::/64"]),
    );
    let container = Container::run(&["--network", one.name(), "-p", "127.0.0.1::80"], &[]);
    let (first, inspected) = alike(&container, "one network").await;
    assert_eq!(inspected.networks.keys().collect::<Vec<_>>(), [one.name()]);
    let place = inspected.networks[one.name()];
    assert!(place.address4.unwrap().to_string().starts_with("10.213.80."), "{place:?}");
    assert_eq!(place.address6, None);

    two.takes_in(&container);
    let (both, inspected) = alike(&container, "two networks").await;
    assert_ne!(first.likeness, both.likeness);
    assert_eq!(inspected.networks.len(), 2);
    let place = inspected.networks[two.name()];
    assert!(place.address6.unwrap().to_string().starts_with("fd00:213:81:"), "{place:?}");

    two.lets_go(&container);
    alike(&container, "one network again").await;
}

#[actix_rt::test]
async fn in_any_condition() {
    let container = Container::run(
        &["--health-cmd", "test -e /tmp/well", "--health-interval", "1s", "--health-retries", "1"],
        &[],
    );
    let mut seen = Vec::new();
    for (what, command, health) in [
        ("starting", "true", Health::Starting),
        ("unhealthy", "true", Health::Unhealthy),
        ("healthy", "touch /tmp/well", Health::Healthy),
    ] {
        container.exec(&["sh", "-c", command]);
        let row = eventually_async(what, SOON, || async {
            if health != Health::Starting {
                container.check_health();
            }
            let (row, _) = alike(&container, what).await;
            (row.condition == Some(Condition::Running(health))).then_some(row)
        })
        .await;
        seen.push(row.likeness);
    }
    container.does("pause");
    let (row, _) = alike(&container, "paused").await;
    assert_eq!(row.condition, Some(Condition::Paused));
    seen.push(row.likeness);
    container.does("unpause");
    container.restart();
    seen.push(alike(&container, "restarted").await.0.likeness);
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count, "each looks different");
}
