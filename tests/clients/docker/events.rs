//! The event stream of the real engine.

use futures_util::StreamExt;
use highhock::docker::{DEFAULT_TIMEOUT, Endpoint, VersionChoice};
use highhock_actors::{ContainerSource, ContainerState, EngineTime, Event, EventKind, EventStream};
use tokio::time::timeout;

use crate::client;
use crate::engine::{TIMEOUT, engine, inspect};
use crate::support::docker::{self, Container, Network, is_podman};
use crate::support::proxy::Proxy;

/// Returns the time of the engine's clock, which is the clock of this machine.
fn now() -> EngineTime {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    EngineTime(i128::try_from(now).unwrap())
}

/// An event stream, and the container whose events are expected in it.
struct FollowedContainer {
    events: EventStream,
    container: Container,
    /// A time just before the last action on the container.
    before: EngineTime,
}

impl FollowedContainer {
    async fn run(options: &[&str]) -> Self {
        let events = engine().events(None).await.unwrap();
        let before = now();
        Self { events, container: Container::run(options, &[]), before }
    }

    /// Runs an action on the container. Events expected afterwards must be newer.
    fn after(&mut self, act: impl FnOnce(&Container)) -> &mut Self {
        self.before = now();
        act(&self.container);
        self
    }

    /// Waits for the next event of this kind.
    async fn expect(&mut self, kind: EventKind) -> Event {
        // One limit for all events, because containers of other tests send events too.
        let found = timeout(TIMEOUT, async {
            loop {
                let event = self.next().await;
                if event.at >= self.before && event.kind == kind {
                    return event;
                }
            }
        });
        let event = found.await.unwrap_or_else(|_| panic!("no event {kind:?}"));
        assert!(event.at <= now(), "{event:?}");
        event
    }

    /// Waits for the next event of the container.
    async fn next(&mut self) -> Event {
        loop {
            let event = self.events.next().await.expect("an endless stream").unwrap();
            if event.container.as_str() == self.container.id() {
                return event;
            }
        }
    }
}

/// Podman does not report the number of the signal.
fn signal_event(number: u8) -> EventKind {
    if is_podman() { EventKind::Changed } else { EventKind::Signalled(number) }
}

#[actix_rt::test]
async fn reports_start_and_end_with_their_times() {
    let docker = engine();
    let mut followed = FollowedContainer::run(&[]).await;
    let started = followed.expect(EventKind::Started).await;
    assert_eq!(started.name.as_deref(), Some(followed.container.name()));
    let inspected = inspect(&docker, &followed.container).await;
    assert!(started.at >= inspected.started, "{started:?} of {inspected:?}");
    assert!(started.at.0 - inspected.started.0 < 5_000_000_000, "{started:?} of {inspected:?}");

    followed.after(|it| it.signal("HUP")).expect(signal_event(1)).await;
    followed.after(Container::stop);
    // Podman reports `kill` but not `stop`.
    if !is_podman() {
        followed.expect(EventKind::Signalled(15)).await;
    }
    let ended = followed.expect(EventKind::Ended).await;
    assert!(ended.at > started.at);
    assert_eq!(inspect(&docker, &followed.container).await.state, ContainerState::Exited);

    let again = followed.after(|it| it.docker_command("start")).expect(EventKind::Started).await;
    let inspected = inspect(&docker, &followed.container).await;
    assert!(again.at >= inspected.started && inspected.started > ended.at);
    followed.after(|it| it.signal("RTMIN+3")).expect(signal_event(37)).await;
    followed.after(|it| it.signal("KILL")).expect(signal_event(9)).await;
    followed.expect(EventKind::Ended).await;
    // The removal of the container reports its end again.
    followed.after(|it| it.docker_command("rm")).expect(EventKind::Ended).await;
}

#[actix_rt::test]
async fn reports_changes() {
    let network = Network::create(&[]);
    let mut followed = FollowedContainer::run(&[
        "--health-cmd",
        "test -e /tmp/well",
        "--health-interval",
        "1s",
        "--health-retries",
        "1",
    ])
    .await;
    followed.expect(EventKind::Started).await;
    for verb in ["pause", "unpause"] {
        followed.after(|it| it.docker_command(verb)).expect(EventKind::Changed).await;
    }
    followed.after(|it| network.connect(it)).expect(EventKind::Changed).await;
    followed.after(|it| network.disconnect(it)).expect(EventKind::Changed).await;
    let name = format!("{}-renamed", followed.container.name());
    let renamed = followed.after(|it| it.rename(&name)).expect(EventKind::Changed).await;
    assert_eq!(renamed.name.as_deref(), Some(&*name));
    followed.container.exec(&["touch", "/tmp/well"]);
    followed.after(Container::check_health).expect(EventKind::Changed).await;
}

#[actix_rt::test]
async fn ignores_irrelevant_events() {
    let mut followed = FollowedContainer::run(&[]).await;
    followed.expect(EventKind::Started).await;
    followed.container.exec(&["true"]);
    let event =
        timeout(TIMEOUT, followed.after(|it| it.docker_command("pause")).next()).await.unwrap();
    assert_eq!(event.kind, EventKind::Changed);
    assert!(event.at >= followed.before, "{event:?}: the exec event was not ignored");
}

#[actix_rt::test]
async fn label_proxy_forwards_events_of_its_containers() {
    let (ours, others) = ("highhock-front=ours", "highhock-front=others");
    let front = Proxy::with_label_filter(docker::server_address(), ours);
    let through = client(Endpoint::Tcp(front.authority()), VersionChoice::Auto, DEFAULT_TIMEOUT);
    let mut events = through.events(None).await.unwrap();
    let _other = Container::run(&["--label", others], &[]);
    let own = Container::run(&["--label", ours], &[]);
    for _ in 0..2 {
        let event = timeout(TIMEOUT, events.next()).await.unwrap().unwrap().unwrap();
        assert_eq!((event.container.as_str(), event.kind), (own.id(), EventKind::Started));
        own.stop();
        while timeout(TIMEOUT, events.next()).await.unwrap().unwrap().unwrap().kind
            != EventKind::Ended
        {}
        own.docker_command("start");
    }
    let listed = through.list().await.unwrap().containers;
    assert_eq!(listed.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), [own.id()]);
}

#[actix_rt::test]
async fn engine_identity_is_stable() {
    let identity = engine().identity().await.unwrap();
    assert_eq!(engine().identity().await.unwrap(), identity);
    let engine_info = engine().engine().await.unwrap().unwrap();
    assert_eq!(engine().engine().await.unwrap().unwrap(), engine_info);
    assert!(identity.0.contains(&engine_info.root_dir), "{identity:?}");
    assert_eq!(engine_info.id.is_empty(), is_podman(), "{engine_info:?}");
}

#[actix_rt::test]
async fn replays_events_missed_while_disconnected() {
    if is_podman() {
        // Podman reports no signals and does not replay past events.
        return;
    }
    let mut followed = FollowedContainer::run(&[]).await;
    let started = followed.expect(EventKind::Started).await;
    followed.events = Box::pin(futures_util::stream::empty());
    docker::docker(&["kill", "--signal", "HUP", followed.container.id()]);
    followed.events = engine().events(Some(EngineTime(started.at.0 + 1))).await.unwrap();
    // Events up to this time are not replayed.
    assert_eq!(followed.next().await.kind, EventKind::Signalled(1));
}
