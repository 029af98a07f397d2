//! The limit from which the withdrawal of many records at once needs a confirmation.

/// From so many records on, a listing that would have more than half of them withdrawn is
/// confirmed by another.
const MASS_WITHDRAWAL_MIN_RECORDS: usize = 10;

/// Whether so many of all records are so many that their withdrawal is to be confirmed.
pub(crate) fn is_mass_withdrawal(affected: usize, total: usize) -> bool {
    total >= MASS_WITHDRAWAL_MIN_RECORDS && affected * 2 > total
}
