//! Timestamps of the wall clock as text.

use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// Formats a time by RFC 3339, in UTC. It always has three digits for the fraction of a second, so
/// that the texts of two times sort like the times.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    const MILLISECONDS: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::from(time).format(MILLISECONDS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn formats_milliseconds() {
        let time = UNIX_EPOCH + Duration::from_millis(1_000_000_000_120);
        assert_eq!(rfc3339(time), "2001-09-09T01:46:40.120Z");
    }
}
