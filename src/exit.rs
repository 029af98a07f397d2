//! The exit statuses of the program: sysexits.h's, as its supervisor knows them.

/// The command line is not understood (EX_USAGE).
pub const USAGE: u8 = 64;
/// Something that can't be done without isn't there (EX_UNAVAILABLE).
pub const UNAVAILABLE: u8 = 69;
/// The program failed, and failed again (EX_SOFTWARE).
pub const SOFTWARE: u8 = 70;
/// The configuration has faults (EX_CONFIG).
pub const CONFIG: u8 = 78;
