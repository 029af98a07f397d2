//! Which highhock this is.

/// The version, as `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from, short; `None`: it was not built from one, and the
/// builder named none.
pub const COMMIT: Option<&str> = option_env!("HIGHHOCK_COMMIT");

/// Both, as `0.1.0 (1a2b3c4)`.
pub fn with_commit() -> String {
    match COMMIT.filter(|commit| !commit.is_empty()) {
        Some(commit) => format!("{VERSION} ({commit})"),
        None => VERSION.to_owned(),
    }
}
