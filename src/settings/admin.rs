//! Where the daemon shows its state, and to whom.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::error::Fault;
use super::merged::Inputs;
use super::tls_and_credentials::{fault, is_faulty};
use super::validate::{parsed, read};
use super::values::Rejection;
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
    let listen = parsed(inputs, LISTEN, listen)?;
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

/// Reads an address with its port; nothing: nowhere.
pub(super) fn listen(text: &str) -> Result<Option<SocketAddr>, Rejection> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let address = match text.strip_prefix("localhost:") {
        Some(port) => {
            port.parse().ok().map(|port| (IpAddr::from(Ipv4Addr::LOCALHOST), port).into())
        }
        None => text.parse().ok(),
    };
    let because = |what: &str| Err(Rejection::Unfit(Some(what.to_owned())));
    match address {
        Some(address) if SocketAddr::port(&address) == 0 => because("port 0 is no port to ask at"),
        Some(address) => Ok(Some(address)),
        None if text.starts_with(':') => because("it names no address"),
        None => Err(Rejection::Unfit(None)),
    }
}

/// Whether a text can be sent as a bearer token: it stands in a header, on one line.
pub(super) fn token(text: &str) -> Result<(), Rejection> {
    match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(Rejection::Unfit(None)),
    }
}
