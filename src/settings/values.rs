//! The values that settings are made of, and how each is read from text.

use std::fmt;
use std::path::PathBuf;

use highhock_actors::publish::Method;
use highhock_actors::record::Host;
use highhock_actors::service::DomainName;
use url::Url;

/// Why a text is no value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It never is. With what is wrong in particular, where that helps.
    Unfit(Option<String>),
    /// A later version takes it.
    NotAvailable,
}

impl Rejection {
    fn because(detail: impl Into<String>) -> Self {
        Self::Unfit(Some(detail.into()))
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
}

impl fmt::Display for DockerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "http://{authority}/"),
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

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: in colours where standard error is a terminal.
    Terminal,
    /// A JSON object a line.
    Json,
}

/// Reads the URL of an etcd member: `http://host:port/`, nothing more.
pub(super) fn etcd_url(text: &str) -> Result<Url, Rejection> {
    if text.contains(',') {
        // Later versions take the members of a cluster; each must be a URL.
        return text
            .split(',')
            .try_for_each(|one| match etcd_url(one.trim()) {
                Err(unfit @ Rejection::Unfit(_)) => Err(unfit),
                _ => Ok(()),
            })
            .and(Err(Rejection::NotAvailable));
    }
    let url = Url::parse(text).map_err(bad_url)?;
    match url.scheme() {
        "http" => {}
        "https" => return Err(Rejection::NotAvailable),
        _ => return Err(Rejection::Unfit(None)),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Rejection::NotAvailable);
    }
    bare(&url).then_some(url).ok_or_else(path_too_many)
}

/// Reads how the engine is reached. `tcp://` and `http://` mean the same; a
/// port that isn't written is 2375, the engine's own.
pub(super) fn docker_url(text: &str) -> Result<DockerUrl, Rejection> {
    if let Some(path) = text.strip_prefix("unix://") {
        return match path.starts_with('/') && path.len() > 1 {
            true => Ok(DockerUrl::Unix(PathBuf::from(path))),
            false => Err(Rejection::because("the socket's path must be absolute")),
        };
    }
    let (scheme, rest) = text.split_once("://").ok_or(Rejection::Unfit(None))?;
    match scheme.to_ascii_lowercase().as_str() {
        "tcp" | "http" => {}
        "https" => return Err(Rejection::NotAvailable),
        _ => return Err(Rejection::Unfit(None)),
    }
    // The URL type drops a port that is its scheme's default, and 80 may well be
    // meant: so the port is completed before it is parsed.
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let completed = match has_port {
        true => format!("http://{rest}"),
        false => format!("http://{authority}:2375{}", &rest[authority.len()..]),
    };
    let url = Url::parse(&completed).map_err(bad_url)?;
    if !bare(&url) {
        return Err(path_too_many());
    }
    let host = url.host_str().ok_or(Rejection::Unfit(None))?;
    Ok(DockerUrl::Tcp(format!("{host}:{}", url.port_or_known_default().unwrap_or(2375))))
}

