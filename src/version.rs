//! The version of this program.

/// The version, such as `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The abbreviated commit of the build; `None` if the program was built outside of a git clone and
/// without `HIGHHOCK_COMMIT`.
pub const COMMIT: Option<&str> = option_env!("HIGHHOCK_COMMIT");

/// Returns the version with the commit: `0.1.0 (1a2b3c4)`.
pub fn with_commit() -> String {
    match COMMIT.filter(|commit| !commit.is_empty()) {
        Some(commit) => format!("{VERSION} ({commit})"),
        None => VERSION.to_owned(),
    }
}
