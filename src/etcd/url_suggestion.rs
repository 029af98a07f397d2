//! Finds etcd at its usual client port, if nothing listens at the default of `etcd.url`.

use std::io;
use std::time::Duration;

use awc::http::Method;
use slog::Logger;
use tokio::net::TcpStream;
use url::Url;

use super::cluster::Cluster;
use super::http::{Body, HttpClient, Request};

/// The client port of the first releases of etcd, which the default of `etcd.url` has.
const FIRST_PORT: u16 = 4001;

/// The client port of etcd since its version 2.
const USUAL_PORT: u16 = 2379;

/// The time limit of the connection that may be refused.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Returns the URL at which etcd answers, if the only URL of the cluster has the port of the first
/// releases of etcd on this host, and that port refuses connections.
pub async fn suggest_url(cluster: &Cluster, log: &Logger) -> Option<Url> {
    let [url] = cluster.urls.as_slice() else { return None };
    if url.port() != Some(FIRST_PORT) || url.host_str() != Some("127.0.0.1") {
        return None;
    }
    let mut candidate = url.clone();
    candidate.set_port(Some(USUAL_PORT)).ok()?;
    answers_instead(cluster, url, candidate, log).await
}

/// Returns `candidate` if connections to `url` are refused and etcd answers at `candidate`.
async fn answers_instead(
    cluster: &Cluster,
    url: &Url,
    candidate: Url,
    log: &Logger,
) -> Option<Url> {
    if !is_refused(url).await {
        return None;
    }
    let cluster = Cluster { urls: vec![candidate.clone()], ..cluster.clone() };
    is_etcd(&cluster, log).await.then_some(candidate)
}

async fn is_refused(url: &Url) -> bool {
    let Ok(addresses) = url.socket_addrs(|| None) else { return false };
    let connected = TcpStream::connect(addresses.as_slice());
    match tokio::time::timeout(CONNECT_TIMEOUT, connected).await {
        Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
        _ => false,
    }
}

/// Returns `true` if the server reports a version of etcd. This request needs no rights.
async fn is_etcd(cluster: &Cluster, log: &Logger) -> bool {
    let Ok(http) = HttpClient::new(cluster, log.clone()) else { return false };
    let request = Request {
        method: Method::GET,
        path: "/version",
        query: "",
        body: Body::None,
        timeout: http.default_timeout(),
        authorization: None,
    };
    let response = http.send(request).await;
    response
        .is_ok_and(|response| String::from_utf8_lossy(&response.body).contains(r#""etcdserver""#))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::etcd::Etcd;
    use crate::support::free_port;
    use crate::support::scripted_server::{ScriptedResponse, ScriptedServer};

    fn at(port: u16) -> Url {
        format!("http://127.0.0.1:{port}/").parse().unwrap()
    }

    async fn suggestion(url: Url, candidate: Url) -> Option<Url> {
        let log = Logger::root(slog::Discard, slog::o!());
        let cluster = Cluster::new(vec![url.clone()]);
        answers_instead(&cluster, &url, candidate, &log).await
    }

    #[actix_rt::test]
    async fn suggests_the_url_at_which_real_etcd_answers() {
        let etcd = Etcd::start();
        let answering = at(etcd.address().port());
        assert_eq!(suggestion(at(free_port()), answering.clone()).await, Some(answering.clone()));
        assert_eq!(suggestion(answering.clone(), answering).await, None);
        assert_eq!(suggestion(at(free_port()), at(free_port())).await, None);
    }

    #[actix_rt::test]
    async fn other_servers_are_not_suggested() {
        let server = ScriptedServer::tcp(|_| ScriptedResponse::json("{}"));
        let other = format!("http://{}/", server.authority()).parse().unwrap();
        assert_eq!(suggestion(at(free_port()), other).await, None);
    }

    #[actix_rt::test]
    async fn only_the_default_url_has_a_suggestion() {
        let log = Logger::root(slog::Discard, slog::o!());
        for urls in ["http://127.0.0.1:1/", "http://127.0.0.1:4001/,http://127.0.0.1:1/"] {
            let urls = urls.split(',').map(|url| url.parse().unwrap()).collect();
            assert_eq!(suggest_url(&Cluster::new(urls), &log).await, None);
        }
    }
}
