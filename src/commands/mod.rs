//! The commands of the program except `run`, one file each.

use std::fmt::Display;
use std::io::{self, Write};

use crate::cli::exit_code;
use crate::resolve::ResolveError;
use crate::text::escape::escape_controls;

pub mod actors;
pub mod check;
pub(crate) mod check_docker;
mod check_etcd;
pub(crate) mod check_forward;
pub(crate) mod check_verdict;
pub mod explain;
pub mod records;
pub mod status;

/// An error that ends a command, with the exit code of the program.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    /// One of [`exit_code`].
    pub exit_code: u8,
    /// The cause and a remedy, for standard error.
    pub message: String,
}

impl CommandError {
    /// A server or a resource that the command needs is unavailable.
    fn unavailable(cause: impl Display) -> Self {
        Self { exit_code: exit_code::UNAVAILABLE, message: cause.to_string() }
    }

    /// The settings are unusable.
    fn config(cause: impl Display) -> Self {
        Self { exit_code: exit_code::CONFIG, message: cause.to_string() }
    }
}

impl From<ResolveError> for CommandError {
    fn from(error: ResolveError) -> Self {
        if error.is_misconfiguration() { Self::config(error) } else { Self::unavailable(error) }
    }
}

/// Prints text to standard output.
fn print(text: &str) -> Result<(), CommandError> {
    io::stdout().write_all(text.as_bytes()).map_err(output_error)
}

/// Prints text to standard output, with control characters escaped, because parts of the text come
/// from containers.
fn print_escaped(text: &[u8]) -> Result<(), CommandError> {
    print(&escape_controls(&String::from_utf8_lossy(text)))
}

fn output_error(error: io::Error) -> CommandError {
    CommandError::unavailable(format!("writing to standard output: {error}"))
}
