//! The errors and warnings of a configuration, worded for the operator.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The place at which a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The program's own default.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// The environment variable of this name.
    Variable(String),
    /// The command-line flag of this name, dashes included.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => path.display().fmt(f),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// The kind of an error, with its details. No text in it ever contains the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsErrorKind {
    /// A value of the wrong type, out of range, or otherwise not allowed.
    #[error("found {found}; expected {expected}")]
    InvalidValue {
        /// A description of the value found.
        found: String,
        /// A description of the values allowed.
        expected: String,
    },
    /// A key that does not exist. Its value is not shown, because the key may be a misspelt
    /// `etcd.password`.
    #[error("unknown key{}", nearest_key(*nearest))]
    UnknownKey {
        /// The most similar known key, if one is similar at all.
        nearest: Option<&'static str>,
    },
    /// A variable with one underscore where the variable of a key has two.
    #[error("written with single underscores; rename the variable to {variable}")]
    MisspeltVariable {
        /// The variable that sets the key.
        variable: String,
    },
    /// A key that one layer sets twice, for example by its alias too, to different values.
    #[error("also set as {other}, to a different value; set only one of the two")]
    SetTwice {
        /// The other spelling: a key, a variable or a flag.
        other: String,
    },
    /// A key that a file gives twice, with different values.
    #[error("given twice, with different values; keep only one of the two")]
    GivenTwice,
    /// A key that is set without the key that belongs to it.
    #[error("set without {missing}; set both or neither")]
    MissingKey {
        /// The key that is not set.
        missing: String,
    },
    /// A key that is set without any of the keys of which it needs one.
    #[error("set without {}; set one of them", missing.join(" or "))]
    MissingOneOf {
        /// The keys that are not set.
        missing: &'static [&'static str],
    },
    /// A key that is set together with a key that excludes it.
    #[error("set together with {other}; set only one of the two")]
    Exclusive {
        /// The other key.
        other: &'static str,
    },
    /// A file for TLS, although the connection does not use TLS.
    #[error("set, but {reason}; remove this key or change the URL")]
    UnusedTlsFile {
        /// The reason why the connection does not use TLS.
        reason: &'static str,
    },
    /// A value that only the `instance` layout allows.
    #[error(
        "found {found}, but skydns.layout is flat; set skydns.layout to instance, because {reason}"
    )]
    NeedsInstanceLayout {
        /// A description of the value found.
        found: String,
        /// The reason why the flat layout does not allow the value.
        reason: &'static str,
    },
    /// Two DNS addresses, one of which includes the other.
    #[error("{inside} is included in {outside}, which is listed too; remove one of the two")]
    OverlappingAddresses {
        /// The address that is included.
        inside: SocketAddr,
        /// The address that includes it.
        outside: SocketAddr,
    },
    /// A DNS address that is also the address of the admin interface.
    #[error("{address} conflicts with admin.listen {admin}; change the port of one of the two")]
    AdminAddressInUse {
        /// The DNS address.
        address: SocketAddr,
        /// The address of the admin interface.
        admin: SocketAddr,
    },
    /// An upstream DNS server that is this process itself.
    #[error("{address} is listed in dns.listen too, so queries would loop; list other DNS servers")]
    ForwardingLoop {
        /// The address in both keys.
        address: SocketAddr,
    },
    /// An admin interface that every host can reach without a token.
    #[error(
        "{address} is reachable from other hosts; use a loopback address such as 127.0.0.1:9465, \
         or set admin.token, admin.tokenFile or admin.allowRemote"
    )]
    UnprotectedAdmin {
        /// The address of the admin interface.
        address: SocketAddr,
    },
    /// A file that was named and does not exist.
    #[error("no such file")]
    MissingFile,
    /// A file that an environment variable names and that does not exist.
    #[error("no such file; correct or unset the environment variable {variable}")]
    MissingFileOfVariable {
        /// The variable.
        variable: String,
    },
    /// A misspelt flag that begins with `-c`, so that the rest of it names a file.
    #[error(
        "no such file: {written} means -c {file}; name a file by -c FILE, and begin a long flag \
         with two dashes"
    )]
    MissingAttachedFile {
        /// The flag as it is written.
        written: String,
        /// The rest of the flag.
        file: String,
    },
    /// A file without any content.
    #[error("empty file; add keys to it, or remove it to use the defaults")]
    EmptyFile,
    /// A file that cannot be read, with the reason.
    #[error("cannot be read: {0}")]
    UnreadableFile(String),
    /// A file that cannot be parsed, with the reason.
    #[error("cannot be parsed: {0}")]
    UnparsableFile(String),
    /// A value that its own key accepted and a later step rejected: a mistake in this program.
    /// It is reported like other errors, because a panic would help the operator less.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

