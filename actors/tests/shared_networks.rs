//! Compose services in the network of another service.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod fakes;

use fakes::{Engine, POLL, Store, World, container, id, key, settings};
use highhock_actors::model::publish_config::DiscoveryMethod;
use highhock_actors::{Container, KeepAliveMode, NetworkMode, PortBinding, Protocol};
use tokio::time::Duration;

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
    let mut settings = settings();
    settings.publish_config.methods = vec![DiscoveryMethod::Compose];
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
    assert!(took <= POLL + Duration::from_secs(1), "{took:?}");

    world.engine.remove("rival");
    let took = until_records(&world, &["qb 9080", "vpn 9080"]).await;
    assert!(took <= POLL + Duration::from_secs(1), "{took:?}");
}
