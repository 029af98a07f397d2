//! The types of single settings, and their parsers.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use highhock_actors::model::names::DomainName;
use highhock_actors::model::publish_config::DiscoveryMethod;
use highhock_actors::model::record::Host;
use url::Url;

use crate::text::nearest::nearest;

/// The rejection of a text that is not a value of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    /// The reason, unless the list of allowed values explains the rejection well enough.
    pub detail: Option<String>,
}

impl ValueError {
    pub(super) fn with_detail(detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()) }
    }

    pub(super) fn without_detail() -> Self {
        Self { detail: None }
    }
}

/// Returns the error of a text that is none of the values allowed, with the most similar one.
pub(super) fn unknown_value(text: &str, allowed: &[&str]) -> ValueError {
    let near = nearest(text, allowed.iter().copied());
    ValueError { detail: near.map(|near| format!("the nearest value is {near}")) }
}

/// The handling of the records on a clean stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExit {
    /// The records stay until their TTL ends, so that a restart goes unnoticed.
    Keep,
    /// The records are withdrawn.
    Remove,
}

/// A cloud whose metadata service supplies a machine's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// Amazon's EC2.
    Aws,
    /// Google's Compute Engine.
    Gce,
    /// DigitalOcean's Droplets.
    DigitalOcean,
}

impl Cloud {
    const ALL: [Self; 3] = [Self::Aws, Self::Gce, Self::DigitalOcean];

    /// Returns the value's name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Gce => "gce",
            Self::DigitalOcean => "digitalocean",
        }
    }
}

/// The store of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// etcd.
    Etcd,
    /// The memory of this process, which answers DNS itself.
    Standalone,
}

impl StoreKind {
    /// Returns the servers that must be reachable before a record can be published.
    pub fn dependencies(self) -> &'static str {
        match self {
            Self::Etcd => "docker and etcd",
            Self::Standalone => "docker",
        }
    }
}

/// The API of etcd to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EtcdApi {
    /// Detected when etcd is first reached.
    Auto,
    /// The v2 keys API.
    V2,
    /// The v3 API.
    V3,
}

impl OnExit {
    /// Returns the value's name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Remove => "remove",
        }
    }
}

/// The address of the Docker engine, with the choice between plain HTTP and TLS made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerUrl {
    /// The absolute path of a Unix socket.
    Unix(PathBuf),
    /// `host:port` for plain HTTP; an IPv6 address is in brackets.
    Tcp(String),
    /// `host:port` for HTTP over TLS; an IPv6 address is in brackets.
    Tls(String),
}

/// `docker.url` as it is written. With `tcp://`, the files for TLS decide between HTTP and TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineUrl {
    /// The absolute path of a Unix socket.
    Unix(PathBuf),
    /// An address on the network.
    Net {
        /// The scheme of the URL.
        scheme: EngineScheme,
        /// A name or an address; an IPv6 address is in brackets.
        host: String,
        /// The port, if the URL has one.
        port: Option<u16>,
    },
}

/// The scheme of the URL of an engine on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineScheme {
    /// `tcp://`: with TLS if files for TLS or `DOCKER_TLS_VERIFY` are set.
    Tcp,
    /// `http://`: without TLS.
    Http,
    /// `https://`: with TLS.
    Https,
}

impl fmt::Display for DockerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "http://{authority}/"),
            Self::Tls(authority) => write!(f, "https://{authority}/"),
        }
    }
}

/// The version of the engine's API to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DockerVersion {
    /// Negotiated with the engine.
    Auto,
    /// The version that the operator set.
    Exactly {
        /// The part before the dot.
        major: u16,
        /// The part after the dot.
        minor: u16,
    },
}

/// The source of the IPv6 address that is published beside the first address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host6 {
    /// An address of `discovery.interface`.
    Auto,
    /// The address that the operator set.
    Address(Ipv6Addr),
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text, in colours if standard error is a terminal.
    Terminal,
    /// One JSON object per line.
    Json,
}

