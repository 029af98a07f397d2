//! How each cloud's machines ask for their address, as their manuals have it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use awc::http::Method;

use super::http::{MetadataHttp, MetadataResponse};
use crate::host::is_usable;
use crate::settings::Cloud;

/// The seconds for which AWS is to take its token: a few questions long.
const TOKEN_TTL_SECONDS: &str = "60";

/// By this header a service of GCE knows its client, and the client the service.
const FLAVOR: (&str, &str) = ("Metadata-Flavor", "Google");

/// Asks for the machine's private address, else for its public one.
pub(super) async fn address(http: &MetadataHttp, cloud: Cloud) -> Result<IpAddr, String> {
    match cloud {
        Cloud::Aws => aws(http).await,
        Cloud::Gce => gce(http).await,
        Cloud::DigitalOcean => digital_ocean(http).await,
    }
}

/// What to say where no answer came in time.
pub(super) fn timeout_reason(cloud: Cloud, limit: Duration) -> String {
    let hint = match cloud {
        Cloud::Aws => " (to a container it answers only if the instance's hop limit is 2 or more)",
        Cloud::Gce | Cloud::DigitalOcean => "",
    };
    format!("no answer within {} s; is this a machine of that cloud?{hint}", limit.as_secs_f32())
}

/// The second version of AWS's service: with a token for each session. The first, which
/// takes none, is not asked; operators switch it off.
async fn aws(http: &MetadataHttp) -> Result<IpAddr, String> {
    const TOKEN: &str = "/latest/api/token";
    let lifetime = ("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_TTL_SECONDS);
    let answer = http.send(Method::PUT, TOKEN, Some(lifetime)).await?;
    let refused = |reason: &str| Err(format!("PUT {TOKEN}: {reason}"));
    match answer.status {
        200 => {}
        403 => return refused("refused (status 403); is the instance's metadata switched off?"),
        status => return refused(&format!("gave no token (status {status}); is this AWS?")),
    }
    let token = &answer.text;
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refused("what it gave is no token; is this AWS?");
    }
    let header = ("x-aws-ec2-metadata-token", token.as_str());
    let get = async |path: &str| http.send(Method::GET, path, Some(header)).await;
    first_address(get, ["/latest/meta-data/local-ipv4", "/latest/meta-data/public-ipv4"]).await
}

async fn gce(http: &MetadataHttp) -> Result<IpAddr, String> {
    const INTERFACE: &str = "/computeMetadata/v1/instance/network-interfaces/0";
    let get = async |path: &str| {
        let answer = http.send(Method::GET, path, Some(FLAVOR)).await?;
        let flavor = answer.headers.get("metadata-flavor").map(|value| value.as_bytes());
        if flavor == Some(FLAVOR.1.as_bytes()) {
            Ok(answer)
        } else {
            let (name, value) = FLAVOR;
            Err(format!("GET {path}: the answer lacks {name}: {value}; is this GCE?"))
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

/// The first path at which there is an address. One that isn't there leads to the next;
/// an answer that makes no sense does not, as it may be anybody's.
async fn first_address(
    get: impl AsyncFn(&str) -> Result<MetadataResponse, String>,
    paths: [&str; 2],
) -> Result<IpAddr, String> {
    for path in paths {
        let answer = get(path).await?;
        match (answer.status, answer.text.as_str()) {
            // GCE gives an empty answer for an address that there is none of.
            (404, _) | (200, "") => {}
            (200, text) => return read(text).map_err(|reason| format!("GET {path}: {reason}")),
            (status, _) => return Err(format!("GET {path}: status {status}")),
        }
    }
    Err(format!("there is no address at {}; is this a machine of that cloud?", paths.join(" or ")))
}

fn read(text: &str) -> Result<IpAddr, String> {
    let address = text.parse::<Ipv4Addr>().map(IpAddr::V4);
    match address {
        Ok(address) if is_usable(&address) => Ok(address),
        Ok(address) => Err(format!("{address} can't be reached from elsewhere")),
        Err(_) => Err("the answer is no IPv4 address".into()),
    }
}
