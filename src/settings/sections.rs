//! The validated settings, one type for each section of the configuration.
//!
//! Only values that the Docker engine, etcd or the machine's interfaces supply are still open.

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
use super::lookup::{internal_error, layout, ok_or_collect, parsed, parsed_if_set, read};
use super::merged::MergedConfig;
use super::sources::Sources;
use super::values::{
    self, Cloud, DockerUrl, DockerVersion, EtcdApi, Host6, LogFormat, OnExit, StoreKind, ValueError,
};
use super::{address, admin, dns, docker_url, tls_and_credentials};
use crate::credentials::secret::Credentials;
use crate::tls::TlsFiles;

/// All settings of the daemon. Every combination of values is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The store of the records.
    pub store: StoreKind,
    /// The connection to etcd. Unused in standalone mode, except for the TTL.
    pub etcd: Etcd,
    /// The keys and values of the records.
    pub skydns: Skydns,
    /// The connection to the Docker engine.
    pub docker: Docker,
    /// The address to publish, and the containers to publish.
    pub discovery: Discovery,
    /// The DNS server. Unused with etcd.
    pub dns: Dns,
    /// The admin interface.
    pub admin: Admin,
    /// The log.
    pub log: Log,
}

/// The keys `etcd.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etcd {
    /// The client URLs of the members: at least one, all `http` or all `https`, without user,
    /// path or query.
    pub urls: Vec<Url>,
    /// The API to use.
    pub api: EtcdApi,
    /// The certificates for `https`.
    pub tls: TlsFiles,
    /// The user and password for etcd's authentication.
    pub credentials: Option<Credentials>,
    /// The time that a key outlives its last refresh: whole seconds, 5 to 86400.
    pub ttl: Duration,
    /// The handling of records on a clean stop.
    pub on_exit: OnExit,
}

/// The keys `skydns.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skydns {
    /// The domain of all names.
    pub domain: DomainName,
    /// `true` if the operator set the domain. Otherwise a `domain` in SkyDNS's own configuration
    /// in etcd wins over the default.
    pub domain_is_set: bool,
    /// The `ttl` in a record, in seconds, 1 to 86400. `skydns.exactTtl` is already applied.
    pub ttl: NonZeroU32,
    /// The first part of every key: one label.
    pub prefix: String,
    /// The layout of the keys.
    pub layout: KeyLayout,
    /// The name of this host as the operator wrote it. [`crate::host::name::instance_label`]
    /// converts it to a part of a key. `None`: the engine's name of its host, else the machine's
    /// name.
    pub hostname: Option<String>,
}

/// The keys `docker.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Docker {
    /// The engine's address.
    pub url: DockerUrl,
    /// The certificates for TLS; empty without TLS.
    pub tls: TlsFiles,
    /// The API version to use.
    pub version: DockerVersion,
    /// The time between two listings: whole seconds, 1 to 3600.
    pub poll: Duration,
    /// The time between two checks of a watcher's container: whole seconds, 1 to 3600.
    pub poll_container: Duration,
    /// The time limit of a request to the engine: whole seconds, 1 to 600.
    pub timeout: Duration,
    /// `true` if the engine's event stream is followed too.
    pub events: bool,
}

/// The keys `discovery.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The address or name to publish; `None` if it is to be detected, see [`crate::host`].
    pub host: Option<Host>,
    /// The interface whose address is published if no address is set.
    pub interface: String,
    /// The owner of the published address: the host, or, in [`KeyLayout::Instance`] only, the
    /// container.
    pub address: AddressOwner,
    /// An IPv6 address to publish beside the first; in [`KeyLayout::Instance`] only.
    pub host6: Option<Host6>,
    /// The clouds whose metadata service is queried, in order, if the interface has no address
    /// either. If empty, no service is queried.
    pub metadata: Vec<Cloud>,
    /// The discovery methods in order: at least one, each at most once.
    pub methods: Vec<DiscoveryMethod>,
    /// `true` if Compose services are named `<service>.<project>`.
    pub compose_project: bool,
    /// `true` if a container with a health check is published only while it is healthy.
    pub health: bool,
    /// The time after which a container that survived its stop signal is published again.
    /// `None`: a stop signal does not withdraw its records.
    pub drain: Option<Duration>,
}

/// The keys `logLevel` and `logFormat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The lowest level that is logged.
    pub level: LogLevel,
    /// The format of a line.
    pub format: LogFormat,
}

impl Etcd {
    /// Returns the members' URLs, separated by commas.
    pub fn members(&self) -> String {
        self.urls.iter().map(Url::as_str).collect::<Vec<_>>().join(",")
    }
}