/// One error of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// The place at which the value was set.
    pub origin: Origin,
    /// The key as it was written there; empty if the error concerns the whole file.
    pub key: String,
    /// The kind of the error.
    pub kind: SettingsErrorKind,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.origin, self.kind),
            key => write!(f, "{}: {key}: {}", self.origin, self.kind),
        }
    }
}

/// All errors of the configuration, in the order of its layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsErrors(pub Vec<SettingsError>);

impl std::error::Error for SettingsErrors {}

impl fmt::Display for SettingsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("1 error in the configuration:")?,
            count => write!(f, "{count} errors in the configuration:")?,
        }
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

/// The errors and warnings found so far.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    pub errors: Vec<SettingsError>,
    pub warnings: Vec<Warning>,
}

/// A remark on a valid configuration, to be logged at WARNING.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A `HIGHHOCK_…` variable that names no key.
    #[error("environment variable {name} ignored: it names no key{}", nearest_variable(nearest))]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The most similar variable that sets a key, if one is similar at all.
        nearest: Option<String>,
    },
    /// A key that one layer sets twice, for example by its alias too, to the same value.
    #[error("{origin}: {key}: also set as {other}, to the same value; remove one of the two")]
    SetTwice {
        /// The place at which the key is set again.
        origin: Origin,
        /// The key as it is written there.
        key: String,
        /// The other spelling: a key, a variable or a flag.
        other: String,
    },
    /// A key that a file gives twice, with the same value.
    #[error("{origin}: {key}: given twice, with the same value; remove one of the two")]
    GivenTwice {
        /// The file.
        origin: Origin,
        /// The key.
        key: String,
    },
    /// A file that contains comments and nothing else.
    #[error("{0}: sets no key: the file has only comments; uncomment the keys to set")]
    OnlyComments(Origin),
    /// A file that a client of the daemon cannot use.
    #[error("{0}; finding the daemon by the defaults, environment variables and flags of admin.*")]
    FileIgnored(SettingsError),
    /// `skydns.ttl` is lower than `etcd.ttl`, and `skydns.exactTtl` is not set.
    #[error(
        "skydns.ttl {skydns} ignored: it is lower than etcd.ttl, so records contain {etcd}; set \
         skydns.exactTtl to use it"
    )]
    SkydnsTtlIgnored {
        /// The ignored value, in seconds.
        skydns: u32,
        /// The value in effect, in seconds.
        etcd: u32,
    },
    /// Other hosts can send queries for other domains to this address.
    #[error(
        "dns.forward is set, and {listen} in dns.listen is reachable from other hosts: queries \
         for other domains are forwarded for this host and for all clients with a loopback, \
         private or link-local address, and refused for all others; block unwanted clients with \
         a firewall, or unset dns.forward"
    )]
    OpenResolver {
        /// The first such address.
        listen: SocketAddr,
    },
}

fn nearest_variable(nearest: &Option<String>) -> String {
    let text = |variable| format!("; the nearest known variable is {variable}");
    nearest.as_ref().map(text).unwrap_or_default()
}

fn nearest_key(nearest: Option<&str>) -> String {
    nearest.map(|key| format!("; the nearest known key is {key}")).unwrap_or_default()
}
