//! Counts of configuration reloads.

use std::time::SystemTime;

/// The results of all reloads of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    /// The number of reloads that were applied.
    pub ok: u64,
    /// The number of reloads that were rejected because of an invalid configuration.
    pub refused: u64,
    /// The time of the last reload that was applied.
    pub last_success: Option<SystemTime>,
}
