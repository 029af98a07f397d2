//! The exit statuses of the program: sysexits.h's, as its supervisor knows them.

/// The running daemon answers, and not all is as it should be with it. Container engines
/// take it for "unhealthy".
pub const NOT_READY: u8 = 1;
/// The command line is not understood (EX_USAGE).
pub const USAGE: u8 = 64;
/// Something that can't be done without isn't there (EX_UNAVAILABLE).
pub const UNAVAILABLE: u8 = 69;
/// The program failed, and failed again (EX_SOFTWARE).
pub const SOFTWARE: u8 = 70;
/// The configuration has faults (EX_CONFIG).
pub const CONFIG: u8 = 78;
