//! The clouds' metadata services, as far as their manuals describe them: scripted.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use highhock::host::metadata::Metadata;
use highhock::settings::{Cloud, Environment};
use support::scripted_server::{Canned, Reply, Request};

use Cloud::{Aws, DigitalOcean, Gce};

const TOKEN: &str = "AQAEANd1n2SVk3vhQ==";

/// What a machine has, for the clouds that tell more than one address.
#[derive(Clone, Copy)]
struct Addresses {
    private: Option<&'static str>,
    public: Option<&'static str>,
}

const BOTH: Addresses = Addresses { private: Some("10.3.2.1"), public: Some("203.0.113.7") };
const PUBLIC: Addresses = Addresses { private: None, public: Some("203.0.113.7") };
const NONE: Addresses = Addresses { private: None, public: None };

fn text(body: &str) -> Reply {
    Reply::Full { status: 200, content_type: "text/plain", body: format!("{body}\n") }
}

fn there_or_not(address: Option<&str>) -> Reply {
    address.map_or_else(|| Reply::status(404, "not found"), text)
}

/// AWS's second version: no token, no answer.
fn aws(request: &Request, has: Addresses) -> Reply {
    let lifetime = request.header("x-aws-ec2-metadata-token-ttl-seconds");
    match (request.method.as_str(), request.target.as_str()) {
        ("PUT", "/latest/api/token") if lifetime == Some("60") => text(TOKEN),
        ("PUT", "/latest/api/token") => Reply::status(400, ""),
        _ if request.header("x-aws-ec2-metadata-token") != Some(TOKEN) => Reply::status(401, ""),
        (_, "/latest/meta-data/local-ipv4") => there_or_not(has.private),
        (_, "/latest/meta-data/public-ipv4") => there_or_not(has.public),
        _ => Reply::status(404, ""),
    }
}

/// An answer of GCE's, with the header that all of them have.
fn flavored(status: u16, body: &str) -> Reply {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} OK\r\nMetadata-Flavor: Google\r\n");
    Reply::Raw(format!("{head}Content-Length: {length}\r\n\r\n{body}").into_bytes())
}

fn gce(request: &Request, has: Addresses) -> Reply {
    const INTERFACE: &str = "/computeMetadata/v1/instance/network-interfaces/0";
    if request.header("metadata-flavor") != Some("Google") {
        return Reply::status(403, "");
    }
    match request.target.strip_prefix(INTERFACE) {
        Some("/ip") => has.private.map_or_else(|| flavored(404, ""), |it| flavored(200, it)),
        // Empty where the machine has none.
        Some("/access-configs/0/external-ip") => flavored(200, has.public.unwrap_or_default()),
        _ => flavored(404, ""),
    }
}

fn digital_ocean(request: &Request, has: Addresses) -> Reply {
    match request.target.as_str() {
        "/metadata/v1/interfaces/private/0/ipv4/address" => there_or_not(has.private),
        "/metadata/v1/interfaces/public/0/ipv4/address" => there_or_not(has.public),
        _ => Reply::status(404, "not found"),
    }
}

fn service(cloud: Cloud, has: Addresses) -> Canned {
    Canned::tcp(move |request| match cloud {
        Aws => aws(request, has),
        Gce => gce(request, has),
        DigitalOcean => digital_ocean(request, has),
    })
}

/// Asks a service; the address and who told it, or each step's reason.
async fn ask_within(
    limit: Duration,
    service: &Canned,
    clouds: &[Cloud],
) -> Result<(Cloud, String), Vec<(Cloud, String)>> {
    let metadata = Metadata { service: format!("http://{}", service.authority()), limit };
    let told = metadata.ask(clouds).await?;
    Ok((told.cloud, told.address.to_string()))
}

async fn ask(service: &Canned, clouds: &[Cloud]) -> Result<(Cloud, String), Vec<(Cloud, String)>> {
    // Long: only a server that stays silent is to meet it.
    ask_within(Duration::from_secs(60), service, clouds).await
}

/// Asks a service as a machine of that cloud; why that fails.
async fn refusal(cloud: Cloud, script: fn(&Request) -> Reply) -> String {
    let failures = ask(&Canned::tcp(script), &[cloud]).await.unwrap_err();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0].0, cloud);
    failures[0].1.clone()
}

#[actix_rt::test]
async fn the_private_address_goes_before_the_public_one() {
    for cloud in [Aws, Gce, DigitalOcean] {
        for (has, address) in [(BOTH, "10.3.2.1"), (PUBLIC, "203.0.113.7")] {
            let told = ask(&service(cloud, has), &[cloud]).await;
            assert_eq!(told, Ok((cloud, address.to_owned())));
        }
        let failures = ask(&service(cloud, NONE), &[cloud]).await.unwrap_err();
        assert!(failures[0].1.contains("there is no address at /"), "{failures:?}");
    }
}

