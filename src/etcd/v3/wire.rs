//! Messages of etcd's v3 API, in the JSON of its gateway.
//!
//! Names are those of `rpc.proto` and `kv.proto` in etcd. Keys and values are base64, 64-bit
//! integers are strings, and responses omit fields with their default value.

use serde::de::{Deserializer, Error, IgnoredAny};
use serde::{Deserialize, Serialize, Serializer};

use base64::prelude::{BASE64_STANDARD, Engine as _};

/// Bytes of a key or a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Base64Bytes(pub Vec<u8>);

impl Base64Bytes {
    /// Returns the bytes as text. Bytes that are not UTF-8 are replaced, because HighHock did not
    /// write them.
    pub(super) fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl From<&str> for Base64Bytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl Serialize for Base64Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map(Self).map_err(D::Error::custom)
    }
}

/// A 64-bit integer. It is a string in JSON, so that a parser with floating-point numbers keeps its
/// precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Int64(pub i64);

impl Int64 {
    /// Returns a version or a number of seconds, which are never negative.
    pub(super) fn unsigned(self) -> u64 {
        self.0.try_into().unwrap_or(0)
    }
}

impl Serialize for Int64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Int64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum TextOrNumber {
            Text(String),
            Number(i64),
        }
        match TextOrNumber::deserialize(deserializer)? {
            TextOrNumber::Text(text) => text.parse().map(Self).map_err(D::Error::custom),
            TextOrNumber::Number(number) => Ok(Self(number)),
        }
    }
}

/// The header of every response. Its presence distinguishes etcd from other servers.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    /// The latest revision of the responding member.
    #[serde(default)]
    pub revision: Int64,
}

/// A read of one key, or of the keys from `key` to before `range_end`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct RangeRequest {
    pub key: Base64Bytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_end: Option<Base64Bytes>,
    #[serde(skip_serializing_if = "Int64::is_zero")]
    pub limit: Int64,
    #[serde(skip_serializing_if = "is_false")]
    pub keys_only: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct PutRequest {
    pub key: Base64Bytes,
    pub value: Base64Bytes,
    #[serde(skip_serializing_if = "Int64::is_zero")]
    pub lease: Int64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct DeleteRangeRequest {
    pub key: Base64Bytes,
}

/// An operation of a transaction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) enum RequestOp {
    #[serde(rename = "request_range")]
    Range(RangeRequest),
    #[serde(rename = "request_put")]
    Put(PutRequest),
    #[serde(rename = "request_delete_range")]
    Delete(DeleteRangeRequest),
    #[serde(rename = "request_txn")]
    Txn(TxnRequest),
}

/// A transaction. If all comparisons hold, `success` is applied, otherwise `failure`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct TxnRequest {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compare: Vec<Compare>,
    pub success: Vec<RequestOp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failure: Vec<RequestOp>,
}

/// A precondition: a property of a key, or of each key of a range, has the given value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Compare {
    result: &'static str,
    key: Base64Bytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    range_end: Option<Base64Bytes>,
    #[serde(flatten)]
    target: CompareTarget,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "target")]
enum CompareTarget {
    #[serde(rename = "CREATE")]
    Create { create_revision: Int64 },
    #[serde(rename = "MOD")]
    Mod { mod_revision: Int64 },
    #[serde(rename = "VALUE")]
    Value { value: Base64Bytes },
    #[serde(rename = "LEASE")]
    Lease { lease: Int64 },
}

impl Compare {
    fn equal(key: &str, range_end: Option<&str>, target: CompareTarget) -> Self {
        let range_end = range_end.map(Base64Bytes::from);
        Self { result: "EQUAL", key: key.into(), range_end, target }
    }

    /// The key does not exist.
    pub(super) fn absent(key: &str) -> Self {
        Self::equal(key, None, CompareTarget::Create { create_revision: Int64(0) })
    }

    /// No key of the range exists.
    pub(super) fn empty(key: &str, range_end: &str) -> Self {
        Self::equal(key, Some(range_end), CompareTarget::Create { create_revision: Int64(0) })
    }

    /// The key exists with this value.
    pub(super) fn value(key: &str, value: &str) -> Self {
        Self::equal(key, None, CompareTarget::Value { value: value.into() })
    }

    /// The key is attached to this lease.
    pub(super) fn lease(key: &str, lease: i64) -> Self {
        Self::equal(key, None, CompareTarget::Lease { lease: Int64(lease) })
    }

    /// The key was last changed by this revision.
    pub(super) fn mod_revision(key: &str, revision: u64) -> Self {
        let mod_revision = Int64(revision.try_into().unwrap_or(i64::MAX));
        Self::equal(key, None, CompareTarget::Mod { mod_revision })
    }
}

/// A key with its value.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct KeyValue {
    pub key: Base64Bytes,
    pub value: Base64Bytes,
    pub mod_revision: Int64,
    pub lease: Int64,
}

/// The result of a read. A read outside of a transaction returns it as a [`RangeResponse`].
#[derive(Debug, Deserialize)]
pub(super) struct RangeOutcome {
    #[serde(default)]
    pub kvs: Vec<KeyValue>,
}

/// The response to a single read.
#[derive(Debug, Deserialize)]
pub(super) struct RangeResponse {
    pub header: Header,
    #[serde(flatten)]
    pub range: RangeOutcome,
}

