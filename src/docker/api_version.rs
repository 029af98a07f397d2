//! Docker API versions, and the negotiation of one with an engine.
//!
//! An engine reports the versions that it supports in `GET /version`. Every other request carries
//! the chosen version as the first part of its path, for example `/v1.41/containers/json`.

use std::fmt;
use std::str::FromStr;

/// The oldest API version with every field that HighHock reads. Health checks came with 1.24
/// (Docker 1.12), and the network endpoints of a row with 1.22.
pub const OLDEST: ApiVersion = ApiVersion { major: 1, minor: 24 };

/// The newest API version whose history was checked for changes to the fields that HighHock reads
/// (docs.docker.com, "Engine API version history"). Newer engines are addressed in this version.
pub const NEWEST: ApiVersion = ApiVersion { major: 1, minor: 54 };

/// A version of the Docker Engine API, such as `1.41`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// The number before the dot.
    pub major: u16,
    /// The number after the dot. It is compared as a number: 1.9 is older than 1.10.
    pub minor: u16,
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The error for a text that is not an API version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a Docker API version; use a version such as 1.41 or v1.41")]
pub struct BadVersion(String);

impl FromStr for ApiVersion {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let bad = || BadVersion(text.to_owned());
        let (major, minor) =
            text.strip_prefix('v').unwrap_or(text).split_once('.').ok_or_else(bad)?;
        // The number parser would also accept a sign.
        if !(major.bytes().chain(minor.bytes()).all(|byte| byte.is_ascii_digit())) {
            return Err(bad());
        }
        Ok(Self {
            major: major.parse().map_err(|_| bad())?,
            minor: minor.parse().map_err(|_| bad())?,
        })
    }
}

/// The setting `docker.version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionChoice {
    /// The newest version that both the engine and HighHock support.
    Auto,
    /// The version that the operator configured.
    Exactly(ApiVersion),
}

/// The versions that an engine supports (`GET /version`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedVersions {
    /// `MinAPIVersion`. Engines with an API older than 1.25 do not report it.
    pub oldest: Option<ApiVersion>,
    /// `ApiVersion`.
    pub newest: ApiVersion,
}

impl fmt::Display for SupportedVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.oldest {
            Some(oldest) if oldest != self.newest => write!(f, "{oldest} to {}", self.newest),
            Some(only) => write!(f, "{only} only"),
            None => write!(f, "up to {}", self.newest),
        }
    }
}

/// The reason why no version suits both the engine and the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCommonVersion {
    /// The engine's oldest version is newer than [`NEWEST`].
    #[error(
        "the engine is too new: it supports Docker API {0}, this HighHock {OLDEST} to {NEWEST}; \
         use a newer HighHock"
    )]
    EngineTooNew(SupportedVersions),
    /// The engine's newest version is older than [`OLDEST`].
    #[error(
        "the engine is too old: it supports Docker API {0}, HighHock needs {OLDEST} or newer; \
         upgrade Docker to 1.12 or newer"
    )]
    EngineTooOld(SupportedVersions),
}

/// Returns the version for requests to an engine with the versions `supported`: the configured one
/// if both sides support it, else the newest common version.
///
/// # Errors
/// Returns an error if no version suits both sides. Its text names the remedy for the operator.
pub fn choose(
    choice: VersionChoice,
    supported: SupportedVersions,
) -> Result<ApiVersion, NoCommonVersion> {
    if supported.newest < OLDEST {
        return Err(NoCommonVersion::EngineTooOld(supported));
    }
    let oldest = supported.oldest.unwrap_or(OLDEST).max(OLDEST);
    let newest = supported.newest.min(NEWEST);
    if oldest > newest {
        return Err(NoCommonVersion::EngineTooNew(supported));
    }
    Ok(match choice {
        VersionChoice::Exactly(version) if (oldest..=newest).contains(&version) => version,
        VersionChoice::Exactly(_) | VersionChoice::Auto => newest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> ApiVersion {
        text.parse().unwrap()
    }

    fn supported(oldest: &str, newest: &str) -> SupportedVersions {
        SupportedVersions { oldest: Some(version(oldest)), newest: version(newest) }
    }

    #[test]
    fn parses_versions_and_orders_them_as_numbers() {
        assert_eq!(version("1.41"), ApiVersion { major: 1, minor: 41 });
        assert_eq!(version("v1.41"), version("1.41"));
        assert!(version("1.9") < version("1.10"));
        assert!(version("2.0") > version("1.99"));
        assert_eq!(version("v1.41").to_string(), "1.41");
    }

    #[test]
    fn rejects_invalid_versions() {
        for text in ["", "v", "1", "1.", ".1", "1.x", "1.41.0", "1.-4", "+1.4", "vv1.4", "1.99999"]
        {
            assert!(text.parse::<ApiVersion>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn chooses_the_newest_common_version() {
        for (engine, expected) in [
            (supported("1.12", "1.41"), "1.41"),
            (supported("1.12", "1.24"), "1.24"),
            (supported("1.44", "1.99"), &*NEWEST.to_string()),
            (SupportedVersions { oldest: None, newest: version("1.24") }, "1.24"),
        ] {
            assert_eq!(choose(VersionChoice::Auto, engine), Ok(version(expected)), "{engine}");
        }
    }

    #[test]
    fn reports_engines_that_are_too_new_or_too_old() {
        let (new, old) = (supported("1.60", "1.70"), supported("1.12", "1.23"));
        for (engine, expected, range) in [
            (new, NoCommonVersion::EngineTooNew(new), "1.60 to 1.70"),
            (old, NoCommonVersion::EngineTooOld(old), "1.12 to 1.23"),
        ] {
            let error = choose(VersionChoice::Auto, engine).unwrap_err();
            assert_eq!(error, expected);
            assert!(error.to_string().contains(range), "{error}");
        }
    }

    #[test]
    fn replaces_a_configured_version_that_is_not_shared() {
        let newest = NEWEST.to_string();
        for (engine, configured, expected) in [
            (supported("1.25", "1.41"), "1.25", None),
            (supported("1.25", "1.41"), "1.41", None),
            (supported("1.25", "1.41"), "1.24", Some("1.41")),
            (supported("1.25", "1.41"), "1.42", Some("1.41")),
            (supported("1.12", "1.41"), "1.16", Some("1.41")),
            (supported("1.12", "1.41"), "1.99", Some("1.41")),
            (supported("1.40", "1.99"), "1.99", Some(&*newest)),
            (SupportedVersions { oldest: None, newest: version("1.41") }, "1.24", None),
        ] {
            let configured = version(configured);
            let expected = expected.map_or(configured, version);
            assert_eq!(
                choose(VersionChoice::Exactly(configured), engine),
                Ok(expected),
                "{engine}"
            );
        }
        for engine in [supported("1.60", "1.70"), supported("1.12", "1.23")] {
            assert!(choose(VersionChoice::Exactly(version("1.24")), engine).is_err());
        }
    }
}
