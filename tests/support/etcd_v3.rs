//! etcd's v3 API through its JSON gateway, by plain blocking requests: what a
//! test writes beside the daemon, and its look at what is there.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::{Value, json};

use super::http_exchange::exchange;

/// One member's v3 API. Its methods panic where etcd is away or refuses; those
/// whose names begin with `try` say so.
#[derive(Clone, Debug)]
pub struct V3Client {
    port: u16,
    timeout: Duration,
}

/// A key as etcd's v3 API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kv {
    /// As it is: HighHock's begin with a slash.
    pub key: String,
    pub value: String,
    /// The lease that it hangs on; 0: none.
    pub lease: i64,
    pub created: u64,
    pub modified: u64,
}

/// What is known of a lease that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Seconds left.
    pub left: i64,
    /// In seconds, as it was asked for.
    pub granted: i64,
    /// What hangs on it, in the keys' order.
    pub keys: Vec<String>,
}

/// What a member says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    pub member: u64,
    /// As this member believes; `None`: it knows none.
    pub leader: Option<u64>,
    pub term: u64,
    /// The newest revision that it has.
    pub revision: u64,
    pub version: String,
}

impl V3Client {
    pub(super) fn new(port: u16) -> Self {
        Self { port, timeout: Duration::from_secs(20) }
    }

    /// The same, with this much time for each request.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What is at the key, by a quorum read.
    pub fn get(&self, key: &str) -> Option<Kv> {
        let answer = self.expect("kv/range", &json!({ "key": encode(key) }));
        kvs(&answer).pop()
    }

    /// All keys that begin with the prefix, in their order, by a quorum read.
    pub fn list(&self, prefix: &str) -> Vec<Kv> {
        kvs(&self.expect("kv/range", &below(prefix)))
    }

    /// The same; `None`: no answer, or no good one.
    pub fn try_list(&self, prefix: &str) -> Option<Vec<Kv>> {
        self.try_range(&below(prefix))
    }

    /// The same as this member has it, without asking the others; `None`: no
    /// answer, or no good one.
    pub fn try_list_locally(&self, prefix: &str) -> Option<Vec<Kv>> {
        let mut range = below(prefix);
        range["serializable"] = json!(true);
        self.try_range(&range)
    }

    fn try_range(&self, range: &Value) -> Option<Vec<Kv>> {
        match self.request("kv/range", range)? {
            (200, answer) => Some(kvs(&answer)),
            _ => None,
        }
    }

    /// Sets a value, whatever was there; without a lease, for ever. Gives the
    /// revision that it was written at.
    pub fn put(&self, key: &str, value: &str, lease: Option<i64>) -> u64 {
        let lease = lease.unwrap_or(0).to_string();
        let put = json!({ "key": encode(key), "value": encode(value), "lease": lease });
        revision(&self.expect("kv/put", &put))
    }

    /// Removes the key; whether it was there.
    pub fn delete(&self, key: &str) -> bool {
        let answer = self.expect("kv/deleterange", &json!({ "key": encode(key) }));
        number(&answer["deleted"]) > 0
    }

    /// Removes all keys that begin with the prefix; how many there were.
    pub fn delete_below(&self, prefix: &str) -> i64 {
        number(&self.expect("kv/deleterange", &below(prefix))["deleted"])
    }

    /// A lease of this many seconds, by this id or, where none is given, one
    /// that etcd chooses.
    pub fn grant(&self, ttl: u64, id: Option<i64>) -> i64 {
        let id = id.unwrap_or(0).to_string();
        number(&self.expect("lease/grant", &json!({ "TTL": ttl.to_string(), "ID": id }))["ID"])
    }

    /// Ends a lease and deletes what hangs on it.
    pub fn revoke(&self, id: i64) {
        self.expect("lease/revoke", &json!({ "ID": id.to_string() }));
    }

    /// The ids of all leases, in their order.
    pub fn leases(&self) -> Vec<i64> {
        let answer = self.expect("lease/leases", &json!({}));
        let leases = answer["leases"].as_array().into_iter().flatten();
        let mut ids: Vec<_> = leases.map(|lease| number(&lease["ID"])).collect();
        ids.sort_unstable();
        ids
    }

    /// The lease, if there is one of this id.
    pub fn lease(&self, id: i64) -> Option<Lease> {
        let answer =
            self.expect("lease/timetolive", &json!({ "ID": id.to_string(), "keys": true }));
        let left = number(&answer["TTL"]);
        let keys = answer["keys"].as_array().into_iter().flatten();
        let mut keys: Vec<_> = keys.map(decode).collect();
        keys.sort_unstable();
        (left >= 0).then(|| Lease { left, granted: number(&answer["grantedTTL"]), keys })
    }

    /// What the member says of itself; `None`: no answer, or no good one.
    pub fn try_status(&self) -> Option<MemberStatus> {
        let (status, answer) = self.request("maintenance/status", &json!({}))?;
        (status == 200).then(|| MemberStatus {
            member: id(&answer["header"]["member_id"]),
            leader: Some(id(&answer["leader"])).filter(|leader| *leader != 0),
            term: id(&answer["raftTerm"]),
            revision: revision(&answer),
            version: answer["version"].as_str().unwrap_or_default().to_owned(),
        })
    }

    /// The newest revision of the whole store.
    pub fn revision(&self) -> u64 {
        revision(&self.expect("kv/range", &json!({ "key": encode("/"), "count_only": true })))
    }

    /// One request, to a path below `/v3/`: status and JSON; `None`: no whole
    /// answer in time.
    pub fn request(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let target = format!("/v3/{path}");
        let headers = "Content-Type: application/json\r\n";
        let (status, body) =
            exchange(self.port, self.timeout, "POST", &target, headers, &body.to_string())?;
        Some((status, serde_json::from_str(&body).unwrap_or(Value::Null)))
    }

    #[track_caller]
    fn expect(&self, path: &str, body: &Value) -> Value {
        let answer = self.request(path, body);
        let (status, answer) = answer.unwrap_or_else(|| panic!("{path} {body}: no answer"));
        assert_eq!(status, 200, "{path} {body}: {answer}");
        answer
    }
}

/// The keys that begin with the prefix: those from it to the first that doesn't.
fn below(prefix: &str) -> Value {
    let mut end = prefix.as_bytes().to_vec();
    let last = end.last_mut().expect("a prefix that is not empty");
    *last = last.checked_add(1).expect("a prefix in ASCII");
    json!({ "key": encode(prefix), "range_end": BASE64.encode(end) })
}

fn kvs(answer: &Value) -> Vec<Kv> {
    let kvs = answer["kvs"].as_array().into_iter().flatten();
    kvs.map(|kv| Kv {
        key: decode(&kv["key"]),
        value: decode(&kv["value"]),
        lease: number(&kv["lease"]),
        created: id(&kv["create_revision"]),
        modified: id(&kv["mod_revision"]),
    })
    .collect()
}

fn encode(text: &str) -> String {
    BASE64.encode(text)
}

/// What is empty is left out by the gateway.
fn decode(json: &Value) -> String {
    let bytes = BASE64.decode(json.as_str().unwrap_or_default()).expect("Base64 from etcd");
    String::from_utf8(bytes).expect("text from etcd")
}

fn revision(answer: &Value) -> u64 {
    id(&answer["header"]["revision"])
}

/// 64-bit integers are strings; a zero is left out.
fn number(json: &Value) -> i64 {
    json.as_str().map_or(0, |text| text.parse().expect("a number from etcd"))
}

fn id(json: &Value) -> u64 {
    json.as_str().map_or(0, |text| text.parse().expect("a number from etcd"))
}
