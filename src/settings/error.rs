//! What is wrong with a configuration, a line a fault, in words for the operator.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: the program's own default.
    Default,
    /// In a configuration file.
    File(PathBuf),
    /// In an environment variable of this name.
    Variable(String),
    /// In a command-line flag of this name, dashes included.
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

/// What is wrong in one place. No text in it ever holds a secret's value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsErrorKind {
    /// A value of the wrong type, out of its range, or otherwise unfit.
    #[error("found {found}; takes {expected}")]
    InvalidValue {
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: String,
    },
    /// A key that doesn't exist. Its value isn't told: it may be a misspelt password's.
    #[error("no such key{}", nearest.map(|key| format!("; the nearest is {key}")).unwrap_or_default())]
    UnknownKey {
        /// The known key most like it.
        nearest: Option<&'static str>,
    },
    /// A key set twice in one layer (under its alias, say), to different values.
    #[error("set here and as {other}, to different values; takes one of the two")]
    SetTwice {
        /// How it was written the first time.
        other: String,
    },
    /// A value that doesn't go with that of another key, in words.
    #[error("{0}")]
    Beside(String),
    /// A file that can't be read or parsed.
    #[error("{0}")]
    File(String),
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// Where it stands.
    pub origin: Origin,
    /// The key, as it was written there; empty where the fault is the whole file's.
    pub key: String,
    /// What is wrong.
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

/// Everything that is wrong with the configuration, in the order of its layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsErrors(pub Vec<SettingsError>);

impl std::error::Error for SettingsErrors {}

impl fmt::Display for SettingsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("1 fault in the configuration:")?,
            count => write!(f, "{count} faults in the configuration:")?,
        }
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

/// Something in the configuration that an operator should know of, though the
/// program starts all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A `HIGHHOCK_…` variable that names no key. Container links make such.
    #[error(
        "environment variable {name} names no key and is ignored{}",
        nearest.map(|key| format!("; the nearest is {key}")).unwrap_or_default()
    )]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The known key most like it, where one is alike at all.
        nearest: Option<&'static str>,
    },
    /// `skydns.ttl` is lower than `etcd.ttl`, without `skydns.exactTtl`.
    #[error(
        "skydns.ttl {skydns} is lower than etcd.ttl {etcd} and is ignored: records say {etcd}; \
         set skydns.exactTtl to have it as it is"
    )]
    SkydnsTtlIgnored {
        /// The ignored value, in seconds.
        skydns: u32,
        /// The one that stands, in seconds.
        etcd: u32,
    },
    /// Others than this host may have other names looked up at this address.
    #[error(
        "dns.forward is set, and {listen} of dns.listen can be reached from elsewhere: names of \
         other domains are looked up for this host, and for whoever asks from a loopback, \
         private or link-local address (all others are refused); keep out by a firewall who is \
         not to have that, or don't set dns.forward"
    )]
    OpenResolver {
        /// The first such address.
        listen: SocketAddr,
    },
}
