//! Records of every sort, made from a seed.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// The domain that all of them are in: the daemon's default.
pub const DOMAIN: &str = "skydns.local";

/// The first part of the keys.
pub const PREFIX: &str = "skydns";

/// Few, so that names meet each other. A hyphen comes before the slash of a key and a
/// letter behind it, which tells an order of keys from one of labels.
const LABELS: [&str; 9] = ["a", "a-b", "ab", "web", "db", "api", "x1", "_tcp", "1"];

const ADDRESSES: [&str; 5] = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.77", "127.0.0.1"];

const ADDRESSES6: [&str; 4] = ["fd00::1", "fd00::2", "2001:db8::a:b", "::ffff:10.0.0.9"];

const NAMES_ELSEWHERE: [&str; 3] = ["www.example.com", "example.com", "Host.Example.org"];

/// What is no record.
pub const INVALID_VALUE: &str = r#"{"host":"#;

/// What is in the store, and what hangs on a lease there.
pub struct RecordSet {
    /// A value by its key, without a leading slash.
    pub records: BTreeMap<String, String>,
    /// A key at which there is what is no record.
    pub invalid_key: Option<String>,
    /// Seconds that all of the records have left; `None`: they stay for ever.
    pub lease: Option<u64>,
}

impl RecordSet {
    /// The first of every run, so that what is rare elsewhere is met: two aliases that meet.
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
        let mut maker =
            RecordGenerator { rng, names: Vec::new(), groups: false, names_as_hosts: 0.0 };
        maker.groups = maker.chance(0.4);
        maker.names_as_hosts = [0.0, 0.15, 0.5][maker.rng.usize(..3)];
        let mut records = maker.plain_records();
        if maker.chance(0.4) {
            maker.add_chain(&mut records);
        }
        if maker.chance(0.5) {
            maker.add_replicas(&mut records);
        }
        maker.add_special(&mut records);
        // With many aliases, each leads to all of them again, more than HighHock follows.
        if maker.names_as_hosts == 0.0 && maker.chance(0.3) {
            records.insert(key("web/home"), json!({ "host": DOMAIN, "port": 80 }).to_string());
        }
        // Where nothing leads to the domain itself: CoreDNS would drop the alias in silence.
        let leads_home = records.contains_key(&key("web/home"));
        let invalid_key = (!leads_home && maker.chance(0.15)).then(|| key("spoilt/one"));
        let lease = maker.chance(0.3).then(|| [20, 45, 3600][maker.rng.usize(..3)]);
        Self { records, invalid_key, lease }
    }

    /// The names that the keys stand for, without the domain.
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
    /// Paths below the domain that have a record.
    names: Vec<String>,
    groups: bool,
    /// How many of the records lead to a name, of 1.
    names_as_hosts: f64,
}

type Records = BTreeMap<String, String>;

impl RecordGenerator<'_> {
    fn chance(&mut self, of_one: f64) -> bool {
        self.rng.f64() < of_one
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

    /// Names that lead to names, in a row or in a ring, with an end or without.
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

    /// Enough of them that an answer needs more room than it has.
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

    /// What CoreDNS looks for by itself.
    fn add_special(&mut self, records: &mut Records) {
        for special in ["dns/apex", "dns/ns"] {
            let places: &[&str] = match self.rng.u8(..4) {
                0 => &[""],
                1 => &["/one", "/two"],
                _ => &[],
            };
            for place in places {
                let host = if self.chance(0.8) { self.address() } else { self.host() };
                let value = json!({ "host": host, "ttl": 60 });
                records.insert(key(&format!("{special}{place}")), value.to_string());
            }
        }
    }

    fn value(&mut self) -> String {
        let mut value = Map::new();
        let leads_to_a_name = self.names_as_hosts;
        let host = if self.chance(leads_to_a_name) { self.host() } else { self.address() };
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
        // Not of HighHock's own making, but rules all the same.
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
        let six = self.chance(0.25);
        if six { self.choose(&ADDRESSES6) } else { self.choose(&ADDRESSES) }.to_owned()
    }

    /// A name: in the domain or not, one that is there or not.
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
