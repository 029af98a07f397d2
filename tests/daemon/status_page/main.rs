//! The status page in a real Chromium, on the built daemon with a real Docker and a real etcd.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

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
use support::proxy::Proxy;
use support::{docker, eventually, unique};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A service name that no other test uses.
fn unique_name(what: &str) -> String {
    format!("{what}-{}-{}", std::process::id(), unique())
}

/// A daemon that sees only the containers of one test.
struct Fixture {
    label: String,
    admin: Admin,
    etcd: Etcd,
    daemon: Daemon,
    _engine: Proxy,
}

impl Fixture {
    fn new(change: impl FnOnce(Highhock) -> Highhock) -> Self {
        let (etcd, admin, label) = (Etcd::start(), Admin::on_loopback(), unique_name("page"));
        let engine = Proxy::with_label_filter(docker::server_address(), &label);
        let highhock = Highhock::new(&etcd.url())
            .flag("--docker-url", &format!("tcp://{}", engine.authority()))
            .flag("--etcd-api", "v3")
            .flag("--admin-listen", &admin.listen());
        let daemon = change(highhock).start();
        daemon.wait_for_log(&["docker connected"]);
        Self { label, admin, etcd, daemon, _engine: engine }
    }

    #[track_caller]
    fn container(&self, options: &[&str]) -> Container {
        Container::run(&[&["--label", &self.label], options].concat(), &[])
    }

    #[track_caller]
    fn run_service(&self, name: &str) -> Container {
        self.container(&["-e", &format!("DISCOVER={name}:80"), "-p", "0:80"])
    }
}

#[track_caller]
fn assert_console_is_empty(browser: &Browser) {
    let mut console = browser.console();
    // Chromium reports this for a request in flight when a container of any test starts or stops:
    // the machine's network changed. The page repeats the request.
    console.retain(|line| !line.contains("ERR_NETWORK_CHANGED"));
    assert!(console.is_empty(), "console messages: {console:#?}");
}

#[test]
fn page_shows_start_and_end_of_a_container() {
    let Some(browser) = Browser::start() else { return };
    let fixture = Fixture::new(|highhock| highhock);
    browser.open(&fixture.admin.url());
    browser.wait_for_text("it is ready", "#health", |text| text.starts_with("Ready"));
    assert!(browser.text("#facts").contains("Docker: answers"), "{}", browser.text("#facts"));
    browser.wait_for_text("no container", "#containers", |text| {
        text.contains("No container is running.")
    });
    for actor in ["DockerPoller", "Registry", "ContainerWatcher", "EtcdInserter"] {
        assert!(browser.text("#actors").contains(actor), "{actor}");
    }
    // The page is updated in place: new rows are added to it.
    browser.run("document.querySelector('#containers').mark = 'kept'");

    let name = unique_name("web");
    let container = fixture.run_service(&name);
    browser.wait_for_text("the container", "#containers tbody", |text| {
        text.contains(container.name()) && text.contains(&name) && text.contains("running")
    });
    let record =
        browser.wait_for_text("its record", "#records tbody", |text| text.contains("live"));
    assert!(record.contains(&format!("skydns/local/skydns/{name}")), "{record}");
    assert!(
        record.contains(&format!("\"port\":{}", container.published_port("80/tcp"))),
        "{record}"
    );
    browser.wait_for_text("the change", "#changes tbody", |text| text.contains("record published"));
    browser.wait_for_text("the count", "#health", |text| text.contains("1 record live"));

    // Rows are kept, so a selection of the user stays.
    browser.run("document.querySelector('#records tbody tr').mark = 'kept'");
    let handled = "return document.querySelectorAll('#actors polyline')[6].getAttribute('points')";
    let before = browser.run(handled);
    eventually("the sparklines move", TIMEOUT, || (browser.run(handled) != before).then_some(()));
    let kept = "return ['#containers', '#records tbody tr'].map((one) => document.querySelector(one).mark)";
    assert_eq!(browser.run(kept), json!(["kept", "kept"]));

    container.stop();
    browser.wait_for_text("its end", "#records", |text| {
        text.contains("No container offers a service")
    });
    browser.wait_for_text("the withdrawal", "#changes tbody", |text| {
        text.contains("record withdrawn")
    });
    assert_console_is_empty(&browser);
}

