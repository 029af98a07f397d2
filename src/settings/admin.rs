//! Where the daemon shows its state, and to whom.

use std::net::SocketAddr;

use super::error::Fault;
use super::listen_values::admin_listen;
use super::lookup::{fault, is_faulty, parsed, read};
use super::merged::Inputs;
use crate::credentials::secret::{Password, Secret};

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
    pub token: Option<Password>,
    /// Whether everybody who can connect may read, even without a token. The settings
    /// are shown to nobody then.
    pub allow_remote: bool,
}

/// The keys `admin.*`. `others` are the faults found so far: a token among them was at
/// least meant.
pub(super) fn admin(inputs: &Inputs, others: &[Fault]) -> Result<Admin, Vec<Fault>> {
    let listen = parsed(inputs, LISTEN, admin_listen)?;
    let allow_remote = read(ALLOW_REMOTE, |path| inputs.truth(path))?;
    let text = |path: &str| read(path, |path| inputs.text_if_set(path));
    let token = match (text(TOKEN)?, text(TOKEN_FILE)?) {
        (Some(_), Some(_)) => {
            let what = format!("set beside {TOKEN}; takes one of the two");
            return Err(vec![fault(inputs, TOKEN_FILE, what)]);
        }
        (Some(token), None) => Some(Password::Given(Secret::new(token))),
        (None, Some(path)) => Some(Password::File(path.into())),
        (None, None) => None,
    };
    let meant = [TOKEN, TOKEN_FILE, ALLOW_REMOTE].iter().any(|path| is_faulty(path, others));
    if let Some(address) = listen.filter(|address| !address.ip().is_loopback())
        && !(allow_remote || token.is_some() || meant)
    {
        let what = format!(
            "{address} can be reached from elsewhere; takes an address of loopback, as \
             127.0.0.1:9465, or {TOKEN}, {TOKEN_FILE} or {ALLOW_REMOTE} beside it"
        );
        return Err(vec![fault(inputs, LISTEN, what)]);
    }
    Ok(Admin { listen, token, allow_remote })
}
