//! The status page in a real Chromium, on the built daemon between a real Docker and a
//! real etcd.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../../support/mod.rs"]
mod support;

mod driver;

use std::path::PathBuf;
use std::time::Duration;

use driver::Browser;
use serde_json::json;
use support::admin::Admin;
use support::daemon::{Daemon, Highhock};
use support::docker::Container;
use support::etcd::Etcd;
use support::proxy::Front;
use support::{docker, eventually, unique};

const PATIENCE: Duration = Duration::from_secs(30);

/// A service's name that no other test has.
fn named(what: &str) -> String {
    format!("{what}-{}-{}", std::process::id(), unique())
}

/// A daemon that sees the containers of one test alone.
struct Stage {
    label: String,
    admin: Admin,
    etcd: Etcd,
    daemon: Daemon,
    _engine: Front,
}

impl Stage {
    fn new(change: impl FnOnce(Highhock) -> Highhock) -> Self {
        let (etcd, admin, label) = (Etcd::start(), Admin::on_loopback(), named("page"));
        let engine = Front::narrowed(docker::place(), &label);
        let highhock = Highhock::new(&etcd.url())
            .flag("--docker-url", &format!("tcp://{}", engine.authority()))
            .flag("--etcd-api", "v3")
            .flag("--admin-listen", &admin.listen());
        let daemon = change(highhock).start();
        daemon.says(&["docker answers"]);
        Self { label, admin, etcd, daemon, _engine: engine }
    }

    #[track_caller]
    fn container(&self, options: &[&str]) -> Container {
        Container::run(&[&["--label", &self.label], options].concat(), &[])
    }

    #[track_caller]
    fn offering(&self, name: &str) -> Container {
        self.container(&["-e", &format!("DISCOVER={name}:80"), "-p", "0:80"])
    }
}

#[track_caller]
fn is_quiet(browser: &Browser) {
    let mut console = browser.console();
    // Said of a question that was under way when a container of any test came or went: the
    // machine's network changed. The page asks again.
    console.retain(|line| !line.contains("ERR_NETWORK_CHANGED"));
    assert!(console.is_empty(), "the console says: {console:#?}");
}

#[test]
fn it_loads_and_shows_a_container_as_soon_as_it_starts_and_its_end() {
    let Some(browser) = Browser::start() else { return };
    let stage = Stage::new(|highhock| highhock);
    browser.open(&stage.admin.url());
    browser.shows("it is ready", "#health", |text| text.starts_with("Ready"));
    assert!(browser.text("#facts").contains("Docker: answers"), "{}", browser.text("#facts"));
    browser.shows("no container", "#containers", |text| text.contains("No container runs."));
    for actor in ["DockerPoller", "Registry", "ContainerWatcher", "EtcdInserter"] {
        assert!(browser.text("#actors").contains(actor), "{actor}");
    }
    // The page stays as it is: what comes is added to it.
    browser.run("document.querySelector('#containers').mark = 'kept'");

    let name = named("web");
    let container = stage.offering(&name);
    browser.shows("the container", "#containers tbody", |text| {
        text.contains(container.name()) && text.contains(&name) && text.contains("running")
    });
    let record = browser.shows("its record", "#records tbody", |text| text.contains("live"));
    assert!(record.contains(&format!("skydns/local/skydns/{name}")), "{record}");
    assert!(record.contains(&format!("\"port\":{}", container.published("80/tcp"))), "{record}");
    browser.shows("the change", "#changes tbody", |text| text.contains("record put"));
    browser.shows("the count", "#health", |text| text.contains("1 record live"));

    // Rows are kept, and so does what a person has marked in them stay.
    browser.run("document.querySelector('#records tbody tr').mark = 'kept'");
    let handled = "return document.querySelectorAll('#actors polyline')[6].getAttribute('points')";
    let before = browser.run(handled);
    eventually("the sparklines move", PATIENCE, || (browser.run(handled) != before).then_some(()));
    let kept = "return ['#containers', '#records tbody tr'].map((one) => document.querySelector(one).mark)";
    assert_eq!(browser.run(kept), json!(["kept", "kept"]));

    container.stop();
    browser.shows("its end", "#records", |text| text.contains("No container offers a service"));
    browser.shows("the withdrawal", "#changes tbody", |text| text.contains("record withdrawn"));
    is_quiet(&browser);
}

