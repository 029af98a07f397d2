//! The limit above which the withdrawal of many records needs a confirmation.

/// The least number of records for which a withdrawal can be a mass withdrawal.
const MASS_WITHDRAWAL_MIN_RECORDS: usize = 10;

/// Returns `true` if a second listing has to confirm the withdrawal of `affected` of `total`
/// records (ARCHITECTURE.md, "Suspect listings").
pub(crate) fn is_mass_withdrawal(affected: usize, total: usize) -> bool {
    total >= MASS_WITHDRAWAL_MIN_RECORDS && affected * 2 > total
}
