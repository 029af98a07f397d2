//! Secrets and the files that hold them.

pub mod file_version;
pub mod secret;
pub(crate) mod secret_file;
