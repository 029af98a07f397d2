//! What goes over the wire: etcd's v3 messages as its JSON gateway spells them.
//!
//! Keys and values are base64, 64-bit integers are strings, and what has its
//! default value is left out of answers.

use serde::de::{Deserializer, Error, IgnoredAny};
use serde::{Deserialize, Serialize, Serializer};

use base64::prelude::{BASE64_STANDARD, Engine as _};

/// Bytes: a key or a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes(pub Vec<u8>);

impl Bytes {
    /// The bytes as text; what is no UTF-8 in it can't be of ours, and is replaced.
    pub(super) fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map(Self).map_err(D::Error::custom)
    }
}

/// A 64-bit integer: a string, so that a parser which holds numbers as floating
/// point can't spoil it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Int(pub i64);

impl Int {
    /// As a version or a number of seconds, neither of which is negative.
    pub(super) fn unsigned(self) -> u64 {
        self.0.try_into().unwrap_or(0)
    }
}

impl Serialize for Int {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Text(String),
            Number(i64),
        }
        match Either::deserialize(deserializer)? {
            Either::Text(text) => text.parse().map(Self).map_err(D::Error::custom),
            Either::Number(number) => Ok(Self(number)),
        }
    }
}

/// What every answer begins with. That it is there tells etcd's from others'.
pub(super) type Header = IgnoredAny;

/// A key, or the keys from this one on to before `range_end`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Range {
    pub key: Bytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_end: Option<Bytes>,
    #[serde(skip_serializing_if = "Int::is_zero")]
    pub limit: Int,
    #[serde(skip_serializing_if = "is_false")]
    pub keys_only: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Put {
    pub key: Bytes,
    pub value: Bytes,
    #[serde(skip_serializing_if = "Int::is_zero")]
    pub lease: Int,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct DeleteRange {
    pub key: Bytes,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) enum Op {
    #[serde(rename = "request_range")]
    Range(Range),
    #[serde(rename = "request_put")]
    Put(Put),
    #[serde(rename = "request_delete_range")]
    Delete(DeleteRange),
    #[serde(rename = "request_txn")]
    Txn(Txn),
}

/// A transaction: where all comparisons hold, `success` is done, else `failure`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Txn {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compare: Vec<Compare>,
    pub success: Vec<Op>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failure: Vec<Op>,
}

/// That something at a key, or at each of a range's, equals something.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Compare {
    result: &'static str,
    key: Bytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    range_end: Option<Bytes>,
    #[serde(flatten)]
    target: Target,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "target")]
enum Target {
    #[serde(rename = "CREATE")]
    Create { create_revision: Int },
    #[serde(rename = "MOD")]
    Mod { mod_revision: Int },
    #[serde(rename = "VALUE")]
    Value { value: Bytes },
    #[serde(rename = "LEASE")]
    Lease { lease: Int },
}

impl Compare {
    fn equal(key: &str, range_end: Option<&str>, target: Target) -> Self {
        let range_end = range_end.map(Bytes::from);
        Self { result: "EQUAL", key: key.into(), range_end, target }
    }

    /// Nothing is at the key.
    pub(super) fn absent(key: &str) -> Self {
        Self::equal(key, None, Target::Create { create_revision: Int(0) })
    }

    /// Nothing is in the range.
    pub(super) fn empty(key: &str, range_end: &str) -> Self {
        Self::equal(key, Some(range_end), Target::Create { create_revision: Int(0) })
    }

    /// The key is there with this value.
    pub(super) fn value(key: &str, value: &str) -> Self {
        Self::equal(key, None, Target::Value { value: value.into() })
    }

    /// The key hangs on this lease.
    pub(super) fn lease(key: &str, lease: i64) -> Self {
        Self::equal(key, None, Target::Lease { lease: Int(lease) })
    }

    /// The key was last changed by this revision.
    pub(super) fn mod_revision(key: &str, revision: u64) -> Self {
        let mod_revision = Int(revision.try_into().unwrap_or(i64::MAX));
        Self::equal(key, None, Target::Mod { mod_revision })
    }
}

/// A key with what is there.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct KeyValue {
    pub key: Bytes,
    pub value: Bytes,
    pub mod_revision: Int,
    pub lease: Int,
}

#[derive(Debug, Deserialize)]
pub(super) struct RangeAnswer {
    #[serde(default)]
    pub kvs: Vec<KeyValue>,
}

/// The answer to a range that was asked for by itself.
#[derive(Debug, Deserialize)]
pub(super) struct RangeFound {
    #[serde(rename = "header")]
    _header: Header,
    #[serde(flatten)]
    pub range: RangeAnswer,
}

/// The answer to a transaction.
#[derive(Debug, Deserialize)]
pub(super) struct TxnAnswer {
    #[serde(rename = "header")]
    _header: Header,
    #[serde(flatten)]
    pub done: TxnDone,
}

/// What a transaction, or one in another, did.
#[derive(Debug, Deserialize)]
pub(super) struct TxnDone {
    /// Whether all comparisons held.
    #[serde(default)]
    pub succeeded: bool,
    #[serde(default)]
    pub responses: Vec<OpDone>,
}

#[derive(Debug, Deserialize)]
pub(super) enum OpDone {
    #[serde(rename = "response_range")]
    Range(RangeAnswer),
    #[serde(rename = "response_put")]
    Put(IgnoredAny),
    #[serde(rename = "response_delete_range")]
    Delete(IgnoredAny),
    #[serde(rename = "response_txn")]
    Txn(TxnDone),
}

