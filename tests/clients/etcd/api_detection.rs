//! Which API of etcd is spoken, and the domain that SkyDNS keeps in it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test is to panic")]

#[path = "../../support/mod.rs"]
mod support;

use std::time::Duration;

use highhock::etcd::{Api, Cluster, Detected, NotDetected, detect, domain_in_config};
use highhock_actors::StoreErrorKind;

use support::cluster::Cluster as Three;
use support::etcd::{Etcd, Release};
use support::free_port;
use support::scripted_server::{Canned, Reply};

fn cluster(urls: &[&str]) -> Cluster {
    let urls = urls.iter().flat_map(|urls| urls.split(',')).map(|url| url.parse().unwrap());
    Cluster { timeout: Duration::from_secs(5), ..Cluster::new(urls.collect()) }
}

fn log() -> slog::Logger {
    slog::Logger::root(slog::Discard, slog::o!())
}

async fn detected(urls: &[&str]) -> Detected {
    detect(&cluster(urls), "skydns", &log()).await.unwrap()
}

async fn domain(api: Api, url: &str) -> Option<String> {
    let domain = domain_in_config(api, &cluster(&[url]), "skydns", &log()).await.unwrap();
    domain.map(|domain| domain.to_string())
}

#[actix_rt::test]
async fn v2_where_it_is_answered_and_v3_holds_nothing_under_the_prefix() {
    let etcd = Etcd::start();
    // Neither what others keep in v3 nor what is in v2 decides.
    etcd.v3().put("/skydnsx", "x", None);
    etcd.v3().put("/registry/x", "x", None);
    etcd.put("skydns/local/a", "x", None);
    let found = detected(&[&etcd.url()]).await;
    assert_eq!((found.api, found.both), (Api::V2, true), "{found:?}");

    etcd.v3().put("/skydns/local/a", "x", None);
    let found = detected(&[&etcd.url()]).await;
    assert_eq!((found.api, found.both), (Api::V3, true), "{found:?}");
    assert!(found.why.contains("such as skydns/local/a"), "{}", found.why);
}

#[actix_rt::test]
async fn v3_where_v2_is_off_or_gone() {
    let etcd = Etcd::start_with(&[]);
    let found = detected(&[&etcd.url()]).await;
    assert_eq!((found.api, found.both), (Api::V3, false), "{found:?}");
    assert!(found.why.contains(&etcd.url()), "{}", found.why);
    let Some(newer) = Etcd::start_release(Release::V3_6) else { return };
    assert_eq!(detected(&[&newer.url()]).await.api, Api::V3);
}

#[actix_rt::test]
async fn one_member_without_v2_is_enough_for_v3() {
    let (with, without) = (Etcd::start(), Etcd::start_with(&[]));
    let found = detected(&[&with.url(), &without.url()]).await;
    assert_eq!((found.api, found.both), (Api::V3, false), "{found:?}");
    assert!(found.why.contains(&without.url()), "{}", found.why);
}

#[actix_rt::test]
async fn a_member_that_is_away_has_no_say() {
    let away = format!("http://127.0.0.1:{}", free_port());
    let Some(mut three) = Three::start(Release::V3_4) else { return };
    let urls = three.urls();
    assert_eq!(detected(&[&urls]).await.api, Api::V2);
    three.members[0].kill();
    three.wait_for_another_leader(0);
    assert_eq!(detected(&[&away, &urls]).await.api, Api::V2);

    let nobody = detect(&cluster(&[&away]), "skydns", &log()).await;
    let Err(NotDetected::Store(error)) = nobody else { panic!("{nobody:?}") };
    assert_eq!(error.kind, StoreErrorKind::Unavailable);
}

#[actix_rt::test]
async fn an_etcd_without_a_v3_gateway_is_v2() {
    let server = Canned::tcp(|request| match request.target.starts_with("/v2/keys") {
        true => {
            Reply::status(404, r#"{"errorCode":100,"message":"m","cause":"/skydns","index":1}"#)
        }
        false => Reply::status(404, "404 page not found\n"),
    });
    let found = detected(&[&format!("http://{}", server.authority())]).await;
    assert_eq!((found.api, found.both), (Api::V2, false), "{found:?}");
}

#[actix_rt::test]
async fn reads_the_domain_from_the_configuration_in_etcd() {
    let etcd = Etcd::start();
    let url = etcd.url();
    assert_eq!(domain(Api::V2, &url).await, None);
    assert_eq!(domain(Api::V3, &url).await, None);
    etcd.put("skydns/config", r#"{"dns_addr":"0.0.0.0:53","domain":"two.local."}"#, None);
    etcd.v3().put("/skydns/config", r#"{"domain":"Three.local"}"#, None);
    assert_eq!(domain(Api::V2, &url).await.as_deref(), Some("two.local"));
    assert_eq!(domain(Api::V3, &url).await.as_deref(), Some("three.local"));
    for odd in ["", "no JSON", "{}", r#"{"domain":7}"#, r#"{"domain":"a b"}"#] {
        etcd.put("skydns/config", odd, None);
        etcd.v3().put("/skydns/config", odd, None);
        assert_eq!(domain(Api::V2, &url).await, None, "{odd}");
        assert_eq!(domain(Api::V3, &url).await, None, "{odd}");
    }
    // A domain called `config`.
    etcd.remove("skydns/config");
    etcd.put("skydns/config/a", "x", None);
    assert_eq!(domain(Api::V2, &url).await, None);
}
