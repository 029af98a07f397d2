//! Detects that a file has changed since it was read.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The version of a file, from its metadata. Two versions are equal if the file was not written,
/// replaced or removed in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion(Option<[i128; 5]>);

impl FileVersion {
    /// Returns the current version of the file at the path, following links.
    pub fn read(path: &Path) -> Self {
        Self(std::fs::metadata(path).ok().as_ref().map(version_fields))
    }
}

fn version_fields(file: &Metadata) -> [i128; 5] {
    [
        file.dev().into(),
        file.ino().into(),
        file.size().into(),
        i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec()),
        // A file that is moved into place keeps its modification time, and may have the same size
        // as the old file.
        i128::from(file.ctime()) * 1_000_000_000 + i128::from(file.ctime_nsec()),
    ]
}