/// Parses the URLs of a cluster's members, separated by commas.
pub(super) fn etcd_urls(text: &str) -> Result<Vec<Url>, ValueError> {
    let urls = text.split(',').map(|one| etcd_url(one.trim())).collect::<Result<Vec<_>, _>>()?;
    let is_duplicate = |(index, url): (usize, &Url)| urls[..index].contains(url);
    if urls.iter().enumerate().any(is_duplicate) {
        return Err(ValueError::with_detail("a member is listed twice"));
    }
    if urls.windows(2).all(|pair| pair[0].scheme() == pair[1].scheme()) {
        Ok(urls)
    } else {
        Err(ValueError::with_detail("the members mix http:// and https://"))
    }
}

/// Parses the URL of an etcd member: `http://host:port/` without other parts.
fn etcd_url(text: &str) -> Result<Url, ValueError> {
    let url = Url::parse(text).map_err(url_error)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ValueError::without_detail());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ValueError::with_detail(
            "the URL contains a user; use etcd.username, and etcd.password or etcd.passwordFile",
        ));
    }
    is_bare(&url).then_some(url).ok_or_else(extra_parts_error)
}

/// Parses the URL of a Docker engine.
pub(super) fn docker_url(text: &str) -> Result<EngineUrl, ValueError> {
    if let Some(path) = text.strip_prefix("unix://") {
        return if path.starts_with('/') && path.len() > 1 {
            Ok(EngineUrl::Unix(PathBuf::from(path)))
        } else {
            Err(ValueError::with_detail("the path of the socket must be absolute"))
        };
    }
    let (scheme, rest) = text.split_once("://").ok_or(ValueError::without_detail())?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "tcp" => EngineScheme::Tcp,
        "http" => EngineScheme::Http,
        "https" => EngineScheme::Https,
        _ => return Err(ValueError::without_detail()),
    };
    // `Url` drops a port that is the default of its scheme, but a written port 80 must be kept, so
    // the presence of a port is determined separately.
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let url = Url::parse(&format!("http://{rest}")).map_err(url_error)?;
    if !is_bare(&url) {
        return Err(extra_parts_error());
    }
    let host = url.host_str().ok_or(ValueError::without_detail())?.to_owned();
    let port = url.port_or_known_default().filter(|_| has_port);
    Ok(EngineUrl::Net { scheme, host, port })
}

/// Parses the name of an etcd user. With basic authentication a name ends at a colon.
pub(super) fn username(name: &str) -> Result<String, ValueError> {
    if name.contains(':') { Err(ValueError::without_detail()) } else { text(name) }
}

/// Returns `true` if a URL has only a scheme, a host and a port.
fn is_bare(url: &Url) -> bool {
    url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

fn url_error(error: url::ParseError) -> ValueError {
    match error {
        url::ParseError::RelativeUrlWithoutBase => ValueError::with_detail("the URL has no scheme"),
        other => ValueError::with_detail(other.to_string()),
    }
}

fn extra_parts_error() -> ValueError {
    ValueError::with_detail("only scheme, host and port are allowed")
}

/// Parses an API version: `auto`, `v1.41` or `1.41`.
pub(super) fn docker_version(text: &str) -> Result<DockerVersion, ValueError> {
    if text == "auto" {
        return Ok(DockerVersion::Auto);
    }
    let digits = |part: &str| {
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            part.parse().map_err(|_| ValueError::without_detail())
        } else {
            Err(ValueError::without_detail())
        }
    };
    let (major, minor) = text
        .strip_prefix('v')
        .unwrap_or(text)
        .split_once('.')
        .ok_or(ValueError::without_detail())?;
    Ok(DockerVersion::Exactly { major: digits(major)?, minor: digits(minor)? })
}

/// Parses a domain name.
pub(super) fn domain(text: &str) -> Result<DomainName, ValueError> {
    if text.is_empty() {
        return Err(ValueError::without_detail());
    }
    DomainName::parse(text).map_err(ValueError::with_detail)
}

/// Parses the first part of every key: one label. Its case is kept, because keys of etcd, and the
/// paths in the configuration of a DNS server, are case-sensitive.
pub(super) fn prefix(text: &str) -> Result<String, ValueError> {
    match domain(text)?.labels().count() {
        1 => Ok(text.strip_suffix('.').unwrap_or(text).to_owned()),
        _ => Err(ValueError::with_detail("more than one label")),
    }
}

