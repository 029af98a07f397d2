//! Whether a file has changed since it was read.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What tells one state of a file from another, without a look into it. Equal for
/// as long as the file is neither written to nor replaced, nor removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion(Option<[i128; 5]>);

impl FileVersion {
    /// The state of the file that the path leads to now, through links.
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
        // A file moved into place keeps its time of change, and may have the same
        // size as the old one.
        i128::from(file.ctime()) * 1_000_000_000 + i128::from(file.ctime_nsec()),
    ]
}
