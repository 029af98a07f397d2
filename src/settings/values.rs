//! The values that settings are made of, and how each is read from text.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use highhock_actors::model::names::DomainName;
use highhock_actors::model::publish_config::DiscoveryMethod;
use highhock_actors::model::record::Host;
use url::Url;

/// Why a text is no value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueError {
    /// With what is wrong in particular, where that helps.
    Invalid(Option<String>),
}

impl ValueError {
    fn with_detail(detail: impl Into<String>) -> Self {
        Self::Invalid(Some(detail.into()))
    }
}

/// What becomes of the records on a clean stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExit {
    /// They live until their TTL ends, so that a restart costs no lookup.
    Keep,
    /// They are withdrawn.
    Remove,
}

/// A cloud that tells its machines their address.
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

    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Gce => "gce",
            Self::DigitalOcean => "digitalocean",
        }
    }
}

/// Where records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In etcd.
    Etcd,
    /// In this process, which answers DNS from them.
    Standalone,
}

impl StoreKind {
    /// Who has to answer before anything can be published.
    pub fn dependencies(self) -> &'static str {
        match self {
            Self::Etcd => "docker and etcd",
            Self::Standalone => "docker",
        }
    }
}

/// Which of etcd's APIs is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EtcdApi {
    /// To be found out when etcd first answers.
    Auto,
    /// The v2 keys API.
    V2,
    /// The v3 API.
    V3,
}

impl OnExit {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Remove => "remove",
        }
    }
}

/// How the engine is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerUrl {
    /// A Unix socket, by its absolute path.
    Unix(PathBuf),
    /// HTTP over TCP: `host:port`, an IPv6 address in brackets.
    Tcp(String),
    /// The same, with TLS.
    Tls(String),
}

/// `docker.url` as it is written; the files for TLS decide on the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineUrl {
    /// A Unix socket, by its absolute path.
    Unix(PathBuf),
    /// A place on the network.
    Net {
        /// Which of the three.
        scheme: EngineScheme,
        /// A name or an address, an IPv6 one in brackets.
        host: String,
        /// The port, where it is written.
        port: Option<u16>,
    },
}

/// How HTTP is spoken to an engine on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineScheme {
    /// `tcp://`: with TLS where there are files or a variable for it.
    Tcp,
    /// `http://`: without.
    Http,
    /// `https://`: with.
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

/// The version of the engine's API to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DockerVersion {
    /// Asked of the engine and negotiated.
    Auto,
    /// This one, as the operator said.
    Exactly {
        /// The part before the dot.
        major: u16,
        /// The part behind it.
        minor: u16,
    },
}

/// Where the IPv6 address is from that is published beside the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host6 {
    /// The interface's.
    Auto,
    /// This one.
    Address(Ipv6Addr),
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: in colours where standard error is a terminal.
    Terminal,
    /// A JSON object a line.
    Json,
}

/// Reads the URLs of a cluster's members, separated by commas.
pub(super) fn etcd_urls(text: &str) -> Result<Vec<Url>, ValueError> {
    let urls = text.split(',').map(|one| etcd_url(one.trim())).collect::<Result<Vec<_>, _>>()?;
    let is_duplicate = |(place, url): (usize, &Url)| urls[..place].contains(url);
    if urls.iter().enumerate().any(is_duplicate) {
        return Err(ValueError::with_detail("a member stands twice"));
    }
    if urls.windows(2).all(|pair| pair[0].scheme() == pair[1].scheme()) {
        Ok(urls)
    } else {
        Err(ValueError::with_detail("http:// for one member, https:// for another"))
    }
}

/// Reads the URL of an etcd member: `http://host:port/`, nothing more.
fn etcd_url(text: &str) -> Result<Url, ValueError> {
    let url = Url::parse(text).map_err(url_error)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ValueError::Invalid(None));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let advice = "a user in the URL: use etcd.username, and etcd.password or etcd.passwordFile";
        return Err(ValueError::with_detail(advice));
    }
    is_bare(&url).then_some(url).ok_or_else(extra_parts_error)
}

/// Reads how the engine is reached.
pub(super) fn docker_url(text: &str) -> Result<EngineUrl, ValueError> {
    if let Some(path) = text.strip_prefix("unix://") {
        return if path.starts_with('/') && path.len() > 1 {
            Ok(EngineUrl::Unix(PathBuf::from(path)))
        } else {
            Err(ValueError::with_detail("the socket's path must be absolute"))
        };
    }
    let (scheme, rest) = text.split_once("://").ok_or(ValueError::Invalid(None))?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "tcp" => EngineScheme::Tcp,
        "http" => EngineScheme::Http,
        "https" => EngineScheme::Https,
        _ => return Err(ValueError::Invalid(None)),
    };
    // The URL type drops a port that is its scheme's default, and 80 may well be
    // meant: so whether there is one is looked for apart.
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let url = Url::parse(&format!("http://{rest}")).map_err(url_error)?;
    if !is_bare(&url) {
        return Err(extra_parts_error());
    }
    let host = url.host_str().ok_or(ValueError::Invalid(None))?.to_owned();
    let port = url.port_or_known_default().filter(|_| has_port);
    Ok(EngineUrl::Net { scheme, host, port })
}

/// Reads the name of an etcd user. Basic authentication ends it at a colon.
pub(super) fn username(name: &str) -> Result<String, ValueError> {
    if name.contains(':') { Err(ValueError::Invalid(None)) } else { text(name) }
}

