//! What the real engine tells as it happens.

use futures_util::StreamExt;
use highhock::docker::{DEFAULT_TIMEOUT, Endpoint, VersionChoice};
use highhock_actors::{ContainerSource, ContainerState, EngineTime, Event, EventKind, EventStream};
use tokio::time::timeout;

use crate::client;
use crate::engine::{TIMEOUT, engine, inspect};
use crate::support::docker::{self, Container, Network, is_podman};
use crate::support::proxy::Proxy;

/// The engine's clock, which is this machine's.
fn now() -> EngineTime {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    EngineTime(i128::try_from(now).unwrap())
}

/// A stream of the engine's, and the container that is looked for in it.
struct FollowedContainer {
    events: EventStream,
    container: Container,
    /// When it was about to be run.
    before: EngineTime,
}

impl FollowedContainer {
    async fn run(options: &[&str]) -> Self {
        let events = engine().events(None).await.unwrap();
        let before = now();
        Self { events, container: Container::run(options, &[]), before }
    }

    /// Does something to the container; what is expected then happened after this.
    fn after(&mut self, act: impl FnOnce(&Container)) -> &mut Self {
        self.before = now();
        act(&self.container);
        self
    }

    /// The next event of this sort.
    async fn expect(&mut self, what: EventKind) -> Event {
        // Of all together: other tests' containers tell, too.
        let found = timeout(TIMEOUT, async {
            loop {
                let event = self.next().await;
                if event.at >= self.before && event.kind == what {
                    return event;
                }
            }
        });
        let event = found.await.unwrap_or_else(|_| panic!("{what:?} was not told"));
        assert!(event.at <= now(), "{event:?}");
        event
    }

    /// The next event of the container.
    async fn next(&mut self) -> Event {
        loop {
            let event = self.events.next().await.expect("a stream without an end").unwrap();
            if event.container.as_str() == self.container.id() {
                return event;
            }
        }
    }
}

/// Podman doesn't say which signal it was.
fn signal_event(number: u8) -> EventKind {
    if is_podman() { EventKind::Changed } else { EventKind::Signalled(number) }
}

#[actix_rt::test]
async fn reports_start_and_end_with_their_times() {
    let docker = engine();
    let mut life = FollowedContainer::run(&[]).await;
    let started = life.expect(EventKind::Started).await;
    assert_eq!(started.name.as_deref(), Some(life.container.name()));
    let inspected = inspect(&docker, &life.container).await;
    assert!(started.at >= inspected.started, "{started:?} of {inspected:?}");
    assert!(started.at.0 - inspected.started.0 < 5_000_000_000, "{started:?} of {inspected:?}");

    life.after(|it| it.signal("HUP")).expect(signal_event(1)).await;
    life.after(Container::stop);
    // Podman tells of `kill`, and not of `stop`.
    if !is_podman() {
        life.expect(EventKind::Signalled(15)).await;
    }
    let ended = life.expect(EventKind::Ended).await;
    assert!(ended.at > started.at);
    assert_eq!(inspect(&docker, &life.container).await.state, ContainerState::Exited);

    let again = life.after(|it| it.docker_command("start")).expect(EventKind::Started).await;
    let inspected = inspect(&docker, &life.container).await;
    assert!(again.at >= inspected.started && inspected.started > ended.at);
    life.after(|it| it.signal("RTMIN+3")).expect(signal_event(37)).await;
    life.after(|it| it.signal("KILL")).expect(signal_event(9)).await;
    life.expect(EventKind::Ended).await;
    // Once more, at its removal.
    life.after(|it| it.docker_command("rm")).expect(EventKind::Ended).await;
}

#[actix_rt::test]
async fn reports_changes() {
    let network = Network::create(&[]);
    let mut life = FollowedContainer::run(&[
        "--health-cmd",
        "test -e /tmp/well",
        "--health-interval",
        "1s",
        "--health-retries",
        "1",
    ])
    .await;
    life.expect(EventKind::Started).await;
    for verb in ["pause", "unpause"] {
        life.after(|it| it.docker_command(verb)).expect(EventKind::Changed).await;
    }
    life.after(|it| network.connect(it)).expect(EventKind::Changed).await;
    life.after(|it| network.disconnect(it)).expect(EventKind::Changed).await;
    let name = format!("{}-renamed", life.container.name());
    let renamed = life.after(|it| it.rename(&name)).expect(EventKind::Changed).await;
    assert_eq!(renamed.name.as_deref(), Some(&*name));
    life.container.exec(&["touch", "/tmp/well"]);
    life.after(Container::check_health).expect(EventKind::Changed).await;
}

#[actix_rt::test]
async fn ignores_irrelevant_events() {
    let mut life = FollowedContainer::run(&[]).await;
    life.expect(EventKind::Started).await;
    life.container.exec(&["true"]);
    let event = timeout(TIMEOUT, life.after(|it| it.docker_command("pause")).next()).await.unwrap();
    assert_eq!(event.kind, EventKind::Changed);
    assert!(event.at >= life.before, "{event:?}: the command in it was told");
}

#[actix_rt::test]
async fn label_proxy_forwards_events_of_its_containers() {
    let (ours, others) = ("highhock-front=ours", "highhock-front=others");
    let front = Proxy::with_label_filter(docker::server_address(), ours);
    let through = client(Endpoint::Tcp(front.authority()), VersionChoice::Auto, DEFAULT_TIMEOUT);
    let mut events = through.events(None).await.unwrap();
    let _other = Container::run(&["--label", others], &[]);
    let our = Container::run(&["--label", ours], &[]);
    for _ in 0..2 {
        let event = timeout(TIMEOUT, events.next()).await.unwrap().unwrap().unwrap();
        assert_eq!((event.container.as_str(), event.kind), (our.id(), EventKind::Started));
        our.stop();
        while timeout(TIMEOUT, events.next()).await.unwrap().unwrap().unwrap().kind
            != EventKind::Ended
        {}
        our.docker_command("start");
    }
    let listed = through.list().await.unwrap();
    assert_eq!(listed.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), [our.id()]);
}

#[actix_rt::test]
async fn engine_identity_is_stable() {
    let identity = engine().identity().await.unwrap();
    assert_eq!(engine().identity().await.unwrap(), identity);
    let told = engine().engine().await.unwrap();
    assert_eq!(engine().engine().await.unwrap(), told);
    assert!(identity.0.contains(&told.root_dir), "{identity:?}");
    assert_eq!(told.id.is_empty(), is_podman(), "{told:?}");
}

#[actix_rt::test]
async fn replays_events_missed_while_disconnected() {
    if is_podman() {
        // It tells of no signal, at any time, and its past is not asked for.
        return;
    }
    let mut life = FollowedContainer::run(&[]).await;
    let started = life.expect(EventKind::Started).await;
    life.events = Box::pin(futures_util::stream::empty());
    docker::docker(&["kill", "--signal", "HUP", life.container.id()]);
    life.events = engine().events(Some(EngineTime(started.at.0 + 1))).await.unwrap();
    // Not told again: what happened until then.
    assert_eq!(life.next().await.kind, EventKind::Signalled(1));
}
