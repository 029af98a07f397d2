//! Docker API versions, and which one to speak with an engine.

use std::fmt;
use std::str::FromStr;

/// The oldest API that shows all that is read: health checks came with 1.24
/// (Docker 1.12), a row's network endpoints with 1.22.
pub const OLDEST: ApiVersion = ApiVersion { major: 1, minor: 24 };

/// The newest API whose version history was read for changes to the fields that
/// are read here (docs.docker.com, "Engine API version history"). A newer engine
/// is spoken to in this one.
pub const NEWEST: ApiVersion = ApiVersion { major: 1, minor: 54 };

/// A version of the Docker Engine API, as `1.41`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// What stands before the dot.
    pub major: u16,
    /// What stands behind the dot: a number, so that 1.9 is older than 1.10.
    pub minor: u16,
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A text that is no API version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no Docker API version such as 1.41 or v1.41")]
pub struct BadVersion(String);

impl FromStr for ApiVersion {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let bad = || BadVersion(text.to_owned());
        let (major, minor) =
            text.strip_prefix('v').unwrap_or(text).split_once('.').ok_or_else(bad)?;
        // The number parser would take a sign, too.
        if !(major.bytes().chain(minor.bytes()).all(|byte| byte.is_ascii_digit())) {
            return Err(bad());
        }
        Ok(Self {
            major: major.parse().map_err(|_| bad())?,
            minor: minor.parse().map_err(|_| bad())?,
        })
    }
}

/// Who decides about the API version (`docker.version`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionChoice {
    /// The newest that the engine and HighHock both speak.
    Auto,
    /// The operator.
    Exactly(ApiVersion),
}

/// What an engine speaks (`GET /version`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedVersions {
    /// `MinAPIVersion`; engines before API 1.25 don't tell it.
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

/// Why there is no version to speak with an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCommonVersion {
    /// Its oldest version is newer than our newest.
    #[error(
        "the engine is too new: it speaks Docker API {0}, this HighHock {OLDEST} to {NEWEST}; \
         use a newer HighHock"
    )]
    EngineTooNew(SupportedVersions),
    /// Its newest version is older than our oldest.
    #[error(
        "the engine is too old: it speaks Docker API {0}, HighHock needs {OLDEST} or newer; \
         upgrade Docker to 1.12 or newer"
    )]
    EngineTooOld(SupportedVersions),
    /// The operator's choice is none of the engine's.
    #[error(
        "docker.version is {0}, but the engine speaks Docker API {1}; set it to \"auto\" or to \
         one of these"
    )]
    ChoiceNotSupported(ApiVersion, SupportedVersions),
    /// The operator's choice doesn't show what HighHock must read.
    #[error(
        "docker.version is {0}, but HighHock needs Docker API {OLDEST} or newer; set it to \"auto\""
    )]
    ChoiceTooOld(ApiVersion),
}

/// The version to speak with an engine that speaks `supported`.
///
/// A choice of the operator's that is newer than [`NEWEST`] is followed: new
/// versions rarely change what is read here, and who writes a number means it.
///
/// # Errors
/// Where there is none; the error's text is for the operator.
pub fn choose(
    choice: VersionChoice,
    supported: SupportedVersions,
) -> Result<ApiVersion, NoCommonVersion> {
    match choice {
        VersionChoice::Exactly(chosen) if chosen < OLDEST => {
            Err(NoCommonVersion::ChoiceTooOld(chosen))
        }
        VersionChoice::Exactly(chosen) => {
            let too_old = supported.oldest.is_some_and(|oldest| chosen < oldest);
            if too_old || chosen > supported.newest {
                return Err(NoCommonVersion::ChoiceNotSupported(chosen, supported));
            }
            Ok(chosen)
        }
        VersionChoice::Auto if supported.newest < OLDEST => {
            Err(NoCommonVersion::EngineTooOld(supported))
        }
        VersionChoice::Auto if supported.oldest.is_some_and(|oldest| oldest > NEWEST) => {
            Err(NoCommonVersion::EngineTooNew(supported))
        }
        VersionChoice::Auto => Ok(supported.newest.min(NEWEST)),
    }
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
    fn rejects_what_is_no_version() {
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
        let new = choose(VersionChoice::Auto, supported("1.60", "1.70")).unwrap_err().to_string();
        assert!(new.contains("too new") && new.contains("1.60 to 1.70"), "{new}");
        let old = choose(VersionChoice::Auto, supported("1.12", "1.23")).unwrap_err().to_string();
        assert!(old.contains("too old") && old.contains("1.12 to 1.23"), "{old}");
    }

    #[test]
    fn configured_version_must_be_supported_by_the_engine() {
        let engine = supported("1.25", "1.70");
        let exactly = |text| choose(VersionChoice::Exactly(version(text)), engine);
        assert_eq!(exactly("1.25"), Ok(version("1.25")));
        assert_eq!(exactly("1.70"), Ok(version("1.70")));
        assert_eq!(
            exactly("1.24"),
            Err(NoCommonVersion::ChoiceNotSupported(version("1.24"), engine))
        );
        assert_eq!(
            exactly("1.71"),
            Err(NoCommonVersion::ChoiceNotSupported(version("1.71"), engine))
        );
        assert_eq!(exactly("1.16"), Err(NoCommonVersion::ChoiceTooOld(version("1.16"))));
        let text = exactly("1.71").unwrap_err().to_string();
        assert!(text.contains("1.71") && text.contains("1.25 to 1.70"), "{text}");
    }
}
