//! [`RecordSet`]: random records of every kind, generated from a seed.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// The domain of all records, which is the daemon's default.
pub const DOMAIN: &str = "skydns.local";

/// The first part of the keys.
pub const PREFIX: &str = "skydns";

/// Few labels, so that names collide. A hyphen sorts before the slash of a key and a letter
/// after it, which distinguishes the order of keys from the order of labels.
const LABELS: [&str; 9] = ["a", "a-b", "ab", "web", "db", "api", "x1", "_tcp", "1"];

const ADDRESSES: [&str; 5] = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.77", "127.0.0.1"];

const ADDRESSES6: [&str; 4] = ["fd00::1", "fd00::2", "2001:db8::a:b", "::ffff:10.0.0.9"];

const NAMES_ELSEWHERE: [&str; 3] = ["www.example.com", "example.com", "Host.Example.org"];

/// A value that is not a record.
pub const INVALID_VALUE: &str = r#"{"host":"#;

/// The content of the store, and the lease of its records.
pub struct RecordSet {
    /// Values by key, without a leading slash.
    pub records: BTreeMap<String, String>,
    /// The key with an invalid value.
    pub invalid_key: Option<String>,
    /// The remaining time of the lease in seconds. `None` for records without a lease.
    pub lease: Option<u64>,
}

impl RecordSet {
    /// The first record set of every run. It contains a rare case: two aliases that lead to the
    /// same name.
    pub fn fixed() -> Self {
        let mut records = Records::new();
        let mut put = |path: &str, value: Value| records.insert(key(path), value.to_string());
        let host = format!("met.{DOMAIN}");
        put("twice/a", json!({ "host": host, "port": 80, "ttl": 60 }));
        put("twice/b", json!({ "host": host, "port": 80, "ttl": 30 }));
        put("met", json!({ "host": "10.0.0.1", "port": 80, "ttl": 60 }));
        Self { records, invalid_key: None, lease: None }
    }

    pub fn new(rng: &mut Rng) -> Self {
        let mut generator =
            RecordGenerator { rng, names: Vec::new(), groups: false, alias_share: 0.0 };
        generator.groups = generator.chance(0.4);
        generator.alias_share = [0.0, 0.15, 0.5][generator.rng.usize(..3)];
        let mut records = generator.plain_records();
        if generator.chance(0.4) {
            generator.add_chain(&mut records);
        }
        if generator.chance(0.5) {
            generator.add_replicas(&mut records);
        }
        generator.add_special(&mut records);
        // With many aliases, each alias leads to all of them again. HighHock does not follow
        // that many.
        if generator.alias_share == 0.0 && generator.chance(0.3) {
            records.insert(key("web/home"), json!({ "host": DOMAIN, "port": 80 }).to_string());
        }
        // Only if no alias leads to the domain itself, because CoreDNS would drop such an alias
        // silently.
        let leads_to_domain = records.contains_key(&key("web/home"));
        let invalid_key = (!leads_to_domain && generator.chance(0.15)).then(|| key("spoilt/one"));
        let lease = generator.chance(0.3).then(|| [20, 45, 3600][generator.rng.usize(..3)]);
        Self { records, invalid_key, lease }
    }

    /// Returns the names of the keys, without the domain.
    pub fn names(&self) -> Vec<Vec<String>> {
        let root = root();
        let below =
            |key: &String| key.strip_prefix(&root).unwrap().trim_start_matches('/').to_owned();
        let name = |path: String| path.rsplit('/').map(str::to_owned).collect();
        self.records.keys().map(below).map(name).collect()
    }
}

fn root() -> String {
    let labels: Vec<_> = DOMAIN.rsplit('.').collect();
    format!("{PREFIX}/{}", labels.join("/"))
}

struct RecordGenerator<'a> {
    rng: &'a mut Rng,
    /// The paths below the domain that have a record.
    names: Vec<String>,
    groups: bool,
    /// The share of records with a host name, from 0 to 1.
    alias_share: f64,
}

type Records = BTreeMap<String, String>;