/// Parses the target of a record: an address that clients can connect to, or a host name.
pub(crate) fn host(text: &str) -> Result<Host, ValueError> {
    use std::net::IpAddr;
    if let Ok(address) = text.parse::<IpAddr>() {
        return if !(address.is_unspecified() || address.is_multicast()) {
            Ok(Host::Address(address))
        } else {
            Err(ValueError::with_detail("clients cannot connect to this address"))
        };
    }
    let name = domain(text)?;
    // No top-level domain is a number, so 10.0.0.300 is a mistyped address.
    let top_is_number =
        name.labels().next_back().is_some_and(|top| top.bytes().all(|b| b.is_ascii_digit()));
    if top_is_number {
        Err(ValueError::with_detail("neither an address nor a host name"))
    } else {
        Ok(Host::Name(name))
    }
}

/// Parses an IPv6 address that clients can connect to, or `auto`.
pub(super) fn host6(text: &str) -> Result<Host6, ValueError> {
    if text == "auto" {
        return Ok(Host6::Auto);
    }
    let address: Ipv6Addr = text.parse().map_err(|_| ValueError::without_detail())?;
    if address.to_ipv4_mapped().is_some() {
        return Err(ValueError::with_detail("this is an IPv4 address"));
    }
    if !(address.is_unspecified() || address.is_multicast() || address.is_unicast_link_local()) {
        Ok(Host6::Address(address))
    } else {
        Err(ValueError::with_detail("other hosts cannot connect to this address"))
    }
}

/// Parses the name of a network interface by the rules of Linux.
pub(super) fn interface(text: &str) -> Result<String, ValueError> {
    let is_valid = !text.is_empty()
        && text.len() <= 15
        && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/');
    is_valid.then(|| text.to_owned()).ok_or(ValueError::without_detail())
}

/// Parses the clouds whose metadata services are queried.
pub(super) fn clouds(text: &str) -> Result<Vec<Cloud>, ValueError> {
    match text {
        "auto" => Ok(Cloud::ALL.to_vec()),
        name => {
            let cloud = Cloud::ALL.into_iter().find(|cloud| cloud.as_str() == name);
            cloud.map(|cloud| vec![cloud]).ok_or(ValueError::without_detail())
        }
    }
}

/// Parses the name of a discovery method.
pub(super) fn method(text: &str) -> Result<DiscoveryMethod, ValueError> {
    const METHODS: [&str; 4] = ["env", "label", "registrator", "compose"];
    match text {
        "env" => Ok(DiscoveryMethod::Env),
        "label" => Ok(DiscoveryMethod::Label),
        "registrator" => Ok(DiscoveryMethod::Registrator),
        "compose" => Ok(DiscoveryMethod::Compose),
        _ => {
            let near = nearest(text, METHODS);
            let detail =
                near.map(|near| format!("{text:?} is not allowed; the nearest value is {near}"));
            Err(ValueError { detail })
        }
    }
}

