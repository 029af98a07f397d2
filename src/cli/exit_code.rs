//! The exit codes of the program, from sysexits.h (deploy/README.md, "Exit codes").

/// `highhock status`: the daemon responds but is not ready. Container engines show the container as
/// unhealthy.
pub const NOT_READY: u8 = 1;
/// The command line is invalid (EX_USAGE).
pub const USAGE: u8 = 64;
/// A required server or resource is unavailable (EX_UNAVAILABLE).
pub const UNAVAILABLE: u8 = 69;
/// An actor used up its restarts (EX_SOFTWARE).
pub const SOFTWARE: u8 = 70;
/// The configuration is invalid (EX_CONFIG).
pub const CONFIG: u8 = 78;
