//! etcd's v3 API through its JSON gateway, by blocking requests: the writes of a test, and its
//! view of the store.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::{Value, json};

use super::eventually;
use super::http_exchange::exchange;

/// The v3 API of one member. Methods panic if etcd is away or rejects the request. Methods that
/// begin with `try` return `None` instead.
#[derive(Clone, Debug)]
pub struct V3Client {
    port: u16,
    timeout: Duration,
    /// The token of a user, if etcd authenticates its clients.
    token: Option<String>,
}

/// A key in etcd's v3 API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kv {
    /// The complete key; HighHock's keys begin with a slash.
    pub key: String,
    pub value: String,
    /// The lease of the key; 0: none.
    pub lease: i64,
    pub created: u64,
    pub modified: u64,
}

/// The state of an existing lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The remaining time in seconds.
    pub left: i64,
    /// The granted time in seconds.
    pub granted: i64,
    /// The attached keys, sorted.
    pub keys: Vec<String>,
}

/// The status of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    pub member: u64,
    /// The leader that this member knows; `None`: no leader.
    pub leader: Option<u64>,
    pub term: u64,
    /// The latest revision of this member.
    pub revision: u64,
    pub version: String,
}

impl V3Client {
    pub(super) fn new(port: u16) -> Self {
        Self { port, timeout: Duration::from_secs(20), token: None }
    }

    /// Sets the time limit of each request.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Logs in as this user.
    pub fn with_login(self, user: &str, password: &str) -> Self {
        let login = json!({ "name": user, "password": password });
        let token = eventually("a token", self.timeout, || {
            let (status, answer) = self.request("auth/authenticate", &login)?;
            (status == 200).then(|| answer["token"].as_str().unwrap_or_default().to_owned())
        });
        Self { token: Some(token), ..self }
    }

    /// Changes users, roles or authentication. A busy etcd may time out after it applied a
    /// change, so the request is repeated.
    pub(super) fn change_auth(&self, call: &str, body: &Value) {
        eventually(call, self.timeout, || {
            let (status, answer) = self.request(&format!("auth/{call}"), body)?;
            let exists = answer["error"].as_str().is_some_and(|it| it.contains("already"));
            assert!(matches!(status, 200 | 503) || exists, "{call}: {answer}");
            (status != 503).then_some(())
        });
    }

    /// The value at the key, by a quorum read.
    pub fn get(&self, key: &str) -> Option<Kv> {
        let answer = self.expect("kv/range", &json!({ "key": encode(key) }));
        kvs(&answer).pop()
    }

    /// All keys with the prefix, sorted, by a quorum read.
    pub fn list(&self, prefix: &str) -> Vec<Kv> {
        kvs(&self.expect("kv/range", &below(prefix)))
    }

    /// Like `list`. Returns `None` without a successful response.
    pub fn try_list(&self, prefix: &str) -> Option<Vec<Kv>> {
        self.try_range(&below(prefix))
    }

    /// Like `list`, but as this member has the keys, without a quorum. Returns `None` without a
    /// successful response.
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

    /// Sets a value unconditionally; without a lease it does not expire. Returns the revision of
    /// the write.
    pub fn put(&self, key: &str, value: &str, lease: Option<i64>) -> u64 {
        let lease = lease.unwrap_or(0).to_string();
        let put = json!({ "key": encode(key), "value": encode(value), "lease": lease });
        revision(&self.expect("kv/put", &put))
    }

    /// Removes the key. Returns whether it existed.
    pub fn delete(&self, key: &str) -> bool {
        let answer = self.expect("kv/deleterange", &json!({ "key": encode(key) }));
        number(&answer["deleted"]) > 0
    }

    /// Removes all keys with the prefix. Returns their number.
    pub fn delete_below(&self, prefix: &str) -> i64 {
        number(&self.expect("kv/deleterange", &below(prefix))["deleted"])
    }

    /// Grants a lease of this many seconds, with this id or an id that etcd chooses.
    pub fn grant(&self, ttl: u64, id: Option<i64>) -> i64 {
        let id = id.unwrap_or(0).to_string();
        number(&self.expect("lease/grant", &json!({ "TTL": ttl.to_string(), "ID": id }))["ID"])
    }

    /// Revokes a lease and thereby deletes its keys.
    pub fn revoke(&self, id: i64) {
        self.expect("lease/revoke", &json!({ "ID": id.to_string() }));
    }

    /// The ids of all leases, sorted.
    pub fn leases(&self) -> Vec<i64> {
        let answer = self.expect("lease/leases", &json!({}));
        let leases = answer["leases"].as_array().into_iter().flatten();
        let mut ids: Vec<_> = leases.map(|lease| number(&lease["ID"])).collect();
        ids.sort_unstable();
        ids
    }

    /// The lease with this id, if it exists.
    pub fn lease(&self, id: i64) -> Option<Lease> {
        let answer =
            self.expect("lease/timetolive", &json!({ "ID": id.to_string(), "keys": true }));
        let left = number(&answer["TTL"]);
        let keys = answer["keys"].as_array().into_iter().flatten();
        let mut keys: Vec<_> = keys.map(decode).collect();
        keys.sort_unstable();
        (left >= 0).then(|| Lease { left, granted: number(&answer["grantedTTL"]), keys })
    }

    /// The status of the member. Returns `None` without a successful response.
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

    /// The latest revision of the store.
    pub fn revision(&self) -> u64 {
        revision(&self.expect("kv/range", &json!({ "key": encode("/"), "count_only": true })))
    }

    /// Sends one request to a path below `/v3/`. Returns status and JSON, or `None` without a
    /// complete response in time.
    pub fn request(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let target = format!("/v3/{path}");
        let token = self.token.iter().map(|token| format!("Authorization: {token}\r\n"));
        let headers = "Content-Type: application/json\r\n".to_owned() + &token.collect::<String>();
        let (status, body) =
            exchange(self.port, self.timeout, "POST", &target, &headers, &body.to_string())?;
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

/// The range of all keys with the prefix.
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

/// The gateway omits empty fields.
fn decode(json: &Value) -> String {
    let bytes = BASE64.decode(json.as_str().unwrap_or_default()).expect("Base64 from etcd");
    String::from_utf8(bytes).expect("text from etcd")
}

fn revision(answer: &Value) -> u64 {
    id(&answer["header"]["revision"])
}

/// 64-bit integers are strings. Zeros are omitted.
fn number(json: &Value) -> i64 {
    json.as_str().map_or(0, |text| text.parse().expect("a number from etcd"))
}

fn id(json: &Value) -> u64 {
    json.as_str().map_or(0, |text| text.parse().expect("a number from etcd"))
}
