//! What the real engine tells as it happens.

use futures_util::StreamExt;
use highhock::docker::{DEFAULT_TIMEOUT, Endpoint, VersionChoice};
use highhock_actors::{ContainerSource, EngineTime, Event, Events, Happening, Life};
use tokio::time::timeout;

use crate::client;
use crate::engine::{SOON, engine, inspect};
use crate::support::docker::{self, Container, Network, is_podman};
use crate::support::proxy::Front;

/// The engine's clock, which is this machine's.
fn now() -> EngineTime {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    EngineTime(i128::try_from(now).unwrap())
}

/// A stream of the engine's, and the container that is looked for in it.
struct Followed {
    events: Events,
    container: Container,
    /// When it was about to be run.
    before: EngineTime,
}

impl Followed {
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
    async fn expect(&mut self, what: Happening) -> Event {
        // Of all together: other tests' containers tell, too.
        let found = timeout(SOON, async {
            loop {
                let event = self.next().await;
                if event.at >= self.before && event.what == what {
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
fn signalled(number: u8) -> Happening {
    if is_podman() { Happening::Changed } else { Happening::Signalled(number) }
}

#[actix_rt::test]
async fn a_life_is_told_with_its_times() {
    let docker = engine();
    let mut life = Followed::run(&[]).await;
    let started = life.expect(Happening::Started).await;
    assert_eq!(started.name.as_deref(), Some(life.container.name()));
    let inspected = inspect(&docker, &life.container).await;
    assert!(started.at >= inspected.started, "{started:?} of {inspected:?}");
    assert!(started.at.0 - inspected.started.0 < 5_000_000_000, "{started:?} of {inspected:?}");

    life.after(|it| it.signal("HUP")).expect(signalled(1)).await;
    life.after(Container::stop);
    // Podman tells of `kill`, and not of `stop`.
    if !is_podman() {
        life.expect(Happening::Signalled(15)).await;
    }
    let ended = life.expect(Happening::Ended).await;
    assert!(ended.at > started.at);
    assert_eq!(inspect(&docker, &life.container).await.life, Life::Exited);

    let again = life.after(|it| it.does("start")).expect(Happening::Started).await;
    let inspected = inspect(&docker, &life.container).await;
    assert!(again.at >= inspected.started && inspected.started > ended.at);
    life.after(|it| it.signal("RTMIN+3")).expect(signalled(37)).await;
    life.after(|it| it.signal("KILL")).expect(signalled(9)).await;
    life.expect(Happening::Ended).await;
    // Once more, at its removal.
    life.after(|it| it.does("rm")).expect(Happening::Ended).await;
}

#[actix_rt::test]
async fn what_changes_is_told() {
    let network = Network::create(&[]);
    let mut life = Followed::run(&[
        "--health-cmd",
        "test -e /tmp/well",
        "--health-interval",
        "1s",
        "--health-retries",
        "1",
    ])
    .await;
    life.expect(Happening::Started).await;
    for verb in ["pause", "unpause"] {
        life.after(|it| it.does(verb)).expect(Happening::Changed).await;
    }
    life.after(|it| network.takes_in(it)).expect(Happening::Changed).await;
    life.after(|it| network.lets_go(it)).expect(Happening::Changed).await;
    let name = format!("{}-renamed", life.container.name());
    let renamed = life.after(|it| it.rename(&name)).expect(Happening::Changed).await;
    assert_eq!(renamed.name.as_deref(), Some(&*name));
    life.container.exec(&["touch", "/tmp/well"]);
    life.after(Container::check_health).expect(Happening::Changed).await;
}

#[actix_rt::test]
async fn what_does_not_matter_is_not_told() {
    let mut life = Followed::run(&[]).await;
    life.expect(Happening::Started).await;
    life.container.exec(&["true"]);
    let event = timeout(SOON, life.after(|it| it.does("pause")).next()).await.unwrap();
    assert_eq!(event.what, Happening::Changed);
    assert!(event.at >= life.before, "{event:?}: the command in it was told");
}

#[actix_rt::test]
async fn a_narrowed_front_passes_on_the_events_of_its_own_containers() {
    let (ours, others) = ("highhock-front=ours", "highhock-front=others");
    let front = Front::narrowed(docker::place(), ours);
    let through = client(Endpoint::Tcp(front.authority()), VersionChoice::Auto, DEFAULT_TIMEOUT);
    let mut events = through.events(None).await.unwrap();
    let _other = Container::run(&["--label", others], &[]);
    let our = Container::run(&["--label", ours], &[]);
    for _ in 0..2 {
        let event = timeout(SOON, events.next()).await.unwrap().unwrap().unwrap();
        assert_eq!((event.container.as_str(), event.what), (our.id(), Happening::Started));
        our.stop();
        while timeout(SOON, events.next()).await.unwrap().unwrap().unwrap().what != Happening::Ended
        {
        }
        our.does("start");
    }
    let listed = through.list().await.unwrap();
    assert_eq!(listed.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), [our.id()]);
}

#[actix_rt::test]
async fn an_engine_has_one_identity() {
    let identity = engine().identity().await.unwrap();
    assert_eq!(engine().identity().await.unwrap(), identity);
    let told = engine().engine().await.unwrap();
    assert_eq!(engine().engine().await.unwrap(), told);
    assert!(identity.0.contains(&told.root_dir), "{identity:?}");
    assert_eq!(told.id.is_empty(), is_podman(), "{told:?}");
}

#[actix_rt::test]
async fn what_happened_while_nobody_listened_is_told_afterwards() {
    if is_podman() {
        // It tells of no signal, at any time, and its past is not asked for.
        return;
    }
    let mut life = Followed::run(&[]).await;
    let started = life.expect(Happening::Started).await;
    life.events = Box::pin(futures_util::stream::empty());
    docker::docker(&["kill", "--signal", "HUP", life.container.id()]);
    life.events = engine().events(Some(EngineTime(started.at.0 + 1))).await.unwrap();
    // Not told again: what happened until then.
    assert_eq!(life.next().await.what, Happening::Signalled(1));
}
