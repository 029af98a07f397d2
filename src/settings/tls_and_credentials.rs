//! Certificates and credentials: keys that make sense together only.

use super::error::SettingsError;
use super::lookup::read;
use super::merged::MergedConfig;
use crate::credentials::secret::{Credentials, Secret, SecretSource};
use crate::settings::lookup::{combination_error, has_error};
use crate::tls::{ClientIdentity, TlsFiles};

/// The keys `<section>.ca`, `.cert` and `.key`. `earlier_errors` are the faults found so
/// far: what is wrong with one key is not told a second time as lacking beside
/// another.
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

/// The fault of files that are named where TLS is not spoken.
pub(super) fn refuse_files(
    config: &MergedConfig,
    section: &str,
    why: &str,
) -> Result<(), Vec<SettingsError>> {
    let keys = ["ca", "cert", "key"].map(|name| format!("{section}.{name}"));
    let named: Vec<_> = keys.iter().filter(|path| config.is_set(path)).collect();
    let errors: Vec<_> = named
        .into_iter()
        .map(|path| combination_error(config, path, format!("set, but {why}")))
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The keys `etcd.username`, `etcd.password` and `etcd.passwordFile`.
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
            let message = format!("set beside {PASSWORD}; takes one of the two");
            return Err(vec![combination_error(config, PASSWORD_FILE, message)]);
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
            let message =
                format!("set without {PASSWORD} or {PASSWORD_FILE}; takes one of them beside it");
            Err(vec![combination_error(config, USERNAME, message)])
        }
    }
}

/// The fault of a key that is set without another.
fn require_both(
    config: &MergedConfig,
    path: &str,
    other: &str,
    earlier_errors: &[SettingsError],
) -> Result<(), Vec<SettingsError>> {
    if has_error(other, earlier_errors) {
        Ok(())
    } else {
        Err(vec![combination_error(
            config,
            path,
            format!("set without {other}; takes both or neither"),
        )])
    }
}