/// A request that is about one lease and nothing else.
#[derive(Debug, Serialize)]
pub(super) struct OfLease {
    #[serde(rename = "ID")]
    pub id: Int,
}

#[derive(Debug, Serialize)]
pub(super) struct GrantRequest {
    #[serde(rename = "ID")]
    pub id: Int,
    #[serde(rename = "TTL")]
    pub ttl: Int,
}

#[derive(Debug, Deserialize)]
pub(super) struct GrantAnswer {
    #[serde(rename = "header")]
    _header: Header,
    #[serde(rename = "ID", default)]
    pub id: Int,
    #[serde(rename = "TTL", default)]
    pub ttl: Int,
}

#[derive(Debug, Serialize)]
pub(super) struct TimeToLiveRequest {
    #[serde(rename = "ID")]
    pub id: Int,
    #[serde(skip_serializing_if = "is_false")]
    pub keys: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct TimeToLiveAnswer {
    #[serde(rename = "header")]
    _header: Header,
    /// -1 where there is no such lease.
    #[serde(rename = "TTL", default)]
    pub ttl: Int,
    #[serde(rename = "grantedTTL", default)]
    pub granted: Int,
    #[serde(default)]
    pub keys: Vec<Bytes>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LeasesAnswer {
    #[serde(rename = "header")]
    _header: Header,
    #[serde(default)]
    pub leases: Vec<LeaseStatus>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LeaseStatus {
    #[serde(rename = "ID", default)]
    pub id: Int,
}

/// An answer whose content doesn't matter.
#[derive(Debug, Deserialize)]
pub(super) struct Acknowledged {
    #[serde(rename = "header")]
    _header: Header,
}

/// The wrapping of every message in a stream.
#[derive(Debug, Deserialize)]
pub(super) struct InStream<T> {
    pub result: T,
}

#[derive(Debug, Deserialize)]
pub(super) struct KeepAliveAnswer {
    #[serde(rename = "header")]
    _header: Header,
    #[serde(rename = "ID", default)]
    pub id: Int,
    /// Left out, so 0, where there is no such lease.
    #[serde(rename = "TTL", default)]
    pub ttl: Int,
}

#[derive(Debug, Serialize)]
pub(super) struct WatchRequest {
    pub create_request: Range,
}

#[derive(Debug, Deserialize)]
pub(super) struct WatchAnswer {
    #[serde(rename = "header")]
    _header: Header,
    #[serde(default)]
    pub created: bool,
    #[serde(default)]
    pub canceled: bool,
    #[serde(default)]
    pub cancel_reason: String,
    #[serde(default)]
    pub compact_revision: Int,
    #[serde(default)]
    pub events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(rename = "type", default)]
    pub kind: EventKind,
    pub kv: KeyValue,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub(super) enum EventKind {
    #[default]
    #[serde(rename = "PUT")]
    Put,
    #[serde(rename = "DELETE")]
    Delete,
}

impl Int {
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn a_transaction_reads_as_the_gateway_takes_it() {
        let put = Put { key: "/a".into(), value: "x".into(), lease: Int(i64::MAX) };
        let txn = Txn {
            compare: vec![Compare::absent("/a"), Compare::empty("/a/", "/a0")],
            success: vec![Op::Put(put)],
            failure: vec![Op::Range(Range { key: "/a".into(), ..Range::default() })],
        };
        assert_eq!(
            json(&txn),
            concat!(
                r#"{"compare":[{"result":"EQUAL","key":"L2E=","target":"CREATE","create_revision":"0"},"#,
                r#"{"result":"EQUAL","key":"L2Ev","range_end":"L2Ew","target":"CREATE","create_revision":"0"}],"#,
                r#""success":[{"request_put":{"key":"L2E=","value":"eA==","lease":"9223372036854775807"}}],"#,
                r#""failure":[{"request_range":{"key":"L2E="}}]}"#,
            )
        );
        assert_eq!(
            json(&[
                Compare::value("/a", ""),
                Compare::lease("/a", 7),
                Compare::mod_revision("/a", 9)
            ]),
            concat!(
                r#"[{"result":"EQUAL","key":"L2E=","target":"VALUE","value":""},"#,
                r#"{"result":"EQUAL","key":"L2E=","target":"LEASE","lease":"7"},"#,
                r#"{"result":"EQUAL","key":"L2E=","target":"MOD","mod_revision":"9"}]"#,
            )
        );
    }

    #[test]
    fn integers_come_as_strings_and_not_at_all() {
        let kv = r#"{"key":"L2E=","mod_revision":"9007199254740993","lease":-3}"#;
        let kv: KeyValue = serde_json::from_str(kv).unwrap();
        assert_eq!((kv.mod_revision, kv.lease), (Int(9_007_199_254_740_993), Int(-3)));
        assert_eq!(kv.value.to_text(), "");
        for odd in [r#"{"lease":"x"}"#, r#"{"lease":1.5}"#, r#"{"key":"%"}"#] {
            assert!(serde_json::from_str::<KeyValue>(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn an_answer_without_header_is_none_of_etcds() {
        assert!(serde_json::from_str::<TxnAnswer>("{}").is_err());
        assert!(serde_json::from_str::<LeasesAnswer>("{}").is_err());
        assert!(serde_json::from_str::<InStream<KeepAliveAnswer>>(r#"{"result":{}}"#).is_err());
    }
}