#[actix_rt::test]
async fn a_service_that_refuses_its_token_is_asked_nothing_else() {
    for (status, hint) in [(403, "metadata switched off"), (404, "is this AWS?"), (405, "405")] {
        let server = Canned::tcp(move |_| Reply::status(status, "no"));
        let failures = ask(&server, &[Aws]).await.unwrap_err();
        assert!(failures[0].1.contains("PUT /latest/api/token: "), "{failures:?}");
        assert!(failures[0].1.contains(hint), "{failures:?}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[actix_rt::test]
async fn what_is_no_metadata_service_is_found_out() {
    for (cloud, reason) in [
        (Aws, "what it gave is no token"),
        (Gce, "lacks Metadata-Flavor: Google"),
        (DigitalOcean, "the answer is no IPv4 address"),
    ] {
        assert!(refusal(cloud, |_| Reply::html()).await.contains(reason));
        let failed = refusal(cloud, |_| Reply::Hangup).await;
        assert!(failed.contains("the connection was closed without an answer"), "{failed}");
        let broken = refusal(cloud, |_| Reply::Raw(b"SSH-2.0-OpenSSH\r\n".to_vec())).await;
        assert!(broken.contains("no good answer"), "{broken}");
        assert!(refusal(cloud, |_| Reply::status(404, "")).await.contains('?'));
    }
    let failed = refusal(DigitalOcean, |_| Reply::status(500, "")).await;
    assert!(failed.ends_with("/ipv4/address: status 500"), "{failed}");
    let cut = refusal(DigitalOcean, |_| Reply::CutOff { body: "10.0.0.1".into() }).await;
    assert!(cut.contains("the answer broke off"), "{cut}");
}

#[actix_rt::test]
async fn an_address_that_nobody_can_reach_is_refused() {
    for (body, reason) in [
        ("127.0.0.1", "127.0.0.1 can't be reached from elsewhere"),
        ("169.254.169.254", "169.254.169.254 can't be reached from elsewhere"),
        ("0.0.0.0", "0.0.0.0 can't be reached from elsewhere"),
        ("10.0.0.1\n10.0.0.2", "no IPv4 address"),
        ("host.internal", "no IPv4 address"),
    ] {
        let has = Addresses { private: Some(body), public: Some("203.0.113.7") };
        let failures = ask(&service(DigitalOcean, has), &[DigitalOcean]).await.unwrap_err();
        assert!(failures[0].1.contains(reason), "{failures:?}");
    }
}

#[actix_rt::test]
async fn a_long_answer_is_not_read_to_its_end() {
    let failed = refusal(DigitalOcean, |_| text(&" 10.0.0.1".repeat(1000))).await;
    assert!(failed.contains("longer than 4096 bytes"), "{failed}");
}

#[actix_rt::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = service(DigitalOcean, BOTH);
    let url = format!("http://{}", elsewhere.authority());
    let server = Canned::tcp(move |request| {
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {url}{}\r\n", request.target);
        Reply::Raw(format!("{head}Content-Length: 0\r\n\r\n").into_bytes())
    });
    let failures = ask(&server, &[DigitalOcean]).await.unwrap_err();
    assert!(failures[0].1.ends_with("status 302"), "{failures:?}");
    assert_eq!(elsewhere.connections(), 0);
}

#[actix_rt::test]
async fn a_service_that_does_not_answer_is_given_up() {
    let limit = Duration::from_millis(50);
    for silent in [|| Reply::Silence, || Reply::Stall { body: "10.0".into() }] {
        let server = Canned::tcp(move |_| silent());
        for cloud in [Aws, Gce, DigitalOcean] {
            let failures = ask_within(limit, &server, &[cloud]).await.unwrap_err();
            assert!(failures[0].1.contains("no answer within 0.05 s"), "{failures:?}");
            assert_eq!(failures[0].1.contains("hop limit"), cloud == Aws);
        }
    }
}

#[actix_rt::test]
async fn of_all_clouds_the_one_that_answers_is_believed() {
    let all = [Aws, Gce, DigitalOcean];
    for cloud in all {
        let told = ask(&service(cloud, BOTH), &all).await;
        assert_eq!(told, Ok((cloud, "10.3.2.1".to_owned())));
    }
    // The others' silence costs time, and nothing else.
    let server = Canned::tcp(|request| match request.target.starts_with("/metadata/v1/") {
        true => digital_ocean(request, BOTH),
        false => Reply::Silence,
    });
    let told = ask_within(Duration::from_secs(1), &server, &all).await;
    assert_eq!(told, Ok((DigitalOcean, "10.3.2.1".to_owned())));
}

#[actix_rt::test]
async fn of_several_that_answer_the_first_in_the_list_counts() {
    let server = Canned::tcp(|request| match request.target.starts_with("/metadata/v1/") {
        true => digital_ocean(request, PUBLIC),
        false => aws(request, BOTH),
    });
    for (order, address) in
        [([Aws, DigitalOcean], "10.3.2.1"), ([DigitalOcean, Aws], "203.0.113.7")]
    {
        assert_eq!(ask(&server, &order).await, Ok((order[0], address.to_owned())));
    }
}

#[actix_rt::test]
async fn where_none_answers_each_tells_why() {
    let all = [Aws, Gce, DigitalOcean];
    let server = Canned::tcp(|_| Reply::status(404, ""));
    let failures = ask(&server, &all).await.unwrap_err();
    assert_eq!(failures.iter().map(|(cloud, _)| *cloud).collect::<Vec<_>>(), all);
    let service = format!("http://127.0.0.1:{}", support::free_port());
    let nobody = Metadata { service, limit: Duration::from_secs(60) };
    for (_, reason) in nobody.ask(&all).await.unwrap_err() {
        assert!(reason.contains("can't connect: Connection refused"), "{reason}");
    }
}

#[test]
fn the_service_is_the_clouds_own_unless_a_test_names_another() {
    let own = Metadata::of(&Environment::default());
    assert_eq!((own.service.as_str(), own.limit.as_secs()), ("http://169.254.169.254", 2));
    let variable = [("TEST_METADATA_OF_HIGHHOCK", "http://127.0.0.1:9")];
    assert_eq!(Metadata::of(&variable.into_iter().collect()).service, "http://127.0.0.1:9");
}
