//! The settings: validated, complete but for what only the engine, etcd or the
//! machine's interfaces can tell.

use std::num::NonZeroU32;
use std::time::Duration;

use config::ConfigError;
use highhock_actors::publish::{Layout, Method};
use highhock_actors::record::Host;
use highhock_actors::service::DomainName;
use url::Url;

use super::Sources;
use super::fault::{Fault, Origin, Problem, Warning};
use super::inputs::Inputs;
use super::keys;
use super::kind::Form;
use super::level::LogLevel;
use super::values::{self, DockerUrl, DockerVersion, LogFormat, OnExit, Rejection};

/// What the operator wants, in whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The store.
    pub etcd: Etcd,
    /// What records look like and where they lie.
    pub skydns: Skydns,
    /// The engine.
    pub docker: Docker,
    /// What is published of its containers.
    pub discovery: Discovery,
    /// What is told of all that.
    pub log: Log,
}

/// The keys `etcd.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etcd {
    /// One member's client URL: `http`, without user, path or query.
    pub url: Url,
    /// How long a key outlives its last refresh: whole seconds, 5 to 86400.
    pub ttl: Duration,
    /// What becomes of the records on a clean stop.
    pub on_exit: OnExit,
}

/// The keys `skydns.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skydns {
    /// The domain that services are put under.
    pub domain: DomainName,
    /// Whether the operator named the domain. Where not, a `domain` in SkyDNS's
    /// own configuration in etcd goes before the default.
    pub domain_is_set: bool,
    /// The `ttl` in a record, in seconds, 1 to 86400; `skydns.exactTtl` is applied.
    pub ttl: NonZeroU32,
    /// First part of every key; one label.
    pub prefix: String,
    /// How keys are laid out.
    pub layout: Layout,
    /// What the operator calls this host, to the letter; [`crate::hostname::instance_label`]
    /// makes it fit for a key. `None`: as the engine calls it, else the machine.
    pub hostname: Option<String>,
}

/// The keys `docker.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Docker {
    /// How the engine is reached.
    pub url: DockerUrl,
    /// The API version to speak.
    pub version: DockerVersion,
    /// The time between two listings: whole seconds, 1 to 3600.
    pub poll: Duration,
    /// The time between two looks of a watcher at its container: whole seconds, 1 to 3600.
    pub poll_container: Duration,
}

/// The keys `discovery.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// What to publish; `None`: to be found out, see [`crate::host`].
    pub host: Option<Host>,
    /// The interface whose address is published where nothing else is known.
    pub interface: String,
    /// Which extractors run, in which order; one at least, none twice.
    pub methods: Vec<Method>,
    /// Whether a container with a health check must be healthy to be published.
    pub health: bool,
}

/// The keys `logLevel` and `logFormat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// How grave a line must be to be written.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

