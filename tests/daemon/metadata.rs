//! The metadata services of the clouds, scripted from their manuals.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use highhock::host::metadata::MetadataClient;
use highhock::settings::{Cloud, Environment};
use support::scripted_server::{ReceivedRequest, ScriptedResponse, ScriptedServer};

use Cloud::{Aws, DigitalOcean, Gce};

const TOKEN: &str = "AQAEANd1n2SVk3vhQ==";

/// The addresses of a machine, for clouds with more than one.
#[derive(Clone, Copy)]
struct Addresses {
    private: Option<&'static str>,
    public: Option<&'static str>,
}

const BOTH: Addresses = Addresses { private: Some("10.3.2.1"), public: Some("203.0.113.7") };
const PUBLIC: Addresses = Addresses { private: None, public: Some("203.0.113.7") };
const NONE: Addresses = Addresses { private: None, public: None };

fn text(body: &str) -> ScriptedResponse {
    ScriptedResponse::Full { status: 200, content_type: "text/plain", body: format!("{body}\n") }
}

fn address_or_404(address: Option<&str>) -> ScriptedResponse {
    address.map_or_else(|| ScriptedResponse::status(404, "not found"), text)
}

/// AWS's second version: no token, no answer.
fn aws(request: &ReceivedRequest, addresses: Addresses) -> ScriptedResponse {
    let lifetime = request.header("x-aws-ec2-metadata-token-ttl-seconds");
    match (request.method.as_str(), request.target.as_str()) {
        ("PUT", "/latest/api/token") if lifetime == Some("60") => text(TOKEN),
        ("PUT", "/latest/api/token") => ScriptedResponse::status(400, ""),
        _ if request.header("x-aws-ec2-metadata-token") != Some(TOKEN) => {
            ScriptedResponse::status(401, "")
        }
        (_, "/latest/meta-data/local-ipv4") => address_or_404(addresses.private),
        (_, "/latest/meta-data/public-ipv4") => address_or_404(addresses.public),
        _ => ScriptedResponse::status(404, ""),
    }
}

/// A response of GCE, with the header that all of them have.
fn google_response(status: u16, body: &str) -> ScriptedResponse {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} OK\r\nMetadata-Flavor: Google\r\n");
    ScriptedResponse::Raw(format!("{head}Content-Length: {length}\r\n\r\n{body}").into_bytes())
}

fn gce(request: &ReceivedRequest, addresses: Addresses) -> ScriptedResponse {
    const INTERFACE: &str = "/computeMetadata/v1/instance/network-interfaces/0";
    if request.header("metadata-flavor") != Some("Google") {
        return ScriptedResponse::status(403, "");
    }
    match request.target.strip_prefix(INTERFACE) {
        Some("/ip") => addresses
            .private
            .map_or_else(|| google_response(404, ""), |it| google_response(200, it)),
        // Empty if the machine has no such address.
        Some("/access-configs/0/external-ip") => {
            google_response(200, addresses.public.unwrap_or_default())
        }
        _ => google_response(404, ""),
    }
}

fn digital_ocean(request: &ReceivedRequest, addresses: Addresses) -> ScriptedResponse {
    match request.target.as_str() {
        "/metadata/v1/interfaces/private/0/ipv4/address" => address_or_404(addresses.private),
        "/metadata/v1/interfaces/public/0/ipv4/address" => address_or_404(addresses.public),
        _ => ScriptedResponse::status(404, "not found"),
    }
}

fn service(cloud: Cloud, addresses: Addresses) -> ScriptedServer {
    ScriptedServer::tcp(move |request| match cloud {
        Aws => aws(request, addresses),
        Gce => gce(request, addresses),
        DigitalOcean => digital_ocean(request, addresses),
    })
}

/// Queries a service. Returns the address and its source, or the reason of each step.
async fn lookup_within(
    limit: Duration,
    service: &ScriptedServer,
    clouds: &[Cloud],
) -> Result<(Cloud, String), Vec<(Cloud, String)>> {
    let metadata = MetadataClient { service: format!("http://{}", service.authority()), limit };
    let found = metadata.find_address(clouds).await?;
    Ok((found.cloud, found.address.to_string()))
}