impl RecordGenerator<'_> {
    fn chance(&mut self, probability: f64) -> bool {
        self.rng.f64() < probability
    }

    fn choose<T: Copy>(&mut self, choice: &[T]) -> T {
        choice[self.rng.usize(..choice.len())]
    }

    fn plain_records(&mut self) -> Records {
        let count = self.rng.usize(1..=24);
        for _ in 0..count {
            let depth = self.choose(&[1, 1, 1, 2, 2, 3, 4]);
            let labels: Vec<_> = (0..depth).map(|_| self.choose(&LABELS)).collect();
            self.names.push(labels.join("/"));
        }
        let names = self.names.clone();
        names.iter().map(|name| (key(name), self.value())).collect()
    }

    /// Adds a chain or a ring of aliases, with or without an address at its end.
    fn add_chain(&mut self, records: &mut Records) {
        let length = self.choose(&[2, 3, 10, 11, 12, 13]);
        let host = |at: usize| format!("c{at}.chain.{DOMAIN}");
        let put = |records: &mut Records, at: usize, host: String, ttl: u32| {
            let value = json!({ "host": host, "port": 80, "ttl": ttl });
            records.insert(key(&format!("chain/c{at}")), value.to_string());
        };
        for at in 0..length {
            put(records, at, host(at + 1), 60 + at as u32);
        }
        match self.rng.u8(..3) {
            0 => put(records, length, host(0), 7),
            1 => put(records, length, "10.0.0.77".into(), 7),
            _ => {}
        }
        self.names.push("chain/c0".into());
    }

    /// Adds so many replicas that a response may be truncated.
    fn add_replicas(&mut self, records: &mut Records) {
        let count = self.choose(&[3, 5, 6, 12, 30, 60]);
        let name = self.choose(&["many", "web/many"]);
        let same_port = self.chance(0.5);
        for at in 0..count {
            let port = if same_port { 8080 } else { 30000 + at };
            let host = format!("10.1.{}.{}", at % 2, at);
            let value = json!({ "host": host, "port": port, "ttl": 60 });
            records.insert(key(&format!("{name}/host-{at:012x}-80")), value.to_string());
        }
        self.names.push(name.into());
    }

    /// Adds the records that CoreDNS looks up by itself.
    fn add_special(&mut self, records: &mut Records) {
        for special in ["dns/apex", "dns/ns"] {
            let suffixes: &[&str] = match self.rng.u8(..4) {
                0 => &[""],
                1 => &["/one", "/two"],
                _ => &[],
            };
            for suffix in suffixes {
                let host = if self.chance(0.8) { self.address() } else { self.host() };
                let value = json!({ "host": host, "ttl": 60 });
                records.insert(key(&format!("{special}{suffix}")), value.to_string());
            }
        }
    }

    fn value(&mut self) -> String {
        let mut value = Map::new();
        let alias_share = self.alias_share;
        let host = if self.chance(alias_share) { self.host() } else { self.address() };
        value.insert("host".into(), Value::from(host));
        let port = self.choose(&[80, 80, 8080, 65535, 1]);
        value.insert("port".into(), Value::from(port));
        if self.chance(0.9) {
            let ttl = self.choose(&[60, 60, 60, 0, 5, 300, 86400]);
            value.insert("ttl".into(), Value::from(ttl));
        }
        if self.chance(0.3) {
            let priority = self.choose(&[0, 1, 10, 20, 65535]);
            value.insert("priority".into(), Value::from(priority));
        }
        if self.chance(0.3) {
            let weight = self.choose(&[0, 1, 3, 7, 49, 100, 65535]);
            value.insert("weight".into(), Value::from(weight));
        }
        if self.chance(0.2) {
            let text = self.text();
            value.insert("text".into(), Value::from(text));
        }
        // HighHock does not write these fields, but the DNS server supports them.
        if self.chance(0.05) {
            value.insert("mail".into(), Value::from(true));
        }
        if self.chance(0.05) {
            let strip = self.choose(&[1, 2, 9]);
            value.insert("targetstrip".into(), Value::from(strip));
        }
        if self.chance(0.03) {
            value.remove("host");
        }
        if self.groups && self.chance(0.6) {
            let group = self.choose(&["g1", "g1", "g2"]);
            value.insert("group".into(), Value::from(group));
        }
        Value::Object(value).to_string()
    }

    fn address(&mut self) -> String {
        let is_ipv6 = self.chance(0.25);
        if is_ipv6 { self.choose(&ADDRESSES6) } else { self.choose(&ADDRESSES) }.to_owned()
    }

    /// Returns a host name, in the domain or outside, existing or missing.
    fn host(&mut self) -> String {
        if self.names.is_empty() || self.chance(0.25) {
            return self.choose(&NAMES_ELSEWHERE).to_owned();
        }
        let at = self.rng.usize(..self.names.len());
        let path = if self.chance(0.15) { "nobody".to_owned() } else { self.names[at].clone() };
        let labels: Vec<_> = path.rsplit('/').collect();
        let name = format!("{}.{DOMAIN}", labels.join("."));
        match self.rng.u8(..10) {
            0 => name.to_uppercase(),
            1 => name + ".",
            _ => name,
        }
    }

    fn text(&mut self) -> String {
        match self.rng.u8(..6) {
            0 => "x".repeat(254),
            1 => "y".repeat(255),
            2 => "z".repeat(700),
            3 | 4 => "a \"quoted\" text; with \\ and ü".to_owned(),
            _ => "some text".to_owned(),
        }
    }
}

fn key(path: &str) -> String {
    format!("{}/{path}", root())
}
