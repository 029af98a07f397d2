//! The settings: validated, complete but for what only the engine, etcd or the
//! machine's interfaces can tell.

use std::num::NonZeroU32;
use std::time::Duration;

use highhock_actors::model::names::DomainName;
use highhock_actors::model::publish_config::{AddressOwner, DiscoveryMethod, KeyLayout};
use highhock_actors::model::record::Host;
use url::Url;

use super::admin::Admin;
use super::dns::Dns;
use super::error::{SettingsError, Warning};
use super::level::LogLevel;
use super::merged::MergedConfig;
use super::sources::Sources;
use super::values::{
    self, Cloud, DockerUrl, DockerVersion, EtcdApi, Host6, LogFormat, OnExit, StoreKind, ValueError,
};
use super::{address, admin, dns, docker_url, tls_and_credentials};
use crate::credentials::secret::Credentials;
use crate::settings::lookup::{internal_error, layout, parsed, parsed_if_set, read};
use crate::tls::TlsFiles;

/// What the operator wants, in whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where records are kept.
    pub store: StoreKind,
    /// How etcd is used, where they are kept in it.
    pub etcd: Etcd,
    /// What records look like and where they lie.
    pub skydns: Skydns,
    /// The engine.
    pub docker: Docker,
    /// What is published of its containers.
    pub discovery: Discovery,
    /// How DNS is answered, where records are kept in this process.
    pub dns: Dns,
    /// Where state is shown, and to whom.
    pub admin: Admin,
    /// What is told of all that.
    pub log: Log,
}

/// The keys `etcd.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etcd {
    /// The members' client URLs: one at least, `http` or `https` for all, without
    /// user, path or query.
    pub urls: Vec<Url>,
    /// The API to speak.
    pub api: EtcdApi,
    /// Whom to trust and who to be where TLS is spoken.
    pub tls: TlsFiles,
    /// Who to be, where etcd asks.
    pub credentials: Option<Credentials>,
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
    pub layout: KeyLayout,
    /// What the operator calls this host, to the letter; [`crate::host::name::instance_label`]
    /// makes it fit for a key. `None`: as the engine calls it, else the machine.
    pub hostname: Option<String>,
}

/// The keys `docker.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Docker {
    /// How the engine is reached.
    pub url: DockerUrl,
    /// Whom to trust and who to be where TLS is spoken.
    pub tls: TlsFiles,
    /// The API version to speak.
    pub version: DockerVersion,
    /// The time between two listings: whole seconds, 1 to 3600.
    pub poll: Duration,
    /// The time between two looks of a watcher at its container: whole seconds, 1 to 3600.
    pub poll_container: Duration,
    /// Whether the engine's events are followed too.
    pub events: bool,
}

/// The keys `discovery.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// What to publish; `None`: to be found out, see [`crate::host`].
    pub host: Option<Host>,
    /// The interface whose address is published where nothing else is known.
    pub interface: String,
    /// Whose address is published; the container's in [`KeyLayout::Instance`] only.
    pub address: AddressOwner,
    /// An IPv6 address to publish beside the first; in [`KeyLayout::Instance`] only.
    pub host6: Option<Host6>,
    /// The clouds whose metadata service is asked where the interface has none either,
    /// in this order; empty: nobody is asked.
    pub metadata: Vec<Cloud>,
    /// Which extractors run, in which order; one at least, none twice.
    pub methods: Vec<DiscoveryMethod>,
    /// Whether Compose services are put under their project.
    pub compose_project: bool,
    /// Whether a container with a health check must be healthy to be published.
    pub health: bool,
    /// How long a container that got its stop signal is left out at the most; `None`: the
    /// signal is no reason to.
    pub drain: Option<Duration>,
}

/// The keys `logLevel` and `logFormat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// How grave a line must be to be written.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

impl Etcd {
    /// The members' URLs as an operator wrote them.
    pub fn members(&self) -> String {
        self.urls.iter().map(Url::as_str).collect::<Vec<_>>().join(",")
    }
}