#[test]
fn what_a_container_says_stays_text_and_runs_nothing() {
    let Some(browser) = Browser::start() else { return };
    let stage = Stage::new(|highhock| highhock.flag("--discovery-methods", "env,label,compose"));
    browser.open(&stage.admin.url());
    browser.shows("it is ready", "#health", |text| text.starts_with("Ready"));

    let script =
        "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>";
    let svg = "<svg/onload=document.title='run'>";
    let good = named("good");
    let _container = stage.container(&[
        "-e",
        &format!("DISCOVER={script}:80,{svg},{good}:80"),
        "--label",
        &format!("highhock.discover=</td><script>document.title='run'</script>:80,{svg}:80"),
        "--label",
        &format!("highhock.priority={svg}"),
        "--label",
        &format!("com.docker.compose.service={script}"),
        "-p",
        "0:80",
    ]);
    let text = browser.shows("the attempts as text", "#containers tbody", |text| {
        text.contains("<img src=x onerror=") && text.contains("<svg/onload=document.title='run'>")
    });
    assert!(text.contains("<script>document.title='run'</script>"), "{text}");
    browser.shows("its good entry all the same", "#records tbody", |text| text.contains(&good));
    // Nothing of it became an element, and nothing ran.
    let foreign = "return document.querySelectorAll('img, #all script, svg:not(.spark)').length";
    assert_eq!(browser.run(foreign), 0);
    let title = browser.run("return document.title");
    assert_eq!(title, "HighHock: ready");

    // Were one to slip through, the policy would stop it.
    browser.run(
        "const made = document.createElement('script');\
         made.textContent = \"document.title = 'run'\"; document.body.append(made);\
         const image = document.createElement('img');\
         image.setAttribute('onerror', \"document.title = 'run'\"); image.src = 'data:,';\
         document.body.append(image);",
    );
    let refused = eventually("the policy refuses both", PATIENCE, || {
        let console = browser.console();
        (console.len() >= 2).then_some(console)
    });
    assert!(refused.iter().all(|line| line.contains("Content Security Policy")), "{refused:#?}");
    assert_eq!(browser.run("return document.title"), title);
}

#[test]
fn it_tells_of_outages_and_of_a_daemon_that_is_gone() {
    let Some(browser) = Browser::start() else { return };
    let mut stage = Stage::new(|highhock| highhock);
    browser.open(&stage.admin.url());
    browser.shows("it is ready", "#health", |text| text.starts_with("Ready"));
    is_quiet(&browser);
    stage.etcd.stop();
    browser
        .shows("not ready", "#health", |text| text.starts_with("Not ready: etcd does not answer"));
    browser.shows("the warning", "#errors tbody", |text| text.contains("etcd does not answer"));
    stage.daemon.kill();
    browser.shows("no answer", "#health", |text| text.starts_with("No answer since"));
}

#[test]
fn where_a_token_is_set_it_asks_for_it_and_keeps_it_in_the_tab() {
    let Some(browser) = Browser::start() else { return };
    let stage = Stage::new(|highhock| highhock.env("HIGHHOCK_ADMIN__TOKEN", "hunter2"));
    let tell = |token: &str| {
        browser.run(&format!(
            "document.querySelector('#token').value = '{token}';\
             document.querySelector('#ask form').requestSubmit();"
        ));
    };
    browser.open(&stage.admin.url());
    browser.shows("it asks", "#ask", |text| text.contains("A token is needed"));
    assert_eq!(browser.run("return document.querySelector('#all').hidden"), true);
    tell("wrong");
    browser.shows("it is not taken", "#ask", |text| text.contains("That token is not taken."));
    tell("hunter2");
    browser.shows("it is taken", "#health", |text| text.starts_with("Ready"));
    browser.open(&stage.admin.url());
    browser.shows("it is kept", "#health", |text| text.starts_with("Ready"));
    let kept = "return [localStorage.length, sessionStorage.length, document.cookie]";
    assert_eq!(browser.run(kept), json!([0, 1, ""]));
}

#[test]
fn it_fits_on_a_phone_and_in_the_dark() {
    let Some(browser) = Browser::start() else { return };
    let stage = Stage::new(|highhock| highhock);
    let name = named("a-service-with-a-rather-long-name");
    let _containers = [
        stage.offering(&name),
        stage.offering(&name),
        stage.offering(&named("db")),
        stage.container(&["-e", "DISCOVER=unpublished:81,no port,web:80", "-p", "0:80"]),
        stage.container(&["--health-cmd=false", "--health-interval=1s", "--health-retries=1"]),
        stage.container(&[]),
    ];
    browser.open(&stage.admin.url());
    browser.shows("all of it", "#containers tbody", |text| text.contains("unhealthy"));
    browser.shows("all records", "#records", |text| {
        text.contains("standby") && text.matches("live").count() >= 3
    });
    let drawn = "return document.querySelector('#actors polyline').points.length";
    eventually("the sparklines are begun", PATIENCE, || {
        browser.run(drawn).as_u64().filter(|points| *points > 4)
    });
    for width in [1280, 390] {
        for scheme in ["light", "dark"] {
            browser.look(width, scheme);
            let wide = browser.run("return document.documentElement.scrollWidth");
            assert!(wide.as_u64().unwrap() <= u64::from(width), "{width} {scheme}: {wide}");
            // For eyes: where to put the pictures, if anybody wants them.
            if let Some(folder) = std::env::var_os("PICTURES_OF_HIGHHOCK") {
                browser.picture(&PathBuf::from(folder).join(format!("{width}-{scheme}.png")));
            }
            let colours = browser.run(
                "const style = getComputedStyle(document.body);\
                 return [style.color, style.backgroundColor].map((colour) =>\
                     colour.match(/\\d+/g).slice(0, 3).reduce((sum, one) => sum + Number(one), 0))",
            );
            let [text, back] = [0, 1].map(|at| colours[at].as_i64().unwrap());
            assert_eq!(text > back, scheme == "dark", "{width} {scheme}: {colours}");
            assert!((text - back).abs() > 400, "{width} {scheme}: {colours}");
        }
    }
    is_quiet(&browser);
}
