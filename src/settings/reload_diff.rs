//! The difference between two configurations, and the part that a running daemon can apply.

use super::admin::Admin;
use super::dns::Dns;
use super::effective::EffectiveKey;
use super::sections::{Discovery, Docker, Etcd, Log, Settings, Skydns};
use super::values::StoreKind;

const CREDENTIALS: &str = "etcd.username, etcd.password, etcd.passwordFile";
const TOKEN: &str = "admin.token, admin.tokenFile";
const ETCD_FILES: &str = "etcd.ca, etcd.cert, etcd.key";

/// The stage of the daemon's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Docker or etcd was not reached yet, so nothing is published.
    Waiting,
    /// Records are published.
    Running,
}

/// The keys in which new settings differ from the settings in effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigDiff {
    /// The keys that are applied at once.
    pub applied: Vec<&'static str>,
    /// The keys that need a restart of the daemon.
    pub needs_restart: Vec<&'static str>,
}

impl ConfigDiff {
    /// Returns `true` if no key differs.
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.needs_restart.is_empty()
    }

    /// Returns `true` if an applied key affects records. Keys of the log, the clean stop, the DNS
    /// server and the admin interface do not.
    pub fn affects_records(&self) -> bool {
        const UNRELATED_KEYS: [&str; 9] = [
            "etcd.onExit",
            "dns.listen",
            "dns.forward",
            "dns.rateLimit",
            "admin.listen",
            TOKEN,
            "admin.allowRemote",
            "logLevel",
            "logFormat",
        ];
        self.applied.iter().any(|key| !UNRELATED_KEYS.contains(key))
    }

    /// Returns `true` if an applied key changes the connection to etcd, or the information that is
    /// read from etcd at the start.
    pub fn affects_etcd(&self) -> bool {
        const ETCD_KEYS: [&str; 6] =
            ["etcd.url", "etcd.api", CREDENTIALS, ETCD_FILES, "skydns.domain", "skydns.prefix"];
        self.applied.iter().any(|key| ETCD_KEYS.contains(key))
    }

    /// Returns the effective settings after the applied changes, for display. Keys that need a
    /// restart keep their old value.
    pub fn effective_keys(
        &self,
        old: &[EffectiveKey],
        new: Vec<EffectiveKey>,
    ) -> Vec<EffectiveKey> {
        let is_deferred = |key: &str| {
            self.needs_restart
                .iter()
                .flat_map(|keys| keys.split(", "))
                .any(|deferred| deferred == key)
        };
        let effective_keys = |new: EffectiveKey| match old.iter().find(|old| old.key == new.key) {
            Some(old) if is_deferred(new.key) => old.clone(),
            _ => new,
        };
        new.into_iter().map(effective_keys).collect()
    }

    fn apply<T: PartialEq>(&mut self, key: &'static str, old: &T, new: T) -> T {
        if *old != new {
            self.applied.push(key);
        }
        new
    }

    fn defer<T: PartialEq + Clone>(&mut self, key: &'static str, old: &T, new: T) -> T {
        if *old != new {
            self.needs_restart.push(key);
        }
        old.clone()
    }

    /// Applies a key of the DNS server in etcd mode, in which no DNS server runs. In standalone
    /// mode the key needs a restart, because the server reads it only at its start.
    fn apply_unless_standalone<T: PartialEq + Clone>(
        &mut self,
        key: &'static str,
        store: StoreKind,
        old: &T,
        new: T,
    ) -> T {
        match store {
            StoreKind::Etcd => self.apply(key, old, new),
            StoreKind::Standalone => self.defer(key, old, new),
        }
    }

    fn apply_while_waiting<T: PartialEq + Clone>(
        &mut self,
        stage: Stage,
        key: &'static str,
        old: &T,
        new: T,
    ) -> T {
        match stage {
            Stage::Waiting => self.apply(key, old, new),
            Stage::Running => self.defer(key, old, new),
        }
    }
}