/// Accepts every text that is not empty.
pub(super) fn text(text: &str) -> Result<String, ValueError> {
    (!text.is_empty()).then(|| text.to_owned()).ok_or(ValueError::without_detail())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_etcd_member_urls() {
        let read = |text| etcd_urls(text).map(|urls| urls.iter().map(Url::to_string).collect());
        let urls = |urls: &[&str]| Ok(urls.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>());
        assert_eq!(read("http://127.0.0.1:4001"), urls(&["http://127.0.0.1:4001/"]));
        assert_eq!(read("http://[::1]:2379/"), urls(&["http://[::1]:2379/"]));
        let two = urls(&["https://a:1/", "https://b:2/"]);
        assert_eq!(read("https://a:1, https://b:2/"), two);
        for invalid in [
            "",
            "etcd",
            "etcd:2379",
            "127.0.0.1:4001",
            "http://",
            "http://etcd:70000/",
            "ftp://etcd/",
            "http://etcd/v2/keys",
            "http://etcd/?a=b",
            "http://a:1,b",
            "http://a:1,",
            "http://a:1,http://a:1/",
            "http://a:1,https://b:2",
            "http://root:secret@etcd:2379/",
        ] {
            assert!(etcd_urls(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn parses_docker_urls() {
        use EngineScheme::{Http, Https, Tcp};
        let net =
            |scheme, host: &str, port| Ok(EngineUrl::Net { scheme, host: host.to_owned(), port });
        assert_eq!(
            docker_url("unix:///var/run/docker.sock"),
            Ok(EngineUrl::Unix("/var/run/docker.sock".into()))
        );
        assert_eq!(docker_url("tcp://127.0.0.1:2375"), net(Tcp, "127.0.0.1", Some(2375)));
        assert_eq!(docker_url("http://127.0.0.1:2375/"), net(Http, "127.0.0.1", Some(2375)));
        assert_eq!(docker_url("http://engine:80/"), net(Http, "engine", Some(80)));
        assert_eq!(docker_url("https://engine:443"), net(Https, "engine", Some(443)));
        assert_eq!(docker_url("https://engine"), net(Https, "engine", None));
        assert_eq!(docker_url("tcp://engine"), net(Tcp, "engine", None));
        assert_eq!(docker_url("http://[::1]/"), net(Http, "[::1]", None));
        assert_eq!(docker_url("tcp://[::1]:99"), net(Tcp, "[::1]", Some(99)));
        for invalid in [
            "",
            "/var/run/docker.sock",
            "unix://",
            "unix:///",
            "unix://docker.sock",
            "ssh://me@engine",
            "tcp://",
            "tcp://engine:70000",
            "tcp://engine:2375/v1.41",
            "tcp://user@engine:2375",
        ] {
            assert!(docker_url(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn parses_api_versions() {
        assert_eq!(docker_version("auto"), Ok(DockerVersion::Auto));
        let exactly = Ok(DockerVersion::Exactly { major: 1, minor: 41 });
        assert_eq!(docker_version("v1.41"), exactly);
        assert_eq!(docker_version("1.41"), exactly);
        for invalid in ["", "1", "v1", "1.", ".41", "1.41.2", "+1.41", "1.-4", "latest", "1.99999"]
        {
            assert!(docker_version(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn parses_hosts() {
        assert_eq!(host("10.1.2.3"), Ok(Host::Address([10, 1, 2, 3].into())));
        assert!(matches!(host("::1"), Ok(Host::Address(_))));
        assert!(matches!(host("www.example.org"), Ok(Host::Name(_))));
        for invalid in ["", "0.0.0.0", "::", "224.0.0.1", "10.0.0.300", "10.0.0", "77"] {
            assert!(host(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn parses_host6() {
        assert_eq!(host6("auto"), Ok(Host6::Auto));
        assert_eq!(host6("2001:db8::6"), Ok(Host6::Address("2001:db8::6".parse().unwrap())));
        assert!(host6("::1").is_ok());
        for invalid in
            ["", "Auto", "10.0.0.1", "::ffff:10.0.0.1", "::", "ff02::1", "fe80::1", "[::1]", "www"]
        {
            assert!(host6(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn validates_prefixes_interfaces_and_methods() {
        for (text, kept) in [("skydns", "skydns"), ("CoreDNS", "CoreDNS"), ("Sky.", "Sky")] {
            assert_eq!(prefix(text), Ok(kept.to_owned()));
        }
        assert!(prefix("").is_err() && prefix("a.b").is_err() && prefix("a/b").is_err());
        assert!(interface("eth0").is_ok() && interface("br-0123456789ab").is_ok());
        for invalid in ["", "eth 0", "a/b", "0123456789abcdef"] {
            assert!(interface(invalid).is_err(), "{invalid}");
        }
        for name in ["env", "label", "registrator", "compose"] {
            assert_eq!(method(name).unwrap().as_str(), name);
        }
        assert_eq!(method("nonsense"), Err(ValueError::without_detail()));
        let near = "\"labels\" is not allowed; the nearest value is label";
        assert_eq!(method("labels"), Err(ValueError::with_detail(near)));
    }
}
