//! The limit from which the withdrawal of many records at once needs a confirmation.

/// From so many records on, a listing that would have more than half of them withdrawn is
/// confirmed by another.
const GUARDED_FROM: usize = 10;

/// Whether so many of all records are so many that their withdrawal is to be confirmed.
pub(crate) fn are_most(records: usize, of: usize) -> bool {
    of >= GUARDED_FROM && records * 2 > of
}