impl Settings {
    /// Makes settings of inputs: what is left to check is what concerns several
    /// keys, and `docker.url`'s default, which others set.
    pub(super) fn validate(
        inputs: &Inputs,
        sources: &Sources,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, Vec<Fault>> {
        let docker_url = docker_url(inputs, sources);
        Ok(Self {
            etcd: Etcd {
                url: parsed(inputs, "etcd.url", values::etcd_url)?,
                ttl: read("etcd.ttl", |path| inputs.duration(path))?,
                on_exit: parsed(inputs, "etcd.onExit", |text| match text {
                    "keep" => Ok(OnExit::Keep),
                    "remove" => Ok(OnExit::Remove),
                    _ => Err(Rejection::Unfit(None)),
                })?,
            },
            skydns: skydns(inputs, warnings)?,
            docker: Docker {
                url: docker_url?,
                version: parsed(inputs, "docker.version", values::docker_version)?,
                poll: read("docker.poll", |path| inputs.duration(path))?,
                poll_container: read("docker.pollContainer", |path| inputs.duration(path))?,
            },
            discovery: Discovery {
                host: parsed_if_set(inputs, "discovery.host", values::host)?,
                interface: parsed(inputs, "discovery.interface", values::interface)?,
                methods: methods(inputs)?,
                health: read("discovery.health", |path| inputs.truth(path))?,
            },
            log: Log {
                level: parsed(inputs, "logLevel", str::parse)?,
                format: parsed(inputs, "logFormat", |text| match text {
                    "terminal" => Ok(LogFormat::Terminal),
                    "json" => Ok(LogFormat::Json),
                    _ => Err(Rejection::Unfit(None)),
                })?,
            },
        })
    }
}

fn skydns(inputs: &Inputs, warnings: &mut Vec<Warning>) -> Result<Skydns, Vec<Fault>> {
    const DEFAULT_DOMAIN: &str = "skydns.local";
    let domain = parsed_if_set(inputs, "skydns.domain", values::domain)?;
    let etcd_ttl = read("etcd.ttl", |path| inputs.seconds(path))?;
    let exact = read("skydns.exactTtl", |path| inputs.truth(path))?;
    let ttl = match inputs.is_set("skydns.ttl") {
        true => read("skydns.ttl", |path| inputs.seconds(path))?,
        false => etcd_ttl,
    };
    let ignored = ttl < etcd_ttl && !exact;
    if ignored {
        let (skydns, etcd) = (ttl.get(), etcd_ttl.get());
        warnings.push(Warning::SkydnsTtlIgnored { skydns, etcd });
    }
    Ok(Skydns {
        domain_is_set: domain.is_some(),
        domain: match domain {
            Some(domain) => domain,
            None => values::domain(DEFAULT_DOMAIN)
                .map_err(|rejection| slip("skydns.domain", &format!("{rejection:?}")))?,
        },
        ttl: if ignored { etcd_ttl } else { ttl },
        prefix: parsed(inputs, "skydns.prefix", values::label)?,
        layout: parsed(inputs, "skydns.layout", |text| match text {
            "flat" => Ok(Layout::Flat),
            "instance" => Ok(Layout::Instance),
            _ => Err(Rejection::Unfit(None)),
        })?,
        hostname: read("skydns.hostname", |path| inputs.text_if_set(path))?,
    })
}

/// `docker.url`, where it is set; else as Docker's own client would find its
/// engine; else as HighHock always did.
fn docker_url(inputs: &Inputs, sources: &Sources) -> Result<DockerUrl, Vec<Fault>> {
    const KEY: &str = "docker.url";
    if let Some(url) = parsed_if_set(inputs, KEY, values::docker_url)? {
        return Ok(url);
    }
    let mut faults = Vec::new();
    let mut fault = |variable: &str, problem| {
        let origin = Origin::Variable(variable.to_owned());
        faults.push(Fault { origin, key: KEY.to_owned(), problem });
    };
    // Docker's client would speak TLS now. To speak plain text instead would be a
    // surprise, of the sort that is found out last.
    if sources.environment.get("DOCKER_TLS_VERIFY").is_some() {
        fault(
            "DOCKER_TLS_VERIFY",
            Problem::NotAvailable {
                found: "TLS to the engine asked for".to_owned(),
                takes: "nothing here; unset it, or set docker.url".to_owned(),
            },
        );
    }
    let url = match sources.environment.get("DOCKER_HOST") {
        Some(host) => {
            match keys::find(KEY).map(|key| key.read(&host.as_str().into(), Form::Text)) {
                Some(Err(problem)) => {
                    fault("DOCKER_HOST", problem);
                    None
                }
                _ => values::docker_url(&host).ok(),
            }
        }
        None if sources.docker_socket.exists() => {
            Some(DockerUrl::Unix(sources.docker_socket.clone()))
        }
        None => Some(DockerUrl::Tcp("127.0.0.1:2375".to_owned())),
    };
    match url {
        Some(url) if faults.is_empty() => Ok(url),
        _ => Err(faults),
    }
}

fn methods(inputs: &Inputs) -> Result<Vec<Method>, Vec<Fault>> {
    const KEY: &str = "discovery.methods";
    let names = read(KEY, |path| inputs.texts(path))?;
    let method = |name: &String| {
        values::method(name).map_err(|rejection| slip(KEY, &format!("{rejection:?}")))
    };
    names.iter().map(method).collect()
}

fn read<T>(path: &str, get: impl FnOnce(&str) -> Result<T, ConfigError>) -> Result<T, Vec<Fault>> {
    get(path).map_err(|error| slip(path, &error))
}

fn parsed<T>(
    inputs: &Inputs,
    path: &str,
    parse: impl FnOnce(&str) -> Result<T, Rejection>,
) -> Result<T, Vec<Fault>> {
    let text = read(path, |path| inputs.text(path))?;
    parse(&text).map_err(|rejection| slip(path, &format!("{rejection:?}")))
}

fn parsed_if_set<T>(
    inputs: &Inputs,
    path: &str,
    parse: impl FnOnce(&str) -> Result<T, Rejection>,
) -> Result<Option<T>, Vec<Fault>> {
    inputs.is_set(path).then(|| parsed(inputs, path, parse)).transpose()
}

/// The fault of a value that its own key let pass: a slip of this program. It is
/// reported like any other, since a panic would help the operator less.
pub(super) fn slip(path: &str, error: &dyn std::fmt::Display) -> Vec<Fault> {
    let problem = Problem::File(format!("can't be made sense of: {error}"));
    vec![Fault { origin: Origin::Default, key: path.to_owned(), problem }]
}