/// Whether a URL says where, and nothing of what or as whom.
fn is_bare(url: &Url) -> bool {
    url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

fn url_error(error: url::ParseError) -> ValueError {
    match error {
        url::ParseError::RelativeUrlWithoutBase => {
            ValueError::with_detail("it starts with no scheme")
        }
        other => ValueError::with_detail(other.to_string()),
    }
}

fn extra_parts_error() -> ValueError {
    ValueError::with_detail("only scheme, host and port may be given")
}

/// Reads an API version: `auto`, `v1.41` or `1.41`.
pub(super) fn docker_version(text: &str) -> Result<DockerVersion, ValueError> {
    if text == "auto" {
        return Ok(DockerVersion::Auto);
    }
    let digits = |part: &str| {
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            part.parse().map_err(|_| ValueError::Invalid(None))
        } else {
            Err(ValueError::Invalid(None))
        }
    };
    let (major, minor) =
        text.strip_prefix('v').unwrap_or(text).split_once('.').ok_or(ValueError::Invalid(None))?;
    Ok(DockerVersion::Exactly { major: digits(major)?, minor: digits(minor)? })
}

/// Reads a domain.
pub(super) fn domain(text: &str) -> Result<DomainName, ValueError> {
    if text.is_empty() {
        return Err(ValueError::Invalid(None));
    }
    DomainName::parse(text).map_err(ValueError::with_detail)
}

/// Reads a name of one label.
pub(super) fn label(text: &str) -> Result<String, ValueError> {
    let name = domain(text)?;
    match name.labels().count() {
        1 => Ok(name.to_string()),
        _ => Err(ValueError::with_detail("more than one label")),
    }
}

/// Reads a place that records can point to: an address that a client can
/// connect to, or a host name.
pub(crate) fn host(text: &str) -> Result<Host, ValueError> {
    use std::net::IpAddr;
    if let Ok(address) = text.parse::<IpAddr>() {
        return if !(address.is_unspecified() || address.is_multicast()) {
            Ok(Host::Address(address))
        } else {
            Err(ValueError::with_detail("nobody can connect to that address"))
        };
    }
    let name = domain(text)?;
    // No top-level domain is a number: 10.0.0.300 is an address gone wrong.
    let top_is_number =
        name.labels().next_back().is_some_and(|top| top.bytes().all(|b| b.is_ascii_digit()));
    if top_is_number {
        Err(ValueError::with_detail("neither an address nor a host name"))
    } else {
        Ok(Host::Name(name))
    }
}

/// Reads an IPv6 address that a client can connect to, or `auto`.
pub(super) fn host6(text: &str) -> Result<Host6, ValueError> {
    if text == "auto" {
        return Ok(Host6::Auto);
    }
    let address: Ipv6Addr = text.parse().map_err(|_| ValueError::Invalid(None))?;
    if address.to_ipv4_mapped().is_some() {
        return Err(ValueError::with_detail("an IPv4 address"));
    }
    if !(address.is_unspecified() || address.is_multicast() || address.is_unicast_link_local()) {
        Ok(Host6::Address(address))
    } else {
        Err(ValueError::with_detail("nobody elsewhere can connect to that address"))
    }
}

/// Reads the name of a network interface, as Linux allows it.
pub(super) fn interface(text: &str) -> Result<String, ValueError> {
    let fits = !text.is_empty()
        && text.len() <= 15
        && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/');
    fits.then(|| text.to_owned()).ok_or(ValueError::Invalid(None))
}

/// Reads which clouds' metadata services are asked.
pub(super) fn clouds(text: &str) -> Result<Vec<Cloud>, ValueError> {
    match text {
        "auto" => Ok(Cloud::ALL.to_vec()),
        name => {
            let cloud = Cloud::ALL.into_iter().find(|cloud| cloud.as_str() == name);
            cloud.map(|cloud| vec![cloud]).ok_or(ValueError::Invalid(None))
        }
    }
}

/// Reads the name of an extractor.
pub(super) fn method(text: &str) -> Result<DiscoveryMethod, ValueError> {
    match text {
        "env" => Ok(DiscoveryMethod::Env),
        "label" => Ok(DiscoveryMethod::Label),
        "registrator" => Ok(DiscoveryMethod::Registrator),
        "compose" => Ok(DiscoveryMethod::Compose),
        _ => Err(ValueError::Invalid(None)),
    }
}

/// Takes any text but an empty one.
pub(super) fn text(text: &str) -> Result<String, ValueError> {
    (!text.is_empty()).then(|| text.to_owned()).ok_or(ValueError::Invalid(None))
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
            assert!(matches!(etcd_urls(invalid), Err(ValueError::Invalid(_))), "{invalid}");
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
            assert!(matches!(docker_url(invalid), Err(ValueError::Invalid(_))), "{invalid}");
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
            assert!(matches!(host6(invalid), Err(ValueError::Invalid(_))), "{invalid}");
        }
    }

    #[test]
    fn validates_labels_interfaces_and_methods() {
        assert_eq!(label("skydns"), Ok("skydns".to_owned()));
        assert!(label("").is_err() && label("a.b").is_err());
        assert!(interface("eth0").is_ok() && interface("br-0123456789ab").is_ok());
        for invalid in ["", "eth 0", "a/b", "0123456789abcdef"] {
            assert!(interface(invalid).is_err(), "{invalid}");
        }
        for name in ["env", "label", "registrator", "compose"] {
            assert_eq!(method(name).unwrap().as_str(), name);
        }
        assert_eq!(method("labels"), Err(ValueError::Invalid(None)));
    }
}
