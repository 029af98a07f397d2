//! The Docker client with the real engine.

use std::collections::BTreeSet;
use std::net::{IpAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use highhock::docker::{
    ApiVersion, DEFAULT_TIMEOUT, DockerClient, Endpoint, NEWEST_API, OLDEST_API, Subnet,
    VersionChoice,
};
use highhock_actors::{
    ContainerSource, ContainerState, ContainerSummary, EngineTime, Health, NetworkMode,
    PortBinding, Protocol, SourceErrorKind,
};

use crate::client;
use crate::support::cuttable_proxy::CuttableProxy;
use crate::support::docker::{self, Container, Network};
use crate::support::{TempDir, eventually_async, free_port};

/// The time limit for actions of the engine, which take seconds.
pub const TIMEOUT: Duration = Duration::from_secs(30);

pub fn engine() -> DockerClient {
    client(docker::endpoint(), VersionChoice::Auto, DEFAULT_TIMEOUT)
}

pub async fn row_of(docker: &DockerClient, container: &Container) -> Option<ContainerSummary> {
    let rows = docker.list().await.unwrap().containers;
    rows.into_iter().find(|row| row.id.as_str() == container.id())
}

pub async fn inspect(docker: &DockerClient, container: &Container) -> highhock_actors::Container {
    docker.inspect(container.id()).await.unwrap().unwrap()
}

#[actix_rt::test]
async fn lists_and_inspects_a_container() {
    let container = Container::run(
        &["-e", "DISCOVER=httpd:80", "-e", "EMPTY=", "--label", "highhock.discover=x:1/udp"],
        &[],
    );
    let docker = engine();
    let row = row_of(&docker, &container).await.unwrap();
    assert_eq!(row.name, container.name());
    assert_eq!(row.network, NetworkMode::Own);
    assert!(row.uptime.unwrap() < Duration::from_secs(60));

    let seen = inspect(&docker, &container).await;
    assert_eq!((seen.id.as_str(), seen.name.as_str()), (container.id(), container.name()));
    assert_eq!((seen.state, seen.health), (ContainerState::Running, Health::Unchecked));
    assert_eq!((&*seen.env["DISCOVER"], &*seen.env["EMPTY"]), ("httpd:80", ""));
    assert_eq!(seen.labels["highhock.discover"], "x:1/udp");
    assert_eq!(seen.network, NetworkMode::Own);
    assert_eq!(seen.bindings, []);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let age = i128::try_from(now).unwrap() - seen.started.0;
    assert!((0..60_000_000_000).contains(&age), "started {age} ns ago");
}

#[actix_rt::test]
async fn parses_port_bindings() {
    let (all, local, udp) = (free_port(), free_port(), free_port());
    let container = Container::run(
        &[
            "-p",
            &format!("0.0.0.0:{all}:80"),
            "-p",
            &format!("127.0.0.1:{local}:81"),
            "-p",
            "127.0.0.1::82",
            "-p",
            &format!("127.0.0.1:{udp}:53/udp"),
        ],
        &[],
    );
    let seen = inspect(&engine(), &container).await;
    let random = docker::docker(&["port", container.id(), "82/tcp"]);
    let random = random.rsplit_once(':').unwrap().1.parse().unwrap();
    let binding = |port, proto, address: &str, host_port| PortBinding {
        port,
        proto,
        host_address: address.parse::<IpAddr>().unwrap(),
        host_port,
    };
    for expected in [
        binding(80, Protocol::Tcp, "0.0.0.0", all),
        binding(81, Protocol::Tcp, "127.0.0.1", local),
        binding(82, Protocol::Tcp, "127.0.0.1", random),
        binding(53, Protocol::Udp, "127.0.0.1", udp),
    ] {
        assert!(seen.bindings.contains(&expected), "{expected:?} in {:?}", seen.bindings);
    }
    assert_eq!(seen.bindings.len(), 4);
}

#[actix_rt::test]
async fn finds_a_random_published_port() {
    let container = Container::run(&["-p", "80"], &[]);
    let seen = inspect(&engine(), &container).await;
    let port = container.published_port("80/tcp");
    let all = "0.0.0.0".parse::<IpAddr>().unwrap();
    assert!(seen.bindings.iter().any(|it| (it.host_address, it.host_port) == (all, port)));
}

#[actix_rt::test]
async fn distinguishes_network_modes() {
    let docker = engine();
    let host = Container::run(&["--network", "host"], &[]);
    let none = Container::run(&["--network", "none"], &[]);
    let by_name = Container::run(&["--network", &format!("container:{}", none.name())], &[]);
    for (container, expected) in [(&host, NetworkMode::Host), (&none, NetworkMode::None)] {
        // In this order, because Podman's listing contains the network only after an inspection.
        assert_eq!(inspect(&docker, container).await.network, expected);
        assert_eq!(row_of(&docker, container).await.unwrap().network, expected);
    }
    let seen = inspect(&docker, &by_name).await;
    assert_eq!(row_of(&docker, &by_name).await.unwrap().network, seen.network);
    let NetworkMode::Container(target) = seen.network else { panic!("{:?}", seen.network) };
    // Docker reports the target by name or id. An inspection accepts both.
    let target = docker.inspect(&target).await.unwrap().unwrap();
    assert_eq!(target.id.as_str(), none.id());
    let target = docker.inspect(none.name()).await.unwrap().unwrap();
    assert_eq!(target.id.as_str(), none.id());
}

#[actix_rt::test]
async fn row_with_shared_network_has_no_ports() {
    let docker = engine();
    let target = Container::run(&["-p", "0:80"], &[]);
    let guest = Container::run(&["--network", &format!("container:{}", target.id())], &[]);
    let inspected = inspect(&docker, &guest).await;
    let before = row_of(&docker, &guest).await.unwrap();
    assert_eq!(before.fingerprint, inspected.fingerprint);
    target.restart();
    assert_eq!(row_of(&docker, &guest).await.unwrap().fingerprint, before.fingerprint);
    target.stop();
    assert_eq!(row_of(&docker, &guest).await.unwrap().fingerprint, before.fingerprint);
}

#[actix_rt::test]
async fn row_and_inspection_show_a_pause() {
    let container = Container::run(&[], &[]);
    let docker = engine();
    let running = row_of(&docker, &container).await.unwrap();
    container.docker_command("pause");
    let paused = row_of(&docker, &container).await.expect("a paused container in the listing");
    assert_ne!(paused.fingerprint, running.fingerprint);
    assert!(paused.uptime.is_some());
    assert_eq!(inspect(&docker, &container).await.state, ContainerState::Paused);
    container.docker_command("unpause");
    assert_eq!(row_of(&docker, &container).await.unwrap().fingerprint, running.fingerprint);
}

#[actix_rt::test]
async fn row_and_inspection_show_health() {
    let container = Container::run(
        &["--health-cmd", "test -e /tmp/well", "--health-interval", "1s", "--health-retries", "1"],
        &[],
    );
    let docker = engine();
    let mut rows = Vec::new();
    assert_eq!(inspect(&docker, &container).await.health, Health::Starting);
    rows.push(row_of(&docker, &container).await.unwrap());
    for (health, command) in [(Health::Unhealthy, "true"), (Health::Healthy, "touch /tmp/well")] {
        container.exec(&["sh", "-c", command]);
        eventually_async(&format!("{health:?}"), TIMEOUT, || async {
            container.check_health();
            (inspect(&docker, &container).await.health == health).then_some(())
        })
        .await;
        rows.push(row_of(&docker, &container).await.unwrap());
    }
    let fingerprints: BTreeSet<_> = rows.iter().map(|row| row.fingerprint).collect();
    assert_eq!(fingerprints.len(), 3, "different fingerprints for starting, unhealthy and healthy");
}

#[actix_rt::test]
async fn restart_changes_the_fingerprint() {
    let port = free_port();
    let container = Container::run(&["-p", &format!("127.0.0.1:{port}:80")], &[]);
    let docker = engine();
    let (before, inspected) =
        (row_of(&docker, &container).await.unwrap(), inspect(&docker, &container).await);
    container.restart();
    let after = row_of(&docker, &container).await.unwrap();
    assert!(after.differs_from(&before));
    assert!(inspect(&docker, &container).await.started > inspected.started);
}

#[actix_rt::test]
async fn unchanged_container_keeps_its_fingerprint() {
    let container = Container::run(&["-p", "80", "-p", "81/udp", "--label", "b=1"], &[]);
    let docker = engine();
    let first = row_of(&docker, &container).await.unwrap();
    eventually_async("an uptime of four seconds", TIMEOUT, || async {
        let row = row_of(&docker, &container).await.unwrap();
        assert!(!row.differs_from(&first), "{row:?} after {first:?}");
        (row.uptime >= Some(Duration::from_secs(4))).then_some(())
    })
    .await;
}

#[actix_rt::test]
async fn ended_container_is_unlisted_and_removed_is_unknown() {
    let container = Container::run(&[], &[]);
    let docker = engine();
    container.stop();
    assert!(row_of(&docker, &container).await.is_none());
    assert_eq!(inspect(&docker, &container).await.state, ContainerState::Exited);
    let id = container.id().to_owned();
    container.remove();
    assert!(docker.inspect(&id).await.unwrap().is_none());
    for unknown in ["highhock-test-unknown", "a/b", "what? #1 %", "ümläut"] {
        assert!(docker.inspect(unknown).await.unwrap().is_none(), "{unknown}");
    }
}

#[actix_rt::test]
async fn container_that_never_ran_started_before_1970() {
    let container = Container::create(&["-p", "80"], &[]);
    let docker = engine();
    assert!(row_of(&docker, &container).await.is_none());
    let seen = inspect(&docker, &container).await;
    assert_eq!(seen.state, ContainerState::Created);
    assert!(seen.started < EngineTime(0));
    // Podman chooses the port when the container is created.
    assert!(seen.bindings.is_empty() || docker::is_podman());
}

#[actix_rt::test]
async fn reports_engine_and_its_networks() {
    let network = Network::create(&["--subnet", "10.213.77.0/24", "--gateway", "10.213.77.1"]);
    let docker = engine();
    let engine_info = docker.engine().await.unwrap().unwrap();
    let info = "{{.Name}} {{.DockerRootDir}} {{.ServerVersion}}";
    let expected = format!("{} {} {}", engine_info.name, engine_info.root_dir, engine_info.version);
    assert_eq!(expected, docker::docker(&["info", "--format", info]));
    // Podman returns a new id for each request.
    let id = docker::docker(&["info", "--format", "{{.ID}}"]);
    assert_eq!(engine_info.id, if docker::is_podman() { String::new() } else { id });

    let networks = docker.networks().await.unwrap().unwrap();
    let own = networks.iter().find(|it| it.name == network.name()).unwrap();
    assert_eq!(own.driver, "bridge");
    let subnet = Subnet { subnet: "10.213.77.0/24".into(), gateway: Some("10.213.77.1".into()) };
    assert_eq!(own.subnets, [subnet]);
    let host = networks.iter().find(|it| it.name == "host");
    let host = host.map(|it| (it.driver.as_str(), it.subnets.len()));
    // Podman has the mode `host`, but no network of that name.
    assert_eq!(host, (!docker::is_podman()).then_some(("host", 0)));
}

#[actix_rt::test]
async fn negotiates_the_newest_common_version() {
    let newest: ApiVersion =
        docker::docker(&["version", "--format", "{{.Server.APIVersion}}"]).parse().unwrap();
    assert_eq!(engine().api_version().await.unwrap(), newest.min(NEWEST_API));
}

#[actix_rt::test]
async fn oldest_version_has_every_field() {
    let oldest: ApiVersion =
        docker::docker(&["version", "--format", "{{.Server.MinAPIVersion}}"]).parse().unwrap();
    let oldest = oldest.max(OLDEST_API);
    let port = free_port();
    let container = Container::run(
        &["-e", "DISCOVER=a:80", "--health-cmd", "true", "-p", &format!("127.0.0.1:{port}:80")],
        &[],
    );
    let old = client(docker::endpoint(), VersionChoice::Exactly(oldest), DEFAULT_TIMEOUT);
    let (one, two) = (inspect(&old, &container).await, inspect(&engine(), &container).await);
    assert_eq!(old.api_version().await.unwrap(), oldest);
    assert_eq!((one.env, one.labels, one.started), (two.env, two.labels, two.started));
    assert_eq!((one.bindings, one.network), (two.bindings, two.network));
    assert_ne!(one.health, Health::Unchecked);
    let before = row_of(&old, &container).await.unwrap();
    container.restart();
    let after = row_of(&old, &container).await.unwrap();
    assert_ne!(
        before.fingerprint, after.fingerprint,
        "the endpoint in the listing of an old API version"
    );
}

#[actix_rt::test]
async fn replaces_an_unsupported_configured_version() {
    let container = Container::run(&[], &[]);
    for minor in [16, 999] {
        let configured = ApiVersion { major: 1, minor };
        let docker =
            client(docker::endpoint(), VersionChoice::Exactly(configured), DEFAULT_TIMEOUT);
        assert!(row_of(&docker, &container).await.is_some());
        assert_eq!(inspect(&docker, &container).await.name, container.name());
        assert_eq!(docker.replaced_version(), Some(configured));
    }
}

#[actix_rt::test]
async fn connects_over_tcp() {
    let container = Container::run(&[], &[]);
    let relay = CuttableProxy::tcp(docker::server_address());
    let endpoint = Endpoint::parse(&format!("tcp://{}", relay.authority())).unwrap();
    let docker = client(endpoint, VersionChoice::Auto, DEFAULT_TIMEOUT);
    assert!(row_of(&docker, &container).await.is_some());
    assert_eq!(inspect(&docker, &container).await.name, container.name());
}

/// Checks that the client recovers after each outage of the relay.
async fn assert_recovers_after_outage(
    mut relay: CuttableProxy,
    docker: DockerClient,
    expected: &str,
) {
    docker.list().await.unwrap();
    for _ in 0..3 {
        relay.cut();
        // The first request may reuse the lost connection, and then fails.
        let lost = docker.list().await.unwrap_err();
        let away = docker.list().await.unwrap_err();
        assert_eq!(lost.kind, SourceErrorKind::Unreachable, "{lost}");
        assert_eq!(away.kind, SourceErrorKind::Unreachable, "{away}");
        assert!(away.message.contains(expected), "{away}");
        relay.restore();
        docker.list().await.unwrap();
    }
}

/// Ends the other threads also after a panic.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Processes that start meanwhile hold copies of every open file until they run their program.
#[test]
fn relay_refuses_connections_while_processes_start() {
    let mut relay = CuttableProxy::tcp(docker::server_address());
    let stop = AtomicBool::new(false);
    let outcomes: BTreeSet<_> = std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    Command::new("true").status().unwrap();
                }
            });
        }
        let outcomes = (0..200).map(|_| {
            relay.cut();
            let cut = TcpStream::connect(relay.authority()).map(drop).map_err(|it| it.kind());
            relay.restore();
            let restored = TcpStream::connect(relay.authority()).map(drop).map_err(|it| it.kind());
            format!("{cut:?}, {restored:?}")
        });
        outcomes.collect()
    });
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), ["Err(ConnectionRefused), Ok(())"]);
}

#[actix_rt::test]
async fn first_request_after_an_outage_succeeds_over_unix() {
    let folder = TempDir::new();
    let path = folder.0.join("docker.sock");
    let relay = CuttableProxy::unix(&path, docker::server_address());
    let docker = client(Endpoint::Unix(path), VersionChoice::Auto, DEFAULT_TIMEOUT);
    assert_recovers_after_outage(relay, docker, "no such socket").await;
}

#[actix_rt::test]
async fn first_request_after_an_outage_succeeds_over_tcp() {
    let relay = CuttableProxy::tcp(docker::server_address());
    let endpoint = Endpoint::Tcp(relay.authority());
    let docker = client(endpoint, VersionChoice::Auto, DEFAULT_TIMEOUT);
    assert_recovers_after_outage(relay, docker, "connection refused").await;
}