impl Settings {
    /// Builds the settings from the merged configuration.
    ///
    /// Each value is already valid for its key. This function checks the combinations of keys,
    /// and derives the defaults that depend on other keys. `earlier_errors` are the errors found
    /// before, of keys that are therefore missing in `config`.
    pub(super) fn from_config(
        config: &MergedConfig,
        sources: &Sources,
        earlier_errors: &[SettingsError],
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, Vec<SettingsError>> {
        let store = store(config)?;
        let credentials = match tls_and_credentials::credentials(config, earlier_errors) {
            // Standalone mode does not use credentials.
            Err(_) if store == StoreKind::Standalone => Ok(None),
            credentials => credentials,
        };
        let mut errors = Vec::new();
        let credentials = ok_or_collect(credentials, &mut errors);
        let members = ok_or_collect(members(config, store, earlier_errors), &mut errors);
        let engine = docker_url::engine(config, sources, earlier_errors);
        let engine = ok_or_collect(engine, &mut errors);
        let addresses = ok_or_collect(address::addresses(config, earlier_errors), &mut errors);
        let dns = ok_or_collect(dns::dns(config, store, earlier_errors, warnings), &mut errors);
        let admin = ok_or_collect(admin::admin(config, earlier_errors), &mut errors);
        let (Some(credentials), Some((urls, etcd_tls)), Some((url, docker_tls))) =
            (credentials, members, engine)
        else {
            return Err(errors);
        };
        let (Some((address, host6)), Some(dns), Some(admin)) = (addresses, dns, admin) else {
            return Err(errors);
        };
        Ok(Self {
            store,
            etcd: Etcd {
                urls,
                api: parsed(config, "etcd.api", |text| match text {
                    "auto" => Ok(EtcdApi::Auto),
                    "v2" => Ok(EtcdApi::V2),
                    "v3" => Ok(EtcdApi::V3),
                    _ => Err(ValueError::without_detail()),
                })?,
                tls: etcd_tls,
                credentials,
                ttl: read("etcd.ttl", |path| config.duration(path))?,
                on_exit: parsed(config, "etcd.onExit", |text| match text {
                    "keep" => Ok(OnExit::Keep),
                    "remove" => Ok(OnExit::Remove),
                    _ => Err(ValueError::without_detail()),
                })?,
            },
            skydns: skydns(config, warnings)?,
            docker: Docker {
                url,
                tls: docker_tls,
                version: parsed(config, "docker.version", values::docker_version)?,
                poll: read("docker.poll", |path| config.duration(path))?,
                poll_container: read("docker.pollContainer", |path| config.duration(path))?,
                timeout: read("docker.timeout", |path| config.duration(path))?,
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
            log: log(config)?,
        })
    }
}

fn store(config: &MergedConfig) -> Result<StoreKind, Vec<SettingsError>> {
    parsed(config, "store", |text| match text {
        "etcd" => Ok(StoreKind::Etcd),
        "standalone" => Ok(StoreKind::Standalone),
        _ => Err(ValueError::without_detail()),
    })
}

/// Reads `etcd.url` and the files for TLS.
fn members(
    config: &MergedConfig,
    store: StoreKind,
    earlier_errors: &[SettingsError],
) -> Result<(Vec<Url>, TlsFiles), Vec<SettingsError>> {
    let urls = parsed(config, "etcd.url", values::etcd_urls)?;
    let mut errors = Vec::new();
    let files = tls_and_credentials::tls_files(config, "etcd", earlier_errors);
    let files = ok_or_collect(files, &mut errors).unwrap_or_default();
    if urls.iter().all(|url| url.scheme() == "http") {
        let reason = "etcd.url begins with http://, not https://";
        ok_or_collect(tls_and_credentials::reject_tls_files(config, "etcd", reason), &mut errors);
    }
    // Standalone mode does not read the files.
    if errors.is_empty() || store == StoreKind::Standalone {
        Ok((urls, files))
    } else {
        Err(errors)
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
        prefix: parsed(config, "skydns.prefix", values::prefix)?,
        layout: layout(config)?,
        hostname: read("skydns.hostname", |path| config.text_if_set(path))?,
    })
}

/// Reads the keys `logLevel` and `logFormat`.
pub(super) fn log(config: &MergedConfig) -> Result<Log, Vec<SettingsError>> {
    Ok(Log {
        level: parsed(config, "logLevel", str::parse)?,
        format: parsed(config, "logFormat", |text| match text {
            "terminal" => Ok(LogFormat::Terminal),
            "json" => Ok(LogFormat::Json),
            _ => Err(ValueError::without_detail()),
        })?,
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
