//! [`RunError`]: the reasons for which the daemon ends by itself.

use crate::admin::TokenError;
use crate::cli::exit_code;
use crate::dns::DnsError;
use crate::resolve::ResolveError;
use crate::tls::TlsFileError;

/// An error that ends the daemon.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The settings cannot be resolved, and another attempt would not help.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A TLS file for Docker is unusable.
    #[error(transparent)]
    Docker(#[from] TlsFileError),
    /// The DNS server cannot start with these settings.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// The token file of the admin interface is unusable.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// An actor used up its restarts.
    #[error("{0} failed five times in a minute: see the log for its panics, and report them")]
    Exhausted(&'static str),
}

impl RunError {
    /// Returns the exit code of a daemon that ended with this error.
    ///
    /// Errors of the configuration have their own code, because systemd must not restart the
    /// daemon after them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Resolve(error) if error.is_misconfiguration() => exit_code::CONFIG,
            Self::Docker(_)
            | Self::Token(_)
            | Self::Dns(
                DnsError::PermissionDenied(_) | DnsError::ForwardsToItself(_) | DnsError::Domain(_),
            ) => exit_code::CONFIG,
            Self::Resolve(_) | Self::Dns(_) => exit_code::UNAVAILABLE,
            Self::Exhausted(_) => exit_code::SOFTWARE,
        }
    }
}