/// Whether a URL says where, and nothing of what or as whom.
fn bare(url: &Url) -> bool {
    url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

fn bad_url(error: url::ParseError) -> Rejection {
    match error {
        url::ParseError::RelativeUrlWithoutBase => Rejection::because("it starts with no scheme"),
        other => Rejection::because(other.to_string()),
    }
}

fn path_too_many() -> Rejection {
    Rejection::because("only scheme, host and port may be given")
}

/// Reads an API version: `auto`, `v1.41` or `1.41`.
pub(super) fn docker_version(text: &str) -> Result<DockerVersion, Rejection> {
    if text == "auto" {
        return Ok(DockerVersion::Auto);
    }
    let digits = |part: &str| match part.bytes().all(|byte| byte.is_ascii_digit()) {
        true => part.parse().map_err(|_| Rejection::Unfit(None)),
        // `parse` alone would take a sign.
        false => Err(Rejection::Unfit(None)),
    };
    let (major, minor) =
        text.strip_prefix('v').unwrap_or(text).split_once('.').ok_or(Rejection::Unfit(None))?;
    Ok(DockerVersion::Exactly { major: digits(major)?, minor: digits(minor)? })
}

/// Reads a domain.
pub(super) fn domain(text: &str) -> Result<DomainName, Rejection> {
    if text.is_empty() {
        return Err(Rejection::Unfit(None));
    }
    DomainName::parse(text).map_err(Rejection::because)
}

/// Reads a name of one label.
pub(super) fn label(text: &str) -> Result<String, Rejection> {
    let name = domain(text)?;
    match name.labels().count() {
        1 => Ok(name.to_string()),
        _ => Err(Rejection::because("more than one label")),
    }
}

/// Reads a place that records can point to: an address that a client can
/// connect to, or a host name.
pub(crate) fn host(text: &str) -> Result<Host, Rejection> {
    use std::net::IpAddr;
    if let Ok(address) = text.parse::<IpAddr>() {
        return match address.is_unspecified() || address.is_multicast() {
            false => Ok(Host::Address(address)),
            true => Err(Rejection::because("nobody can connect to that address")),
        };
    }
    let name = domain(text)?;
    // No top-level domain is a number: 10.0.0.300 is an address gone wrong.
    let top_is_number =
        name.labels().next_back().is_some_and(|top| top.bytes().all(|b| b.is_ascii_digit()));
    match top_is_number {
        true => Err(Rejection::because("neither an address nor a host name")),
        false => Ok(Host::Name(name)),
    }
}

/// Reads the name of a network interface, as Linux allows it.
pub(super) fn interface(text: &str) -> Result<String, Rejection> {
    let fits = !text.is_empty()
        && text.len() <= 15
        && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/');
    fits.then(|| text.to_owned()).ok_or(Rejection::Unfit(None))
}

/// Reads the name of an extractor.
pub(super) fn method(text: &str) -> Result<Method, Rejection> {
    match text {
        "env" => Ok(Method::Env),
        "label" => Ok(Method::Label),
        "registrator" | "compose" => Err(Rejection::NotAvailable),
        _ => Err(Rejection::Unfit(None)),
    }
}

/// Takes any text but an empty one.
pub(super) fn text(text: &str) -> Result<String, Rejection> {
    (!text.is_empty()).then(|| text.to_owned()).ok_or(Rejection::Unfit(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etcd_url_names_one_member_and_nothing_else() {
        assert_eq!(etcd_url("http://127.0.0.1:4001").unwrap().as_str(), "http://127.0.0.1:4001/");
        assert!(etcd_url("http://[::1]:2379/").is_ok());
        for later in [
            "https://etcd:2379/",
            "http://a:1,http://b:2",
            "http://a:1/, https://b:2/",
            "http://root:secret@etcd:2379/",
        ] {
            assert_eq!(etcd_url(later), Err(Rejection::NotAvailable), "{later}");
        }
        for unfit in [
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
        ] {
            assert!(matches!(etcd_url(unfit), Err(Rejection::Unfit(_))), "{unfit}");
        }
    }

    #[test]
    fn a_docker_url_is_a_socket_or_a_place_on_the_network() {
        let tcp = |authority: &str| Ok(DockerUrl::Tcp(authority.to_owned()));
        assert_eq!(
            docker_url("unix:///var/run/docker.sock"),
            Ok(DockerUrl::Unix("/var/run/docker.sock".into()))
        );
        assert_eq!(docker_url("tcp://127.0.0.1:2375"), tcp("127.0.0.1:2375"));
        assert_eq!(docker_url("http://127.0.0.1:2375/"), tcp("127.0.0.1:2375"));
        assert_eq!(docker_url("http://engine:80/"), tcp("engine:80"));
        assert_eq!(docker_url("tcp://engine"), tcp("engine:2375"));
        assert_eq!(docker_url("http://[::1]/"), tcp("[::1]:2375"));
        assert_eq!(docker_url("tcp://[::1]:99"), tcp("[::1]:99"));
        assert_eq!(docker_url("https://engine:2376"), Err(Rejection::NotAvailable));
        for unfit in [
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
            assert!(matches!(docker_url(unfit), Err(Rejection::Unfit(_))), "{unfit}");
        }
    }

    #[test]
    fn a_docker_url_is_printed_so_that_it_can_be_read_again() {
        for url in ["unix:///run/docker.sock", "tcp://10.0.0.1:2375", "http://[::1]:2375/"] {
            let parsed = docker_url(url).unwrap();
            assert_eq!(docker_url(&parsed.to_string()), Ok(parsed));
        }
    }

    #[test]
    fn an_api_version_may_have_its_v() {
        assert_eq!(docker_version("auto"), Ok(DockerVersion::Auto));
        let exactly = Ok(DockerVersion::Exactly { major: 1, minor: 41 });
        assert_eq!(docker_version("v1.41"), exactly);
        assert_eq!(docker_version("1.41"), exactly);
        for unfit in ["", "1", "v1", "1.", ".41", "1.41.2", "+1.41", "1.-4", "latest", "1.99999"] {
            assert!(docker_version(unfit).is_err(), "{unfit}");
        }
    }

    #[test]
    fn a_host_is_an_address_to_connect_to_or_a_name() {
        assert_eq!(host("10.1.2.3"), Ok(Host::Address([10, 1, 2, 3].into())));
        assert!(matches!(host("::1"), Ok(Host::Address(_))));
        assert!(matches!(host("www.example.org"), Ok(Host::Name(_))));
        for unfit in ["", "0.0.0.0", "::", "224.0.0.1", "10.0.0.300", "10.0.0", "77"] {
            assert!(host(unfit).is_err(), "{unfit}");
        }
    }

    #[test]
    fn the_smaller_names_have_their_limits_too() {
        assert_eq!(label("skydns"), Ok("skydns".to_owned()));
        assert!(label("").is_err() && label("a.b").is_err());
        assert!(interface("eth0").is_ok() && interface("br-0123456789ab").is_ok());
        for unfit in ["", "eth 0", "a/b", "0123456789abcdef"] {
            assert!(interface(unfit).is_err(), "{unfit}");
        }
        assert_eq!(method("compose"), Err(Rejection::NotAvailable));
        assert_eq!(method("labels"), Err(Rejection::Unfit(None)));
    }
}
