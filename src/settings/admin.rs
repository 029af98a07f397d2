//! The settings of the admin interface.

use std::net::SocketAddr;

use super::error::{SettingsError, SettingsErrorKind};
use super::listen_values::admin_listen;
use super::lookup::{combination_error, has_error, parsed, read};
use super::merged::MergedConfig;
use crate::credentials::secret::{Secret, SecretSource};

const LISTEN: &str = "admin.listen";
const TOKEN: &str = "admin.token";
const TOKEN_FILE: &str = "admin.tokenFile";
const ALLOW_REMOTE: &str = "admin.allowRemote";

/// The keys `admin.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The address of metrics, state and status page; `None` if they are not served. An address
    /// beyond loopback needs a token or `allow_remote`.
    pub listen: Option<SocketAddr>,
    /// The source of the token that every request must carry; `None` if no token is required.
    pub token: Option<SecretSource>,
    /// `true` if every client that can connect may read, even without a token. The settings are
    /// then shown to no client.
    pub allow_remote: bool,
}

/// Reads the keys `admin.*`, and checks that a remote address is protected.
///
/// `earlier_errors` are the errors found so far. If one of them concerns the token, a token was
/// at least intended, and its absence is not reported as a second error.
pub(super) fn admin(
    config: &MergedConfig,
    earlier_errors: &[SettingsError],
) -> Result<Admin, Vec<SettingsError>> {
    let admin = read_admin(config)?;
    let has_access_error =
        [TOKEN, TOKEN_FILE, ALLOW_REMOTE].iter().any(|path| has_error(path, earlier_errors));
    if let Some(address) = admin.listen.filter(|address| !address.ip().is_loopback())
        && !(admin.allow_remote || admin.token.is_some() || has_access_error)
    {
        let kind = SettingsErrorKind::UnprotectedAdmin { address };
        return Err(vec![combination_error(config, LISTEN, kind)]);
    }
    Ok(admin)
}

/// Reads the keys `admin.*`.
pub(super) fn read_admin(config: &MergedConfig) -> Result<Admin, Vec<SettingsError>> {
    let listen = parsed(config, LISTEN, admin_listen)?;
    let allow_remote = read(ALLOW_REMOTE, |path| config.boolean(path))?;
    let text = |path: &str| read(path, |path| config.text_if_set(path));
    let token = match (text(TOKEN)?, text(TOKEN_FILE)?) {
        (Some(_), Some(_)) => {
            let kind = SettingsErrorKind::Exclusive { other: TOKEN };
            return Err(vec![combination_error(config, TOKEN_FILE, kind)]);
        }
        (Some(token), None) => Some(SecretSource::Inline(Secret::new(token))),
        (None, Some(path)) => Some(SecretSource::File(path.into())),
        (None, None) => None,
    };
    Ok(Admin { listen, token, allow_remote })
}