/// Returns the settings in effect after a reload, and the keys that differ.
///
/// Keys that can be applied have their value in `new`; all other keys keep their value in `old`.
pub fn diff_settings(old: &Settings, new: Settings, stage: Stage) -> (Settings, ConfigDiff) {
    let mut diff = ConfigDiff::default();
    // Destructured in full, so that the compiler reports a forgotten key.
    let Settings { store, etcd, skydns, docker, discovery, dns, admin, log } = new;
    let store = diff.defer("store", &old.store, store);
    let settings = Settings {
        store,
        etcd: diff_etcd(&old.etcd, etcd, &mut diff),
        skydns: diff_skydns(&old.skydns, skydns, store, stage, &mut diff),
        docker: diff_docker(&old.docker, docker, stage, &mut diff),
        discovery: diff_discovery(&old.discovery, discovery, &mut diff),
        dns: diff_dns(&old.dns, dns, store, &mut diff),
        admin: Admin {
            listen: diff.apply("admin.listen", &old.admin.listen, admin.listen),
            token: diff.apply(TOKEN, &old.admin.token, admin.token),
            allow_remote: diff.apply(
                "admin.allowRemote",
                &old.admin.allow_remote,
                admin.allow_remote,
            ),
        },
        log: Log {
            level: diff.apply("logLevel", &old.log.level, log.level),
            format: diff.apply("logFormat", &old.log.format, log.format),
        },
    };
    (settings, diff)
}

fn diff_etcd(old: &Etcd, new: Etcd, diff: &mut ConfigDiff) -> Etcd {
    let Etcd { urls, api, tls, credentials, ttl, on_exit } = new;
    Etcd {
        urls: diff.apply("etcd.url", &old.urls, urls),
        api: diff.apply("etcd.api", &old.api, api),
        tls: diff.apply(ETCD_FILES, &old.tls, tls),
        credentials: diff.apply(CREDENTIALS, &old.credentials, credentials),
        ttl: diff.apply("etcd.ttl", &old.ttl, ttl),
        on_exit: diff.apply("etcd.onExit", &old.on_exit, on_exit),
    }
}

fn diff_skydns(
    old: &Skydns,
    new: Skydns,
    store: StoreKind,
    stage: Stage,
    diff: &mut ConfigDiff,
) -> Skydns {
    let Skydns { domain, domain_is_set, ttl, prefix, layout, hostname } = new;
    let old_domain = (old.domain.clone(), old.domain_is_set);
    let domain = (domain, domain_is_set);
    let (domain, domain_is_set) =
        diff.apply_unless_standalone("skydns.domain", store, &old_domain, domain);
    Skydns {
        domain,
        domain_is_set,
        ttl: diff.apply("skydns.ttl", &old.ttl, ttl),
        prefix: diff.apply_unless_standalone("skydns.prefix", store, &old.prefix, prefix),
        layout: diff.defer("skydns.layout", &old.layout, layout),
        hostname: diff.apply_while_waiting(stage, "skydns.hostname", &old.hostname, hostname),
    }
}

fn diff_dns(old: &Dns, new: Dns, store: StoreKind, diff: &mut ConfigDiff) -> Dns {
    let Dns { listen, forward, rate_limit } = new;
    Dns {
        listen: diff.apply_unless_standalone("dns.listen", store, &old.listen, listen),
        forward: diff.apply_unless_standalone("dns.forward", store, &old.forward, forward),
        rate_limit: diff.apply_unless_standalone(
            "dns.rateLimit",
            store,
            &old.rate_limit,
            rate_limit,
        ),
    }
}

fn diff_docker(old: &Docker, new: Docker, stage: Stage, diff: &mut ConfigDiff) -> Docker {
    let Docker { url, tls, version, poll, poll_container, timeout, events } = new;
    const FILES: &str = "docker.ca, docker.cert, docker.key";
    Docker {
        url: diff.apply_while_waiting(stage, "docker.url", &old.url, url),
        // The scheme of the URL decides if files are used.
        tls: diff.apply_while_waiting(stage, FILES, &old.tls, tls),
        version: diff.apply("docker.version", &old.version, version),
        poll: diff.apply("docker.poll", &old.poll, poll),
        poll_container: diff.apply("docker.pollContainer", &old.poll_container, poll_container),
        timeout: diff.apply("docker.timeout", &old.timeout, timeout),
        events: diff.apply("docker.events", &old.events, events),
    }
}

