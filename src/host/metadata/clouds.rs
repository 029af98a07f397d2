//! The requests for a machine's address, as each cloud's manual describes them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use awc::http::Method;

use super::http::{MetadataHttp, MetadataResponse};
use crate::host::is_usable;
use crate::settings::Cloud;

/// The lifetime of AWS's token, in seconds: enough for a few requests.
const TOKEN_TTL_SECONDS: &str = "60";

/// The header by which GCE's service and its clients recognise each other.
const FLAVOR: (&str, &str) = ("Metadata-Flavor", "Google");

/// Requests the machine's private address, and its public address if there is no private one.
pub(super) async fn address(http: &MetadataHttp, cloud: Cloud) -> Result<IpAddr, String> {
    match cloud {
        Cloud::Aws => aws(http).await,
        Cloud::Gce => gce(http).await,
        Cloud::DigitalOcean => digital_ocean(http).await,
    }
}

/// Returns the reason to report after a time-out.
pub(super) fn timeout_reason(cloud: Cloud, limit: Duration) -> String {
    let hint = match cloud {
        Cloud::Aws => " (a container gets an answer only if the instance's hop limit is 2 or more)",
        Cloud::Gce | Cloud::DigitalOcean => "",
    };
    format!("no answer within {} s; is this a machine of that cloud?{hint}", limit.as_secs_f32())
}

/// Queries version 2 of AWS's service, which needs a token for each session. Version 1, which
/// needs none, is not queried, because operators disable it.
async fn aws(http: &MetadataHttp) -> Result<IpAddr, String> {
    const TOKEN: &str = "/latest/api/token";
    let lifetime = ("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_TTL_SECONDS);
    let response = http.send(Method::PUT, TOKEN, Some(lifetime)).await?;
    let failed = |reason: &str| Err(format!("PUT {TOKEN}: {reason}"));
    match response.status {
        200 => {}
        403 => return failed("refused (status 403); is the instance's metadata switched off?"),
        status => return failed(&format!("returned no token (status {status}); is this AWS?")),
    }
    let token = &response.text;
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return failed("the response is not a token; is this AWS?");
    }
    let header = ("x-aws-ec2-metadata-token", token.as_str());
    let get = async |path: &str| http.send(Method::GET, path, Some(header)).await;
    first_address(get, ["/latest/meta-data/local-ipv4", "/latest/meta-data/public-ipv4"]).await
}

async fn gce(http: &MetadataHttp) -> Result<IpAddr, String> {
    const INTERFACE: &str = "/computeMetadata/v1/instance/network-interfaces/0";
    let get = async |path: &str| {
        let response = http.send(Method::GET, path, Some(FLAVOR)).await?;
        let flavor = response.headers.get("metadata-flavor").map(|value| value.as_bytes());
        if flavor == Some(FLAVOR.1.as_bytes()) {
            Ok(response)
        } else {
            let (name, value) = FLAVOR;
            Err(format!("GET {path}: the response lacks {name}: {value}; is this GCE?"))
        }
    };
    let private = format!("{INTERFACE}/ip");
    let public = format!("{INTERFACE}/access-configs/0/external-ip");
    first_address(get, [&private, &public]).await
}

async fn digital_ocean(http: &MetadataHttp) -> Result<IpAddr, String> {
    const INTERFACES: &str = "/metadata/v1/interfaces";
    let get = async |path: &str| http.send(Method::GET, path, None).await;
    let private = format!("{INTERFACES}/private/0/ipv4/address");
    let public = format!("{INTERFACES}/public/0/ipv4/address");
    first_address(get, [&private, &public]).await
}

/// Returns the address at the first path that has one.
///
/// A missing address leads to the next path. An invalid response is an error, because it may come
/// from any other server.
async fn first_address(
    get: impl AsyncFn(&str) -> Result<MetadataResponse, String>,
    paths: [&str; 2],
) -> Result<IpAddr, String> {
    for path in paths {
        let response = get(path).await?;
        match (response.status, response.text.as_str()) {
            // GCE sends an empty response if the machine has no such address.
            (404, _) | (200, "") => {}
            (200, text) => {
                return parse_address(text).map_err(|reason| format!("GET {path}: {reason}"));
            }
            (status, _) => return Err(format!("GET {path}: status {status}")),
        }
    }
    Err(format!("no address at {}; is this a machine of that cloud?", paths.join(" or ")))
}

fn parse_address(text: &str) -> Result<IpAddr, String> {
    let address = text.parse::<Ipv4Addr>().map(IpAddr::V4);
    match address {
        Ok(address) if is_usable(&address) => Ok(address),
        Ok(address) => Err(format!("{address} is not reachable from other hosts")),
        Err(_) => Err("the response is not an IPv4 address".into()),
    }
}