impl Settings {
    /// Makes settings of inputs: what is left to check is what concerns several
    /// keys, and `docker.url`'s default, which others set. `earlier_errors` are the faults
    /// that were found before.
    pub(super) fn validate(
        config: &MergedConfig,
        sources: &Sources,
        earlier_errors: &[SettingsError],
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, Vec<SettingsError>> {
        let store = store(config)?;
        let credentials = match tls_and_credentials::credentials(config, earlier_errors) {
            // Nobody is told them.
            Err(_) if store == StoreKind::Standalone => Ok(None),
            credentials => credentials,
        };
        let members = members(config, store, earlier_errors);
        let engine = docker_url::engine(config, sources, earlier_errors);
        let addresses = address::addresses(config, earlier_errors);
        let dns = dns::dns(config, store, earlier_errors, warnings);
        let admin = admin::admin(config, earlier_errors);
        let (credentials, (urls, tls), engine, (address, host6), dns, admin) =
            match (credentials, members, engine, addresses, dns, admin) {
                (Ok(credentials), Ok(members), Ok(engine), Ok(addresses), Ok(dns), Ok(admin)) => {
                    (credentials, members, engine, addresses, dns, admin)
                }
                (credentials, members, engine, addresses, dns, admin) => {
                    let errors = [
                        credentials.err(),
                        members.err(),
                        engine.err(),
                        addresses.err(),
                        dns.err(),
                        admin.err(),
                    ];
                    return Err(errors.into_iter().flatten().flatten().collect());
                }
            };
        Ok(Self {
            store,
            etcd: Etcd {
                urls,
                api: parsed(config, "etcd.api", |text| match text {
                    "auto" => Ok(EtcdApi::Auto),
                    "v2" => Ok(EtcdApi::V2),
                    "v3" => Ok(EtcdApi::V3),
                    _ => Err(ValueError::Invalid(None)),
                })?,
                tls,
                credentials,
                ttl: read("etcd.ttl", |path| config.duration(path))?,
                on_exit: parsed(config, "etcd.onExit", |text| match text {
                    "keep" => Ok(OnExit::Keep),
                    "remove" => Ok(OnExit::Remove),
                    _ => Err(ValueError::Invalid(None)),
                })?,
            },
            skydns: skydns(config, warnings)?,
            docker: Docker {
                url: engine.0,
                tls: engine.1,
                version: parsed(config, "docker.version", values::docker_version)?,
                poll: read("docker.poll", |path| config.duration(path))?,
                poll_container: read("docker.pollContainer", |path| config.duration(path))?,
                events: read("docker.events", |path| config.boolean(path))?,
            },
            discovery: Discovery {
                host: parsed_if_set(config, "discovery.host", values::host)?,
                interface: parsed(config, "discovery.interface", values::interface)?,
                address,
                host6,
                metadata: parsed_if_set(config, "discovery.metadata", values::clouds)?
                    .unwrap_or_default(),
                methods: methods(config)?,
                compose_project: read("discovery.composeProject", |path| config.boolean(path))?,
                health: read("discovery.health", |path| config.boolean(path))?,
                drain: drain(config)?,
            },
            dns,
            admin,
            log: Log {
                level: parsed(config, "logLevel", str::parse)?,
                format: parsed(config, "logFormat", |text| match text {
                    "terminal" => Ok(LogFormat::Terminal),
                    "json" => Ok(LogFormat::Json),
                    _ => Err(ValueError::Invalid(None)),
                })?,
            },
        })
    }
}

fn store(config: &MergedConfig) -> Result<StoreKind, Vec<SettingsError>> {
    parsed(config, "store", |text| match text {
        "etcd" => Ok(StoreKind::Etcd),
        "standalone" => Ok(StoreKind::Standalone),
        _ => Err(ValueError::Invalid(None)),
    })
}

/// `etcd.url`, and the files that TLS takes.
fn members(
    config: &MergedConfig,
    store: StoreKind,
    earlier_errors: &[SettingsError],
) -> Result<(Vec<Url>, TlsFiles), Vec<SettingsError>> {
    let urls = parsed(config, "etcd.url", values::etcd_urls)?;
    let files = tls_and_credentials::tls_files(config, "etcd", earlier_errors);
    let file_check = if urls.iter().all(|url| url.scheme() == "http") {
        tls_and_credentials::refuse_files(
            config,
            "etcd",
            "etcd.url begins with http://, not https://",
        )
    } else {
        Ok(())
    };
    match (files, file_check) {
        // Nobody reads them.
        (files, _) if store == StoreKind::Standalone => Ok((urls, files.unwrap_or_default())),
        (Ok(files), Ok(())) => Ok((urls, files)),
        (files, file_check) => Err(super::lookup::join_errors(files.err(), file_check.err())),
    }
}

fn skydns(
    config: &MergedConfig,
    warnings: &mut Vec<Warning>,
) -> Result<Skydns, Vec<SettingsError>> {
    const DEFAULT_DOMAIN: &str = "skydns.local";
    let domain = parsed_if_set(config, "skydns.domain", values::domain)?;
    let etcd_ttl = read("etcd.ttl", |path| config.seconds(path))?;
    let exact = read("skydns.exactTtl", |path| config.boolean(path))?;
    let ttl = if config.is_set("skydns.ttl") {
        read("skydns.ttl", |path| config.seconds(path))?
    } else {
        etcd_ttl
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
                .map_err(|error| internal_error("skydns.domain", &format!("{error:?}")))?,
        },
        ttl: if ignored { etcd_ttl } else { ttl },
        prefix: parsed(config, "skydns.prefix", values::label)?,
        layout: layout(config)?,
        hostname: read("skydns.hostname", |path| config.text_if_set(path))?,
    })
}

fn drain(config: &MergedConfig) -> Result<Option<Duration>, Vec<SettingsError>> {
    let max = read("discovery.drainMax", |path| config.duration(path))?;
    let enabled = read("discovery.drain", |path| config.boolean(path))?;
    Ok(enabled.then_some(max))
}

fn methods(config: &MergedConfig) -> Result<Vec<DiscoveryMethod>, Vec<SettingsError>> {
    const KEY: &str = "discovery.methods";
    let names = read(KEY, |path| config.texts(path))?;
    let method = |name: &String| {
        values::method(name).map_err(|error| internal_error(KEY, &format!("{error:?}")))
    };
    names.iter().map(method).collect()
}