async fn lookup(
    service: &ScriptedServer,
    clouds: &[Cloud],
) -> Result<(Cloud, String), Vec<(Cloud, String)>> {
    // Long, so that only a silent server reaches the limit.
    lookup_within(Duration::from_secs(60), service, clouds).await
}

/// Queries a service as a machine of that cloud. Returns the reason of the failure.
async fn lookup_error(cloud: Cloud, script: fn(&ReceivedRequest) -> ScriptedResponse) -> String {
    let failures = lookup(&ScriptedServer::tcp(script), &[cloud]).await.unwrap_err();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0].0, cloud);
    failures[0].1.clone()
}

#[actix_rt::test]
async fn prefers_the_private_address() {
    for cloud in [Aws, Gce, DigitalOcean] {
        for (addresses, address) in [(BOTH, "10.3.2.1"), (PUBLIC, "203.0.113.7")] {
            let found = lookup(&service(cloud, addresses), &[cloud]).await;
            assert_eq!(found, Ok((cloud, address.to_owned())));
        }
        let failures = lookup(&service(cloud, NONE), &[cloud]).await.unwrap_err();
        assert!(failures[0].1.contains("no address at /"), "{failures:?}");
    }
}

#[actix_rt::test]
async fn rejected_token_stops_the_lookup() {
    for (status, hint) in [(403, "metadata switched off"), (404, "is this AWS?"), (405, "405")] {
        let server = ScriptedServer::tcp(move |_| ScriptedResponse::status(status, "no"));
        let failures = lookup(&server, &[Aws]).await.unwrap_err();
        assert!(failures[0].1.contains("PUT /latest/api/token: "), "{failures:?}");
        assert!(failures[0].1.contains(hint), "{failures:?}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[actix_rt::test]
async fn rejects_foreign_responses() {
    for (cloud, reason) in [
        (Aws, "the response is not a token"),
        (Gce, "lacks Metadata-Flavor: Google"),
        (DigitalOcean, "the response is not an IPv4 address"),
    ] {
        assert!(lookup_error(cloud, |_| ScriptedResponse::html()).await.contains(reason));
        let failed = lookup_error(cloud, |_| ScriptedResponse::Hangup).await;
        assert!(failed.contains("the connection was closed without a response"), "{failed}");
        let broken =
            lookup_error(cloud, |_| ScriptedResponse::Raw(b"SSH-2.0-OpenSSH\r\n".to_vec())).await;
        assert!(broken.contains("invalid response"), "{broken}");
        assert!(lookup_error(cloud, |_| ScriptedResponse::status(404, "")).await.contains('?'));
    }
    let failed = lookup_error(DigitalOcean, |_| ScriptedResponse::status(500, "")).await;
    assert!(failed.ends_with("/ipv4/address: status 500"), "{failed}");
    let cut =
        lookup_error(DigitalOcean, |_| ScriptedResponse::Truncated { body: "10.0.0.1".into() })
            .await;
    assert!(cut.contains("the response is incomplete"), "{cut}");
}

#[actix_rt::test]
async fn rejects_unreachable_addresses() {
    for (body, reason) in [
        ("127.0.0.1", "127.0.0.1 is not reachable from other hosts"),
        ("169.254.169.254", "169.254.169.254 is not reachable from other hosts"),
        ("0.0.0.0", "0.0.0.0 is not reachable from other hosts"),
        ("10.0.0.1\n10.0.0.2", "not an IPv4 address"),
        ("host.internal", "not an IPv4 address"),
    ] {
        let addresses = Addresses { private: Some(body), public: Some("203.0.113.7") };
        let failures =
            lookup(&service(DigitalOcean, addresses), &[DigitalOcean]).await.unwrap_err();
        assert!(failures[0].1.contains(reason), "{failures:?}");
    }
}

#[actix_rt::test]
async fn stops_reading_a_long_response() {
    let failed = lookup_error(DigitalOcean, |_| text(&" 10.0.0.1".repeat(1000))).await;
    assert!(failed.contains("longer than 4096 bytes"), "{failed}");
}

#[actix_rt::test]
async fn does_not_follow_redirects() {
    let elsewhere = service(DigitalOcean, BOTH);
    let url = format!("http://{}", elsewhere.authority());
    let server = ScriptedServer::tcp(move |request| {
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {url}{}\r\n", request.target);
        ScriptedResponse::Raw(format!("{head}Content-Length: 0\r\n\r\n").into_bytes())
    });
    let failures = lookup(&server, &[DigitalOcean]).await.unwrap_err();
    assert!(failures[0].1.ends_with("status 302"), "{failures:?}");
    assert_eq!(elsewhere.connections(), 0);
}

#[actix_rt::test]
async fn unresponsive_service_times_out() {
    let limit = Duration::from_millis(50);
    for silent in
        [|| ScriptedResponse::NoResponse, || ScriptedResponse::Stall { body: "10.0".into() }]
    {
        let server = ScriptedServer::tcp(move |_| silent());
        for cloud in [Aws, Gce, DigitalOcean] {
            let failures = lookup_within(limit, &server, &[cloud]).await.unwrap_err();
            assert!(failures[0].1.contains("no answer within 0.05 s"), "{failures:?}");
            assert_eq!(failures[0].1.contains("hop limit"), cloud == Aws);
        }
    }
}

#[actix_rt::test]
async fn with_all_clouds_the_responding_one_is_used() {
    let all = [Aws, Gce, DigitalOcean];
    for cloud in all {
        let found = lookup(&service(cloud, BOTH), &all).await;
        assert_eq!(found, Ok((cloud, "10.3.2.1".to_owned())));
    }
    // The other services do not respond, which only costs time.
    let server = ScriptedServer::tcp(|request| {
        if request.target.starts_with("/metadata/v1/") {
            digital_ocean(request, BOTH)
        } else {
            ScriptedResponse::NoResponse
        }
    });
    let found = lookup_within(Duration::from_secs(1), &server, &all).await;
    assert_eq!(found, Ok((DigitalOcean, "10.3.2.1".to_owned())));
}

#[actix_rt::test]
async fn first_listed_cloud_wins() {
    let server = ScriptedServer::tcp(|request| {
        if request.target.starts_with("/metadata/v1/") {
            digital_ocean(request, PUBLIC)
        } else {
            aws(request, BOTH)
        }
    });
    for (order, address) in
        [([Aws, DigitalOcean], "10.3.2.1"), ([DigitalOcean, Aws], "203.0.113.7")]
    {
        assert_eq!(lookup(&server, &order).await, Ok((order[0], address.to_owned())));
    }
}

#[actix_rt::test]
async fn error_lists_the_reason_of_each_cloud() {
    let all = [Aws, Gce, DigitalOcean];
    let server = ScriptedServer::tcp(|_| ScriptedResponse::status(404, ""));
    let failures = lookup(&server, &all).await.unwrap_err();
    assert_eq!(failures.iter().map(|(cloud, _)| *cloud).collect::<Vec<_>>(), all);
    let service = format!("http://127.0.0.1:{}", support::free_port());
    let client = MetadataClient { service, limit: Duration::from_secs(60) };
    for (_, reason) in client.find_address(&all).await.unwrap_err() {
        assert!(reason.contains("cannot connect: Connection refused"), "{reason}");
    }
}

#[test]
fn service_url_is_fixed_unless_overridden_by_a_test() {
    let own = MetadataClient::from_environment(&Environment::default());
    assert_eq!((own.service.as_str(), own.limit.as_secs()), ("http://169.254.169.254", 2));
    let variable = [("HIGHHOCK_TEST_METADATA_URL", "http://127.0.0.1:9")];
    assert_eq!(
        MetadataClient::from_environment(&variable.into_iter().collect()).service,
        "http://127.0.0.1:9"
    );
}
