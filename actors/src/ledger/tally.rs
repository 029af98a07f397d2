//! How many records stand how.

use super::Ledger;
use super::entry::Held;

/// How many wanted records stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// In the store, by our doing.
    pub live: usize,
    /// To be written.
    pub pending: usize,
    /// Another holds the key.
    pub standby: usize,
    /// The store won't take them.
    pub failed: usize,
}

impl Ledger {
    /// As [`Ledger::report`] has them, counted only.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for entry in self.entries.values() {
            let Some((holder, others)) = entry.claims.split_first() else { continue };
            tally.standby += others.len();
            match (&entry.held, &entry.trouble) {
                (Held::Foreign { .. }, _) => tally.standby += 1,
                (_, Some(_)) => tally.failed += 1,
                (Held::Ours { value, .. }, None) if *value == holder.json => tally.live += 1,
                _ => tally.pending += 1,
            }
        }
        tally
    }
}
