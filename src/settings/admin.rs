//! Where the daemon shows its state, and to whom.

use std::net::SocketAddr;

use super::error::SettingsError;
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
    /// Where metrics, state and the status page are served; `None`: nowhere. An address
    /// beyond loopback only with a token, or with `allow_remote`.
    pub listen: Option<SocketAddr>,
    /// Where the token is that every question must bear; `None`: none is asked for.
    pub token: Option<SecretSource>,
    /// Whether everybody who can connect may read, even without a token. The settings
    /// are shown to nobody then.
    pub allow_remote: bool,
}

/// The keys `admin.*`. `earlier_errors` are the faults found so far: a token among them was at
/// least meant.
pub(super) fn admin(
    config: &MergedConfig,
    earlier_errors: &[SettingsError],
) -> Result<Admin, Vec<SettingsError>> {
    let listen = parsed(config, LISTEN, admin_listen)?;
    let allow_remote = read(ALLOW_REMOTE, |path| config.boolean(path))?;
    let text = |path: &str| read(path, |path| config.text_if_set(path));
    let token = match (text(TOKEN)?, text(TOKEN_FILE)?) {
        (Some(_), Some(_)) => {
            let message = format!("set beside {TOKEN}; takes one of the two");
            return Err(vec![combination_error(config, TOKEN_FILE, message)]);
        }
        (Some(token), None) => Some(SecretSource::Inline(Secret::new(token))),
        (None, Some(path)) => Some(SecretSource::File(path.into())),
        (None, None) => None,
    };
    let has_access_error =
        [TOKEN, TOKEN_FILE, ALLOW_REMOTE].iter().any(|path| has_error(path, earlier_errors));
    if let Some(address) = listen.filter(|address| !address.ip().is_loopback())
        && !(allow_remote || token.is_some() || has_access_error)
    {
        let message = format!(
            "{address} can be reached from elsewhere; takes an address of loopback, as \
             127.0.0.1:9465, or {TOKEN}, {TOKEN_FILE} or {ALLOW_REMOTE} beside it"
        );
        return Err(vec![combination_error(config, LISTEN, message)]);
    }
    Ok(Admin { listen, token, allow_remote })
}
