//! Detection of etcd's API and of the domain in SkyDNS's configuration.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

#[path = "../../support/mod.rs"]
mod support;

use std::time::Duration;

use highhock::etcd::{Api, ApiChoice, Cluster, DetectError, configured_domain, detect};
use highhock_actors::StoreErrorKind;

use support::cluster::Cluster as Three;
use support::etcd::{Etcd, Release};
use support::free_port;
use support::scripted_server::{ScriptedResponse, ScriptedServer};

fn cluster(urls: &[&str]) -> Cluster {
    let urls = urls.iter().flat_map(|urls| urls.split(',')).map(|url| url.parse().unwrap());
    Cluster { timeout: Duration::from_secs(5), ..Cluster::new(urls.collect()) }
}

fn log() -> slog::Logger {
    slog::Logger::root(slog::Discard, slog::o!())
}

async fn detect_api(urls: &[&str]) -> ApiChoice {
    detect(&cluster(urls), "skydns", &log()).await.unwrap()
}

async fn domain(api: Api, url: &str) -> Option<String> {
    let domain = configured_domain(api, &cluster(&[url]), "skydns", &log()).await.unwrap();
    domain.map(|domain| domain.to_string())
}

#[actix_rt::test]
async fn selects_v2_if_available_and_v3_is_empty() {
    let etcd = Etcd::start();
    // Neither foreign keys in v3 nor keys in v2 influence the detection.
    etcd.v3().put("/skydnsx", "x", None);
    etcd.v3().put("/registry/x", "x", None);
    etcd.put("skydns/local/a", "x", None);
    let found = detect_api(&[&etcd.url()]).await;
    assert_eq!((found.api, found.has_both_apis), (Api::V2, true), "{found:?}");

    etcd.v3().put("/skydns/local/a", "x", None);
    let found = detect_api(&[&etcd.url()]).await;
    assert_eq!((found.api, found.has_both_apis), (Api::V3, true), "{found:?}");
    assert!(found.reason.contains("such as skydns/local/a"), "{}", found.reason);
}

#[actix_rt::test]
async fn selects_v3_if_v2_is_disabled_or_removed() {
    let etcd = Etcd::start_with(&[]);
    let found = detect_api(&[&etcd.url()]).await;
    assert_eq!((found.api, found.has_both_apis), (Api::V3, false), "{found:?}");
    assert!(found.reason.contains(&etcd.url()), "{}", found.reason);
    let Some(newer) = Etcd::start_release(Release::V3_6) else { return };
    assert_eq!(detect_api(&[&newer.url()]).await.api, Api::V3);
}

#[actix_rt::test]
async fn one_member_without_v2_selects_v3() {
    let (with, without) = (Etcd::start(), Etcd::start_with(&[]));
    let found = detect_api(&[&with.url(), &without.url()]).await;
    assert_eq!((found.api, found.has_both_apis), (Api::V3, false), "{found:?}");
    assert!(found.reason.contains(&without.url()), "{}", found.reason);
}

#[actix_rt::test]
async fn ignores_unreachable_members() {
    let away = format!("http://127.0.0.1:{}", free_port());
    let Some(mut three) = Three::start(Release::V3_4) else { return };
    let urls = three.urls();
    assert_eq!(detect_api(&[&urls]).await.api, Api::V2);
    three.members[0].kill();
    three.wait_for_another_leader(0);
    assert_eq!(detect_api(&[&away, &urls]).await.api, Api::V2);

    let anonymous = detect(&cluster(&[&away]), "skydns", &log()).await;
    let Err(DetectError::Store(error)) = anonymous else { panic!("{anonymous:?}") };
    assert_eq!(error.kind, StoreErrorKind::Unavailable);
}

#[actix_rt::test]
async fn selects_v2_without_a_v3_gateway() {
    let server = ScriptedServer::tcp(|request| {
        if request.target.starts_with("/v2/keys") {
            ScriptedResponse::status(
                404,
                r#"{"errorCode":100,"message":"m","cause":"/skydns","index":1}"#,
            )
        } else {
            ScriptedResponse::status(404, "404 page not found\n")
        }
    });
    let found = detect_api(&[&format!("http://{}", server.authority())]).await;
    assert_eq!((found.api, found.has_both_apis), (Api::V2, false), "{found:?}");
}

#[actix_rt::test]
async fn reads_the_domain_from_skydns_config() {
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
    // A domain with the name `config`.
    etcd.remove("skydns/config");
    etcd.put("skydns/config/a", "x", None);
    assert_eq!(domain(Api::V2, &url).await, None);
}
