//! Compose services in the network of another service.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod fakes;

use fakes::{Engine, POLL, Store, World, container, id, key, pass, settings};
use highhock_actors::model::publish_config::{DiscoveryMethod, KeyLayout};
use highhock_actors::{
    Container, ContainerState, EventKind, KeepAliveMode, NetworkMode, PortBinding, Protocol,
};
use tokio::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// The container number 0, which publishes these ports 1,000 higher.
fn vpn(ports: &[u16]) -> Container {
    let binding = |&port: &u16| PortBinding {
        port,
        proto: Protocol::Tcp,
        host_address: "0.0.0.0".parse().unwrap(),
        host_port: port + 1_000,
    };
    let bindings = ports.iter().map(binding).collect();
    Container { bindings, ..compose_service("vpn", 0, ports) }
}

fn compose_service(name: &str, n: usize, exposed: &[u16]) -> Container {
    let mut service = container(name, n);
    service.labels.insert("com.docker.compose.service".into(), name.into());
    service.exposed = exposed.iter().map(|port| (*port, Protocol::Tcp)).collect();
    service
}

/// A service in the network of container number 0.
fn guest(name: &str, n: usize, exposed: &[u16]) -> Container {
    let network = NetworkMode::Container(id(0));
    Container { network, bindings: Vec::new(), ..compose_service(name, n, exposed) }
}

fn start(engine: Engine) -> World {
    start_in(KeyLayout::Flat, engine)
}

fn start_in(layout: KeyLayout, engine: Engine) -> World {
    let mut settings = settings();
    settings.publish_config.methods = vec![DiscoveryMethod::Compose];
    settings.publish_config.layout = layout;
    settings.events = true;
    World::start_with(settings, engine, Store::new(KeepAliveMode::Lease))
}

/// Returns the names of the records with their ports.
fn records(world: &World) -> Vec<String> {
    let prefix = key("");
    let shown = |key: &String| {
        let value: serde_json::Value =
            serde_json::from_str(&world.store.get(key).unwrap()).unwrap();
        format!("{} {}", key.strip_prefix(&prefix).unwrap(), value["port"])
    };
    world.store.keys().iter().map(shown).collect()
}

async fn until_records(world: &World, expected: &[&str]) -> Duration {
    world.until(&format!("{expected:?}"), |world| records(world) == expected).await
}

/// Lets time pass, and panics if there is such a record at any moment.
async fn assert_never(world: &World, is_wrong: impl Fn(&String) -> bool) {
    let began = Instant::now();
    while began.elapsed() < POLL {
        let records = records(world);
        assert!(!records.iter().any(&is_wrong), "{records:?}");
        pass(Duration::from_micros(100)).await;
    }
}

#[actix::test]
async fn guests_have_the_published_ports_that_they_alone_claim() {
    tokio::time::pause();
    let engine = Engine::default();
    engine.run(vpn(&[8080, 9696]));
    engine.run(guest("qb", 1, &[6881, 8080]));
    engine.run(guest("prowlarr", 2, &[9696]));
    let world = start(engine);
    let expected = ["prowlarr 10696", "qb 9080", "vpn-8080 9080", "vpn-9696 10696"];
    until_records(&world, &expected).await;
}

#[actix::test]
async fn names_follow_the_claims_of_other_guests() {
    tokio::time::pause();
    let engine = Engine::default();
    engine.run(vpn(&[8080]));
    engine.run(guest("qb", 1, &[8080]));
    let world = start(engine);
    until_records(&world, &["qb 9080", "vpn 9080"]).await;

    world.engine.run(guest("rival", 2, &[8080]));
    let took = until_records(&world, &["vpn 9080"]).await;
    assert!(took <= POLL + SECOND, "{took:?}");

    world.engine.remove("rival");
    let took = until_records(&world, &["qb 9080", "vpn 9080"]).await;
    assert!(took <= POLL + SECOND, "{took:?}");
}

#[actix::test]
async fn guest_of_host_network_has_its_exposed_ports() {
    tokio::time::pause();
    let engine = Engine::default();
    engine.run(Container { network: NetworkMode::Host, ..vpn(&[8080]) });
    engine.run(guest("qb", 1, &[6881]));
    let world = start(engine);
    until_records(&world, &["qb 6881", "vpn 8080"]).await;
}

#[actix::test]
async fn guest_of_unreachable_owner_shows_the_remedy() {
    tokio::time::pause();
    for (state, expected) in [
        (Some(ContainerState::Exited), "which is not running; start that container"),
        (None, "which was not found; start that container"),
    ] {
        let engine = Engine::default();
        if let Some(state) = state {
            engine.run(Container { state, ..vpn(&[8080]) });
        }
        engine.run(guest("qb", 1, &[8080]));
        let world = start(engine);
        world.core.wait_until_caught_up().await;
        let containers = world.core.containers().await.unwrap();
        let guest = containers.iter().find(|container| container.name == "qb").unwrap();
        let [skipped] = &*guest.skipped else { panic!("{:?}", guest.skipped) };
        assert!(skipped.reason.contains(expected), "{skipped:?}");
    }
}

