//! What of newly read settings can be applied while the daemon runs.

use super::admin::Admin;
use super::dns::Dns;
use super::effective::EffectiveKey;
use super::validate::{Discovery, Docker, Etcd, Log, Settings, Skydns};
use super::values::StoreKind;

const CREDENTIALS: &str = "etcd.username, etcd.password, etcd.passwordFile";
const TOKEN: &str = "admin.token, admin.tokenFile";
const ETCD_FILES: &str = "etcd.ca, etcd.cert, etcd.key";

/// How far the daemon has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Docker or etcd has not answered yet: nothing is published.
    Waiting,
    /// Records are kept.
    Running,
}

/// The keys in which newly read settings differ from those in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that are applied.
    pub applied: Vec<&'static str>,
    /// Those that take a restart.
    pub kept: Vec<&'static str>,
}

impl Changes {
    /// Whether nothing differs.
    pub fn are_none(&self) -> bool {
        self.applied.is_empty() && self.kept.is_empty()
    }

    /// Whether what is applied concerns records at all, and not the log or the end only.
    pub fn concern_records(&self) -> bool {
        const NONE_OF_THEIRS: [&str; 9] = [
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
        self.applied.iter().any(|key| !NONE_OF_THEIRS.contains(key))
    }

    /// Whether etcd is reached in another way than before, or asked for something else
    /// when it first answers.
    pub fn concern_etcd(&self) -> bool {
        const ASKED: [&str; 6] =
            ["etcd.url", "etcd.api", CREDENTIALS, ETCD_FILES, "skydns.domain", "skydns.prefix"];
        self.applied.iter().any(|key| ASKED.contains(key))
    }

    /// Every key as it holds once these changes are applied, for the operator's eyes: those
    /// that take a restart are as before.
    pub fn in_force(&self, old: &[EffectiveKey], new: Vec<EffectiveKey>) -> Vec<EffectiveKey> {
        let is_kept =
            |key: &str| self.kept.iter().flat_map(|keys| keys.split(", ")).any(|kept| kept == key);
        let in_force = |new: EffectiveKey| match old.iter().find(|old| old.key == new.key) {
            Some(old) if is_kept(new.key) => old.clone(),
            _ => new,
        };
        new.into_iter().map(in_force).collect()
    }

    fn take<T: PartialEq>(&mut self, key: &'static str, old: &T, new: T) -> T {
        if *old != new {
            self.applied.push(key);
        }
        new
    }

    fn keep<T: PartialEq + Clone>(&mut self, key: &'static str, old: &T, new: T) -> T {
        if *old != new {
            self.kept.push(key);
        }
        old.clone()
    }

    /// What DNS is answered by: its server has it from the start on. Where another server
    /// does, nothing is in the way.
    fn take_unless_answered<T: PartialEq + Clone>(
        &mut self,
        key: &'static str,
        store: StoreKind,
        old: &T,
        new: T,
    ) -> T {
        match store {
            StoreKind::Etcd => self.take(key, old, new),
            StoreKind::Standalone => self.keep(key, old, new),
        }
    }

    fn take_while_waiting<T: PartialEq + Clone>(
        &mut self,
        stage: Stage,
        key: &'static str,
        old: &T,
        new: T,
    ) -> T {
        match stage {
            Stage::Waiting => self.take(key, old, new),
            Stage::Running => self.keep(key, old, new),
        }
    }
}

/// What is in force once `new` is read where `old` was: all that can be applied is as in
/// `new`, the rest stays as in `old`.
pub fn apply(old: &Settings, new: Settings, stage: Stage) -> (Settings, Changes) {
    let mut changes = Changes::default();
    // Taken apart in full, so that no key is forgotten here.
    let Settings { store, etcd, skydns, docker, discovery, dns, admin, log } = new;
    let store = changes.keep("store", &old.store, store);
    let settings = Settings {
        store,
        etcd: etcd_applied(&old.etcd, etcd, &mut changes),
        skydns: skydns_applied(&old.skydns, skydns, store, stage, &mut changes),
        docker: docker_applied(&old.docker, docker, stage, &mut changes),
        discovery: discovery_applied(&old.discovery, discovery, &mut changes),
        dns: dns_applied(&old.dns, dns, store, &mut changes),
        admin: Admin {
            listen: changes.take("admin.listen", &old.admin.listen, admin.listen),
            token: changes.take(TOKEN, &old.admin.token, admin.token),
            allow_remote: changes.take(
                "admin.allowRemote",
                &old.admin.allow_remote,
                admin.allow_remote,
            ),
        },
        log: Log {
            level: changes.take("logLevel", &old.log.level, log.level),
            format: changes.take("logFormat", &old.log.format, log.format),
        },
    };
    (settings, changes)
}

fn etcd_applied(old: &Etcd, new: Etcd, changes: &mut Changes) -> Etcd {
    let Etcd { urls, api, tls, credentials, ttl, on_exit } = new;
    Etcd {
        urls: changes.take("etcd.url", &old.urls, urls),
        api: changes.take("etcd.api", &old.api, api),
        tls: changes.take(ETCD_FILES, &old.tls, tls),
        credentials: changes.take(CREDENTIALS, &old.credentials, credentials),
        ttl: changes.take("etcd.ttl", &old.ttl, ttl),
        on_exit: changes.take("etcd.onExit", &old.on_exit, on_exit),
    }
}

fn skydns_applied(
    old: &Skydns,
    new: Skydns,
    store: StoreKind,
    stage: Stage,
    changes: &mut Changes,
) -> Skydns {
    let Skydns { domain, domain_is_set, ttl, prefix, layout, hostname } = new;
    let old_domain = (old.domain.clone(), old.domain_is_set);
    let domain = (domain, domain_is_set);
    let (domain, domain_is_set) =
        changes.take_unless_answered("skydns.domain", store, &old_domain, domain);
    Skydns {
        domain,
        domain_is_set,
        ttl: changes.take("skydns.ttl", &old.ttl, ttl),
        prefix: changes.take_unless_answered("skydns.prefix", store, &old.prefix, prefix),
        layout: changes.keep("skydns.layout", &old.layout, layout),
        hostname: changes.take_while_waiting(stage, "skydns.hostname", &old.hostname, hostname),
    }
}

fn dns_applied(old: &Dns, new: Dns, store: StoreKind, changes: &mut Changes) -> Dns {
    let Dns { listen, forward, rate_limit } = new;
    Dns {
        listen: changes.take_unless_answered("dns.listen", store, &old.listen, listen),
        forward: changes.take_unless_answered("dns.forward", store, &old.forward, forward),
        rate_limit: changes.take_unless_answered(
            "dns.rateLimit",
            store,
            &old.rate_limit,
            rate_limit,
        ),
    }
}

fn docker_applied(old: &Docker, new: Docker, stage: Stage, changes: &mut Changes) -> Docker {
    let Docker { url, tls, version, poll, poll_container, events } = new;
    const FILES: &str = "docker.ca, docker.cert, docker.key";
    Docker {
        url: changes.take_while_waiting(stage, "docker.url", &old.url, url),
        // They come and go with the URL's scheme.
        tls: changes.take_while_waiting(stage, FILES, &old.tls, tls),
        version: changes.take("docker.version", &old.version, version),
        poll: changes.take("docker.poll", &old.poll, poll),
        poll_container: changes.take("docker.pollContainer", &old.poll_container, poll_container),
        events: changes.take("docker.events", &old.events, events),
    }
}

/// The published address is found once, at the start (SPEC 2).
fn discovery_applied(old: &Discovery, new: Discovery, changes: &mut Changes) -> Discovery {
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
        host: changes.keep("discovery.host", &old.host, host),
        interface: changes.keep("discovery.interface", &old.interface, interface),
        address: changes.keep("discovery.address", &old.address, address),
        host6: changes.keep("discovery.host6", &old.host6, host6),
        metadata: changes.keep("discovery.metadata", &old.metadata, metadata),
        methods: changes.take("discovery.methods", &old.methods, methods),
        compose_project: changes.take(
            "discovery.composeProject",
            &old.compose_project,
            compose_project,
        ),
        health: changes.take("discovery.health", &old.health, health),
        drain: changes.take("discovery.drain, discovery.drainMax", &old.drain, drain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Environment, Sources, load};

    /// The settings of a file with this text.
    fn settings(text: &str) -> Settings {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("highhock-change-{}-{number}.json", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        let loaded = load(&Sources::new(Some(path.clone()), Vec::new(), Environment::default()));
        std::fs::remove_file(path).unwrap();
        loaded.unwrap().settings
    }

    #[test]
    fn where_nothing_differs_there_is_nothing_to_do() {
        let old = settings("{}");
        let (now, changes) = apply(&old, settings("{}"), Stage::Running);
        assert_eq!(now, old);
        assert!(changes.are_none() && !changes.concern_records());
    }

    #[test]
    fn each_key_is_applied_or_takes_a_restart() {
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
            let (now, changes) = apply(&old, new.clone(), Stage::Running);
            let (in_force, keys) =
                if applied { (&new, &changes.applied) } else { (&old, &changes.kept) };
            assert_eq!(now, *in_force, "{text}");
            assert_eq!(keys, &[key], "{text}");
            assert_eq!(changes.applied.len() + changes.kept.len(), 1, "{text}: {changes:?}");
        }
    }

    #[test]
    fn what_dns_is_answered_by_takes_a_restart_where_this_process_answers() {
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
                let (now, changes) = apply(&old, alone(rest), stage);
                assert_eq!((now, changes.kept, changes.applied), (old.clone(), vec![key], vec![]));
            }
        }
        let (now, changes) = apply(&old, settings("{}"), Stage::Running);
        assert_eq!((now, changes.kept), (old, vec!["store"]));
    }

    #[test]
    fn a_ttl_in_etcd_is_the_ttl_in_the_record_too() {
        let (now, changes) =
            apply(&settings("{}"), settings(r#"{"etcd": {"ttl": 90}}"#), Stage::Running);
        assert_eq!(changes.applied, ["etcd.ttl", "skydns.ttl"]);
        assert_eq!(now.skydns.ttl.get(), 90);
    }

    #[test]
    fn what_can_be_applied_is_though_something_else_takes_a_restart() {
        let text = r#"{"docker": {"url": "tcp://10.0.0.1:2375", "poll": 5}, "logLevel": "INFO"}"#;
        let (now, changes) = apply(&settings("{}"), settings(text), Stage::Running);
        assert_eq!(changes.applied, ["docker.poll", "logLevel"]);
        assert_eq!(changes.kept, ["docker.url"]);
        assert_eq!(now.docker.poll.as_secs(), 5);
        assert_eq!(now.docker.url, settings("{}").docker.url);
    }

    #[test]
    fn before_anything_is_published_another_engine_can_be_named() {
        let new = settings(r#"{"docker": {"url": "tcp://10.0.0.1:2375"}}"#);
        let (now, changes) = apply(&settings("{}"), new.clone(), Stage::Waiting);
        assert_eq!((now, changes.applied), (new, vec!["docker.url"]));
    }

    #[test]
    fn the_log_and_the_end_concern_no_record_and_etcd_not_all_do() {
        for (text, records, etcd) in [
            (r#"{"logLevel": "DEBUG", "logFormat": "json"}"#, false, false),
            (r#"{"etcd": {"onExit": "remove"}}"#, false, false),
            (r#"{"docker": {"poll": 5}}"#, true, false),
            (r#"{"etcd": {"ttl": 30}}"#, true, false),
            (r#"{"etcd": {"url": "http://10.0.0.1:2379"}}"#, true, true),
            (r#"{"skydns": {"domain": "other.local"}}"#, true, true),
        ] {
            let changes = apply(&settings("{}"), settings(text), Stage::Running).1;
            assert_eq!(changes.concern_records(), records, "{text}");
            assert_eq!(changes.concern_etcd(), etcd, "{text}");
        }
    }
}