/// The address to publish is determined once, at the start (`config/README.md`, "Published
/// address").
fn diff_discovery(old: &Discovery, new: Discovery, diff: &mut ConfigDiff) -> Discovery {
    let Discovery {
        host,
        interface,
        address,
        host6,
        metadata,
        methods,
        compose_project,
        health,
        drain,
    } = new;
    Discovery {
        host: diff.defer("discovery.host", &old.host, host),
        interface: diff.defer("discovery.interface", &old.interface, interface),
        address: diff.defer("discovery.address", &old.address, address),
        host6: diff.defer("discovery.host6", &old.host6, host6),
        metadata: diff.defer("discovery.metadata", &old.metadata, metadata),
        methods: diff.apply("discovery.methods", &old.methods, methods),
        compose_project: diff.apply(
            "discovery.composeProject",
            &old.compose_project,
            compose_project,
        ),
        health: diff.apply("discovery.health", &old.health, health),
        drain: diff.apply("discovery.drain, discovery.drainMax", &old.drain, drain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Environment, Sources, load};

    /// Returns the settings of a configuration file with this text.
    fn settings(text: &str) -> Settings {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("highhock-reload-diff-{}-{number}.json", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        let loaded =
            load(&Sources::new(Some(path.clone().into()), Vec::new(), Environment::default()));
        std::fs::remove_file(path).unwrap();
        loaded.unwrap().settings
    }

    #[test]
    fn equal_settings_give_an_empty_diff() {
        let old = settings("{}");
        let (now, diff) = diff_settings(&old, settings("{}"), Stage::Running);
        assert_eq!(now, old);
        assert!(diff.is_empty() && !diff.affects_records());
    }

    #[test]
    fn each_key_is_applied_or_needs_a_restart() {
        let old = settings("{}");
        for (text, key, applied) in [
            (r#"{"etcd": {"url": "http://10.0.0.1:2379"}}"#, "etcd.url", true),
            (r#"{"etcd": {"api": "v3"}}"#, "etcd.api", true),
            (r#"{"etcd": {"username": "a", "password": "b"}}"#, CREDENTIALS, true),
            (r#"{"etcd": {"onExit": "remove"}}"#, "etcd.onExit", true),
            (r#"{"skydns": {"domain": "other.local"}}"#, "skydns.domain", true),
            (r#"{"skydns": {"domain": "skydns.local"}}"#, "skydns.domain", true),
            (r#"{"skydns": {"ttl": 120}}"#, "skydns.ttl", true),
            (r#"{"skydns": {"ttl": 5, "exactTtl": true}}"#, "skydns.ttl", true),
            (r#"{"skydns": {"prefix": "dns"}}"#, "skydns.prefix", true),
            (r#"{"skydns": {"layout": "instance"}}"#, "skydns.layout", false),
            (r#"{"skydns": {"hostname": "one"}}"#, "skydns.hostname", false),
            (r#"{"docker": {"url": "tcp://10.0.0.1:2375"}}"#, "docker.url", false),
            (r#"{"docker": {"version": "1.41"}}"#, "docker.version", true),
            (r#"{"docker": {"poll": 5}}"#, "docker.poll", true),
            (r#"{"docker": {"pollContainer": 5}}"#, "docker.pollContainer", true),
            (r#"{"docker": {"timeout": 60}}"#, "docker.timeout", true),
            (r#"{"docker": {"events": false}}"#, "docker.events", true),
            (r#"{"discovery": {"host": "10.0.0.1"}}"#, "discovery.host", false),
            (r#"{"discovery": {"interface": "eth1"}}"#, "discovery.interface", false),
            (r#"{"discovery": {"metadata": "aws"}}"#, "discovery.metadata", false),
            (r#"{"discovery": {"methods": ["label"]}}"#, "discovery.methods", true),
            (r#"{"discovery": {"composeProject": true}}"#, "discovery.composeProject", true),
            (r#"{"discovery": {"health": false}}"#, "discovery.health", true),
            (r#"{"discovery": {"drain": false}}"#, "discovery.drain, discovery.drainMax", true),
            (r#"{"store": "standalone"}"#, "store", false),
            (r#"{"dns": {"rateLimit": 9}}"#, "dns.rateLimit", true),
            (r#"{"logLevel": "DEBUG"}"#, "logLevel", true),
            (r#"{"logFormat": "json"}"#, "logFormat", true),
        ] {
            let new = settings(text);
            let (now, diff) = diff_settings(&old, new.clone(), Stage::Running);
            let (expected, keys) =
                if applied { (&new, &diff.applied) } else { (&old, &diff.needs_restart) };
            assert_eq!(now, *expected, "{text}");
            assert_eq!(keys, &[key], "{text}");
            assert_eq!(diff.applied.len() + diff.needs_restart.len(), 1, "{text}: {diff:?}");
        }
    }

    #[test]
    fn dns_keys_need_a_restart_in_standalone_mode() {
        let alone = |rest: &str| settings(&format!(r#"{{"store": "standalone", {rest}}}"#));
        let old = alone("");
        for stage in [Stage::Waiting, Stage::Running] {
            for (rest, key) in [
                (r#""skydns": {"domain": "other.local"}"#, "skydns.domain"),
                (r#""skydns": {"prefix": "dns"}"#, "skydns.prefix"),
                (r#""dns": {"listen": ["127.0.0.1:53"]}"#, "dns.listen"),
                (r#""dns": {"forward": ["9.9.9.9"]}"#, "dns.forward"),
                (r#""dns": {"rateLimit": 0}"#, "dns.rateLimit"),
            ] {
                let (now, diff) = diff_settings(&old, alone(rest), stage);
                assert_eq!(
                    (now, diff.needs_restart, diff.applied),
                    (old.clone(), vec![key], vec![])
                );
            }
        }
        let (now, diff) = diff_settings(&old, settings("{}"), Stage::Running);
        assert_eq!((now, diff.needs_restart), (old, vec!["store"]));
    }

    #[test]
    fn etcd_ttl_changes_the_record_ttl() {
        let (now, diff) =
            diff_settings(&settings("{}"), settings(r#"{"etcd": {"ttl": 90}}"#), Stage::Running);
        assert_eq!(diff.applied, ["etcd.ttl", "skydns.ttl"]);
        assert_eq!(now.skydns.ttl.get(), 90);
    }

    #[test]
    fn applies_other_keys_beside_one_that_needs_a_restart() {
        let text = r#"{"docker": {"url": "tcp://10.0.0.1:2375", "poll": 5}, "logLevel": "INFO"}"#;
        let (now, diff) = diff_settings(&settings("{}"), settings(text), Stage::Running);
        assert_eq!(diff.applied, ["docker.poll", "logLevel"]);
        assert_eq!(diff.needs_restart, ["docker.url"]);
        assert_eq!(now.docker.poll.as_secs(), 5);
        assert_eq!(now.docker.url, settings("{}").docker.url);
    }

    #[test]
    fn engine_can_change_while_waiting() {
        let new = settings(r#"{"docker": {"url": "tcp://10.0.0.1:2375"}}"#);
        let (now, diff) = diff_settings(&settings("{}"), new.clone(), Stage::Waiting);
        assert_eq!((now, diff.applied), (new, vec!["docker.url"]));
    }

    #[test]
    fn diff_knows_whether_records_and_etcd_are_affected() {
        for (text, records, etcd) in [
            (r#"{"logLevel": "DEBUG", "logFormat": "json"}"#, false, false),
            (r#"{"etcd": {"onExit": "remove"}}"#, false, false),
            (r#"{"docker": {"poll": 5}}"#, true, false),
            (r#"{"etcd": {"ttl": 30}}"#, true, false),
            (r#"{"etcd": {"url": "http://10.0.0.1:2379"}}"#, true, true),
            (r#"{"skydns": {"domain": "other.local"}}"#, true, true),
        ] {
            let diff = diff_settings(&settings("{}"), settings(text), Stage::Running).1;
            assert_eq!(diff.affects_records(), records, "{text}");
            assert_eq!(diff.affects_etcd(), etcd, "{text}");
        }
    }
}