#[actix::test]
async fn guest_with_failing_inspections_costs_no_other_guest() {
    tokio::time::pause();
    let engine = Engine::default();
    engine.run(vpn(&[8080, 9696]));
    engine.run(guest("qb", 1, &[8080]));
    engine.run(guest("prowlarr", 2, &[9696]));
    engine.fail_inspections_of("prowlarr", true);
    let world = start(engine);
    let took = until_records(&world, &["qb 9080", "vpn-8080 9080", "vpn-9696 10696"]).await;
    assert!(took <= SECOND * 4, "{took:?}");
    world.engine.fail_inspections_of("prowlarr", false);
    let expected = ["prowlarr 10696", "qb 9080", "vpn-8080 9080", "vpn-9696 10696"];
    until_records(&world, &expected).await;
    // The last known claims count while inspections fail.
    world.engine.fail_inspections_of("prowlarr", true);
    world.engine.run(guest("rival", 3, &[9696]));
    let took = until_records(&world, &["qb 9080", "vpn-8080 9080", "vpn-9696 10696"]).await;
    assert!(took <= POLL + SECOND, "{took:?}");
}

#[actix::test]
async fn guests_are_inspected_once_and_cause_no_listing() {
    tokio::time::pause();
    let engine = Engine::default();
    engine.run(vpn(&[8000]));
    (1..=20).for_each(|n| engine.run(guest(&format!("guest-{n}"), n, &[8000 + n as u16])));
    let world = start(engine);
    until_records(&world, &["vpn 9000"]).await;
    assert_eq!(world.engine.lists(), 1);
    // Each guest is inspected once, with the owner of the network.
    assert!(world.engine.inspections().len() <= 41, "{}", world.engine.inspections().len());
    world.engine.run(guest("rival", 21, &[8000]));
    until_records(&world, &["rival 9000", "vpn 9000"]).await;
    assert!(world.engine.inspections().len() <= 43, "{}", world.engine.inspections().len());
}

#[actix::test]
async fn guest_waits_for_the_claims_of_slow_guests() {
    tokio::time::pause();
    let engine = Engine::default();
    engine.run(vpn(&[8080, 9696]));
    engine.run(guest("qb", 1, &[8080]));
    engine.run(guest("prowlarr", 2, &[]));
    engine.inspection_of_takes("qb", SECOND);
    let world = start_in(KeyLayout::Instance, engine);
    assert_never(&world, |record| record.contains("prowlarr") && record.contains("9080")).await;
    assert_eq!(records(&world).len(), 4);
}

#[actix::test]
async fn stop_signal_withdraws_a_guest_beside_an_unknown_one() {
    tokio::time::pause();
    let engine = Engine::default();
    engine.run(vpn(&[8080, 9696]));
    engine.run(guest("qb", 1, &[8080]));
    let world = start(engine);
    until_records(&world, &["qb 9080", "vpn-8080 9080", "vpn-9696 10696"]).await;
    world.engine.fail_inspections_of("prowlarr", true);
    world.engine.start(2, guest("prowlarr", 2, &[9696]));
    world.core.poll_now();
    // Causes another inspection of `qb`, which waits for the claims of `prowlarr`.
    world.engine.send_event(1, EventKind::Changed, 2_000);
    pass(SECOND).await;
    assert!(records(&world).contains(&"qb 9080".into()), "the last records are kept");
    world.engine.send_event(1, EventKind::Signalled(15), 2_001);
    let took = until_records(&world, &["vpn-8080 9080", "vpn-9696 10696"]).await;
    assert!(took <= SECOND / 10, "{took:?}");
}

#[actix::test]
async fn preview_names_guests_by_claimed_ports() {
    tokio::time::pause();
    let engine = Engine::default();
    engine.run(vpn(&[8080, 9696]));
    engine.run(guest("qb", 1, &[6881, 8080]));
    engine.run(guest("prowlarr", 2, &[]));
    let mut config = settings().publish_config;
    config.methods = vec![DiscoveryMethod::Compose];
    let preview = highhock_actors::preview::preview(&engine, &config).await.unwrap();
    let keys: Vec<_> = preview.records.iter().map(|record| record.key.as_str()).collect();
    assert_eq!(keys, ["prowlarr", "qb", "vpn-8080", "vpn-9696"].map(key));
}

#[actix::test]
async fn starting_guest_never_shows_a_claimed_port() {
    tokio::time::pause();
    let engine = Engine::default();
    engine.run(vpn(&[8080]));
    engine.run(guest("qb", 1, &[8080]));
    let world = start_in(KeyLayout::Instance, engine);
    world.core.wait_until_caught_up().await;
    assert_eq!(records(&world).len(), 2);
    world.engine.start(2, guest("rival", 2, &[8080]));
    assert_never(&world, |record| record.contains("rival")).await;
    assert_eq!(records(&world).len(), 1);
}