#[test]
fn container_text_is_not_interpreted_as_html() {
    let Some(browser) = Browser::start() else { return };
    let fixture =
        Fixture::new(|highhock| highhock.flag("--discovery-methods", "env,label,compose"));
    browser.open(&fixture.admin.url());
    browser.wait_for_text("it is ready", "#health", |text| text.starts_with("Ready"));

    let script =
        "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>";
    let svg = "<svg/onload=document.title='run'>";
    let good = unique_name("good");
    let _container = fixture.container(&[
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
    let text = browser.wait_for_text("the attempts as text", "#containers tbody", |text| {
        text.contains("<img src=x onerror=") && text.contains("<svg/onload=document.title='run'>")
    });
    assert!(text.contains("<script>document.title='run'</script>"), "{text}");
    browser.wait_for_text("its good entry all the same", "#records tbody", |text| {
        text.contains(&good)
    });
    // No part of it became an element, and nothing ran.
    let foreign = "return document.querySelectorAll('img, #all script, svg:not(.spark)').length";
    assert_eq!(browser.run(foreign), 0);
    let title = browser.run("return document.title");
    assert_eq!(title, "HighHock: ready");

    // The content security policy would stop it anyway.
    browser.run(
        "const made = document.createElement('script');\
         made.textContent = \"document.title = 'run'\"; document.body.append(made);\
         const image = document.createElement('img');\
         image.setAttribute('onerror', \"document.title = 'run'\"); image.src = 'data:,';\
         document.body.append(image);",
    );
    let refused = eventually("the policy refuses both", TIMEOUT, || {
        let console = browser.console();
        (console.len() >= 2).then_some(console)
    });
    assert!(refused.iter().all(|line| line.contains("Content Security Policy")), "{refused:#?}");
    assert_eq!(browser.run("return document.title"), title);
}

#[test]
fn page_shows_outages_and_a_stopped_daemon() {
    let Some(browser) = Browser::start() else { return };
    let mut fixture = Fixture::new(|highhock| highhock);
    browser.open(&fixture.admin.url());
    browser.wait_for_text("it is ready", "#health", |text| text.starts_with("Ready"));
    assert_console_is_empty(&browser);
    fixture.etcd.stop();
    browser.wait_for_text("not ready", "#health", |text| {
        text.starts_with("Not ready: etcd does not answer")
    });
    browser.wait_for_text("the warning", "#errors tbody", |text| text.contains("etcd unreachable"));
    fixture.daemon.kill();
    browser.wait_for_text("no answer", "#health", |text| text.starts_with("No response since"));
}

#[test]
fn page_requests_the_token_and_keeps_it_in_the_tab() {
    let Some(browser) = Browser::start() else { return };
    let fixture = Fixture::new(|highhock| highhock.env("HIGHHOCK_ADMIN__TOKEN", "hunter2"));
    let tell = |token: &str| {
        browser.run(&format!(
            "document.querySelector('#token').value = '{token}';\
             document.querySelector('#login form').requestSubmit();"
        ));
    };
    browser.open(&fixture.admin.url());
    browser.wait_for_text("the page requests the token", "#login", |text| {
        text.contains("Token required")
    });
    assert_eq!(browser.run("return document.querySelector('#all').hidden"), true);
    tell("wrong");
    browser.wait_for_text("it is not taken", "#login", |text| text.contains("The token is wrong."));
    tell("hunter2");
    browser.wait_for_text("it is taken", "#health", |text| text.starts_with("Ready"));
    browser.open(&fixture.admin.url());
    browser.wait_for_text("it is kept", "#health", |text| text.starts_with("Ready"));
    let kept = "return [localStorage.length, sessionStorage.length, document.cookie]";
    assert_eq!(browser.run(kept), json!([0, 1, ""]));
}

#[test]
fn page_fits_narrow_screens_and_dark_mode() {
    let Some(browser) = Browser::start() else { return };
    let fixture = Fixture::new(|highhock| highhock);
    let name = unique_name("a-service-with-a-rather-long-name");
    let _containers = [
        fixture.run_service(&name),
        fixture.run_service(&name),
        fixture.run_service(&unique_name("db")),
        fixture.container(&["-e", "DISCOVER=unpublished:81,no port,web:80", "-p", "0:80"]),
        fixture.container(&["--health-cmd=false", "--health-interval=1s", "--health-retries=1"]),
        fixture.container(&[]),
    ];
    browser.open(&fixture.admin.url());
    browser.wait_for_text("all of it", "#containers tbody", |text| text.contains("unhealthy"));
    browser.wait_for_text("all records", "#records", |text| {
        text.contains("standby") && text.matches("live").count() >= 3
    });
    let drawn = "return document.querySelector('#actors polyline').points.length";
    eventually("the sparklines are begun", TIMEOUT, || {
        browser.run(drawn).as_u64().filter(|points| *points > 4)
    });
    for width in [1280, 390] {
        for scheme in ["light", "dark"] {
            browser.emulate(width, scheme);
            let wide = browser.run("return document.documentElement.scrollWidth");
            assert!(wide.as_u64().unwrap() <= u64::from(width), "{width} {scheme}: {wide}");
            // Writes screenshots if a folder is given.
            if let Some(folder) = std::env::var_os("HIGHHOCK_TEST_SCREENSHOTS") {
                browser
                    .save_screenshot(&PathBuf::from(folder).join(format!("{width}-{scheme}.png")));
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
    assert_console_is_empty(&browser);
}
