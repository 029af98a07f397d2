//! Counts of configuration reloads.

use std::time::SystemTime;

/// What came of the requests to read the configuration again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    /// Those after which what was read was in force.
    pub ok: u64,
    /// Those that changed nothing, because of what was read.
    pub refused: u64,
    /// When the last of the first came into force.
    pub last_success: Option<SystemTime>,
}