/// The response to a transaction.
#[derive(Debug, Deserialize)]
pub(super) struct TxnResponse {
    #[serde(rename = "header")]
    _header: Header,
    #[serde(flatten)]
    pub outcome: TxnOutcome,
}

/// The result of a transaction, or of one inside another.
#[derive(Debug, Deserialize)]
pub(super) struct TxnOutcome {
    /// `true` if all comparisons held.
    #[serde(default)]
    pub succeeded: bool,
    #[serde(default)]
    pub responses: Vec<ResponseOp>,
}

/// The result of an operation of a transaction.
#[derive(Debug, Deserialize)]
pub(super) enum ResponseOp {
    #[serde(rename = "response_range")]
    Range(RangeOutcome),
    #[serde(rename = "response_put")]
    Put(IgnoredAny),
    #[serde(rename = "response_delete_range")]
    Delete(IgnoredAny),
    #[serde(rename = "response_txn")]
    Txn(TxnOutcome),
}

/// A request that concerns one lease: a keep-alive or a revocation.
#[derive(Debug, Serialize)]
pub(super) struct LeaseIdRequest {
    #[serde(rename = "ID")]
    pub id: Int64,
}

#[derive(Debug, Serialize)]
pub(super) struct LeaseGrantRequest {
    #[serde(rename = "ID")]
    pub id: Int64,
    #[serde(rename = "TTL")]
    pub ttl: Int64,
}

#[derive(Debug, Deserialize)]
pub(super) struct LeaseGrantResponse {
    #[serde(rename = "header")]
    _header: Header,
    #[serde(rename = "ID", default)]
    pub id: Int64,
    #[serde(rename = "TTL", default)]
    pub ttl: Int64,
}

#[derive(Debug, Serialize)]
pub(super) struct LeaseTimeToLiveRequest {
    #[serde(rename = "ID")]
    pub id: Int64,
    #[serde(skip_serializing_if = "is_false")]
    pub keys: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct LeaseTimeToLiveResponse {
    #[serde(rename = "header")]
    _header: Header,
    /// The remaining seconds, or -1 if the lease does not exist.
    #[serde(rename = "TTL", default)]
    pub ttl: Int64,
    #[serde(rename = "grantedTTL", default)]
    pub granted: Int64,
    #[serde(default)]
    pub keys: Vec<Base64Bytes>,
}

/// A response whose content is irrelevant.
#[derive(Debug, Deserialize)]
pub(super) struct LeaseRevokeResponse {
    #[serde(rename = "header")]
    _header: Header,
}

/// The envelope of each message in a stream.
#[derive(Debug, Deserialize)]
pub(super) struct StreamMessage<T> {
    pub result: T,
}

#[derive(Debug, Deserialize)]
pub(super) struct LeaseKeepAliveResponse {
    #[serde(rename = "header")]
    _header: Header,
    #[serde(rename = "ID", default)]
    pub id: Int64,
    /// 0, which etcd omits, if the lease does not exist.
    #[serde(rename = "TTL", default)]
    pub ttl: Int64,
}

#[derive(Debug, Serialize)]
pub(super) struct WatchRequest {
    pub create_request: RangeRequest,
}

#[derive(Debug, Deserialize)]
pub(super) struct WatchResponse {
    #[serde(rename = "header")]
    _header: Header,
    #[serde(default)]
    pub created: bool,
    #[serde(default)]
    pub canceled: bool,
    #[serde(default)]
    pub cancel_reason: String,
    #[serde(default)]
    pub compact_revision: Int64,
    #[serde(default)]
    pub events: Vec<WatchEvent>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WatchEvent {
    #[serde(rename = "type", default)]
    pub kind: EventType,
    pub kv: KeyValue,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub(super) enum EventType {
    #[default]
    #[serde(rename = "PUT")]
    Put,
    #[serde(rename = "DELETE")]
    Delete,
}

impl Int64 {
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
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
    fn serializes_transactions_for_the_gateway() {
        let put = PutRequest { key: "/a".into(), value: "x".into(), lease: Int64(i64::MAX) };
        let txn = TxnRequest {
            compare: vec![Compare::absent("/a"), Compare::empty("/a/", "/a0")],
            success: vec![RequestOp::Put(put)],
            failure: vec![RequestOp::Range(RangeRequest {
                key: "/a".into(),
                ..RangeRequest::default()
            })],
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
    fn parses_integers_as_strings_and_defaults() {
        let kv = r#"{"key":"L2E=","mod_revision":"9007199254740993","lease":-3}"#;
        let kv: KeyValue = serde_json::from_str(kv).unwrap();
        assert_eq!((kv.mod_revision, kv.lease), (Int64(9_007_199_254_740_993), Int64(-3)));
        assert_eq!(kv.value.to_text(), "");
        for odd in [r#"{"lease":"x"}"#, r#"{"lease":1.5}"#, r#"{"key":"%"}"#] {
            assert!(serde_json::from_str::<KeyValue>(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn rejects_responses_without_a_header() {
        assert!(serde_json::from_str::<TxnResponse>("{}").is_err());
        assert!(serde_json::from_str::<LeaseTimeToLiveResponse>("{}").is_err());
        assert!(
            serde_json::from_str::<StreamMessage<LeaseKeepAliveResponse>>(r#"{"result":{}}"#)
                .is_err()
        );
    }
}
