//! Certificates and credentials: keys that are valid only in combination.

use super::error::{SettingsError, SettingsErrorKind};
use super::lookup::{combination_error, has_error, read};
use super::merged::MergedConfig;
use crate::credentials::secret::{Credentials, Secret, SecretSource};
use crate::tls::{ClientIdentity, TlsFiles};

/// Reads the keys `<section>.ca`, `.cert` and `.key`.
///
/// `earlier_errors` are the errors found so far. A key that is already reported as invalid is not
/// reported again as missing beside another key.
pub(super) fn tls_files(
    config: &MergedConfig,
    section: &str,
    earlier_errors: &[SettingsError],
) -> Result<TlsFiles, Vec<SettingsError>> {
    let [ca, cert, key] = ["ca", "cert", "key"].map(|name| format!("{section}.{name}"));
    let file = |path: &str| -> Result<_, Vec<SettingsError>> {
        Ok(read(path, |path| config.text_if_set(path))?.map(Into::into))
    };
    let identity = match (file(&cert)?, file(&key)?) {
        (Some(cert), Some(key)) => Some(ClientIdentity { cert, key }),
        (None, None) => None,
        (Some(_), None) => {
            return require_both(config, &cert, &key, earlier_errors).map(|()| TlsFiles::default());
        }
        (None, Some(_)) => {
            return require_both(config, &key, &cert, earlier_errors).map(|()| TlsFiles::default());
        }
    };
    Ok(TlsFiles { ca: file(&ca)?, identity })
}

/// Returns an error for each file that is named although the connection does not use TLS.
pub(super) fn reject_tls_files(
    config: &MergedConfig,
    section: &str,
    reason: &'static str,
) -> Result<(), Vec<SettingsError>> {
    let keys = ["ca", "cert", "key"].map(|name| format!("{section}.{name}"));
    let error = |path: &String| {
        combination_error(config, path, SettingsErrorKind::UnusedTlsFile { reason })
    };
    let errors: Vec<_> = keys.iter().filter(|path| config.is_set(path)).map(error).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Reads the keys `etcd.username`, `etcd.password` and `etcd.passwordFile`.
pub(super) fn credentials(
    config: &MergedConfig,
    earlier_errors: &[SettingsError],
) -> Result<Option<Credentials>, Vec<SettingsError>> {
    const USERNAME: &str = "etcd.username";
    const PASSWORD: &str = "etcd.password";
    const PASSWORD_FILE: &str = "etcd.passwordFile";
    let text = |path: &str| read(path, |path| config.text_if_set(path));
    let password = match (text(PASSWORD)?, text(PASSWORD_FILE)?) {
        (Some(_), Some(_)) => {
            let kind = SettingsErrorKind::Exclusive { other: PASSWORD };
            return Err(vec![combination_error(config, PASSWORD_FILE, kind)]);
        }
        (Some(secret), None) => Some((PASSWORD, SecretSource::Inline(Secret::new(secret)))),
        (None, Some(path)) => Some((PASSWORD_FILE, SecretSource::File(path.into()))),
        (None, None) => None,
    };
    match (text(USERNAME)?, password) {
        (Some(username), Some((_, password))) => Ok(Some(Credentials { username, password })),
        (None, None) => Ok(None),
        (None, Some((path, _))) => {
            require_both(config, path, USERNAME, earlier_errors).map(|()| None)
        }
        (Some(_), None)
            if has_error(PASSWORD, earlier_errors) || has_error(PASSWORD_FILE, earlier_errors) =>
        {
            Ok(None)
        }
        (Some(_), None) => {
            let kind = SettingsErrorKind::MissingOneOf { missing: &[PASSWORD, PASSWORD_FILE] };
            Err(vec![combination_error(config, USERNAME, kind)])
        }
    }
}

/// Returns the error of `path`, which is set without `missing`, unless `missing` has an error
/// itself.
fn require_both(
    config: &MergedConfig,
    path: &str,
    missing: &str,
    earlier_errors: &[SettingsError],
) -> Result<(), Vec<SettingsError>> {
    if has_error(missing, earlier_errors) {
        return Ok(());
    }
    let kind = SettingsErrorKind::MissingKey { missing: missing.to_owned() };
    Err(vec![combination_error(config, path, kind)])
}
