//! The settings of the commands that only query the running daemon.

use super::admin::{Admin, read_admin};
use super::error::{Diagnostics, SettingsError, SettingsErrorKind, SettingsErrors, Warning};
use super::sections::{Log, log};
use super::sources::Sources;
use super::{lookup, merge_layers};

/// The settings with which a command finds the running daemon.
#[derive(Clone, Debug)]
pub struct AdminAccess {
    /// The keys `admin.*`.
    pub admin: Admin,
    /// The log of the command. A key with an error has its default.
    pub log: Log,
    /// Remarks for the operator, to be logged at WARNING.
    pub warnings: Vec<Warning>,
}

/// Reads only the keys `admin.*`, and ignores the errors of all other keys: the daemon may run with
/// an older configuration, and its health check must not fail because of a later mistake.
///
/// A file that cannot be read or parsed is ignored with a warning, because most daemons use the
/// default address. A file that the operator named must exist.
///
/// # Errors
/// Returns the errors of the keys `admin.*`.
pub fn load_admin(sources: &Sources) -> Result<AdminAccess, SettingsErrors> {
    let mut diagnostics = Diagnostics::default();
    let merged = merge_layers(sources, &mut diagnostics);
    let (errors, warnings) = relevant(diagnostics.errors);
    if !errors.is_empty() {
        return Err(SettingsErrors(errors));
    }
    let merged = merged.map_err(|error| SettingsErrors(lookup::internal_error("", &error)))?;
    let admin = read_admin(&merged).map_err(SettingsErrors)?;
    let log = log(&merged).map_err(SettingsErrors)?;
    Ok(AdminAccess { admin, log, warnings })
}

/// Returns the errors of the keys `admin.*`, and the warnings of an unusable file.
fn relevant(errors: Vec<SettingsError>) -> (Vec<SettingsError>, Vec<Warning>) {
    let (file_errors, key_errors): (Vec<_>, Vec<_>) =
        errors.into_iter().partition(|error| error.key.is_empty());
    let (missing, unusable): (Vec<_>, Vec<_>) =
        file_errors.into_iter().partition(|error| is_missing_file(&error.kind));
    let is_admin = |error: &SettingsError| error.key.split('.').next() == Some("admin");
    let errors = key_errors.into_iter().filter(is_admin).chain(missing).collect();
    (errors, unusable.into_iter().map(Warning::FileIgnored).collect())
}

fn is_missing_file(kind: &SettingsErrorKind) -> bool {
    matches!(
        kind,
        SettingsErrorKind::MissingFile
            | SettingsErrorKind::MissingFileOfVariable { .. }
            | SettingsErrorKind::MissingAttachedFile { .. }
    )
}
