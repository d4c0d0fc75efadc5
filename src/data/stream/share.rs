//! Which rows of a cache are trained on and which are held out.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::data::kept::KeptRows;

/// Which rows of a cache are visited. Whether a row is held out depends on the seed and its number alone, each with the
/// same probability, so that rows for training and for validation are two views of one cache.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Share {
    /// All.
    All,
    /// All but those held out.
    Training {
        /// The fraction held out, between 0 and 1.
        held_out: f64,
        /// The seed.
        seed: u64,
    },
    /// Those held out.
    Validation {
        /// Their fraction, between 0 and 1.
        held_out: f64,
        /// The seed.
        seed: u64,
    },
}

impl Share {
    /// Whether it has this row.
    pub(super) fn has(self, row: usize) -> bool {
        match self {
            Share::All => true,
            Share::Training { held_out, seed } => !is_held_out(row, held_out, seed),
            Share::Validation { held_out, seed } => is_held_out(row, held_out, seed),
        }
    }

    /// Those of `rows` rows from `first` on that it has, counted from there.
    pub(super) fn of_chunk(self, first: usize, rows: usize) -> KeptRows {
        match self {
            Share::All => KeptRows::Range(0..rows),
            _ => KeptRows::These((0..rows as u32).filter(|&row| self.has(first + row as usize)).collect()),
        }
    }
}

fn is_held_out(row: usize, fraction: f64, seed: u64) -> bool {
    let random = xxh3_64_with_seed(&(row as u64).to_le_bytes(), seed);
    // The upper 53 bits as a number from 0 to 1.
    ((random >> 11) as f64) < fraction * (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_trained_on_or_held_out() {
        let (held_out, seed) = (0.2, 7);
        let count = |share: Share| (0..10_000).filter(|&row| share.has(row)).count();
        let validation = count(Share::Validation { held_out, seed });
        assert_eq!(count(Share::Training { held_out, seed }), 10_000 - validation);
        assert!((1850..2150).contains(&validation), "{validation}");
        let other = |row: &usize| Share::Validation { held_out, seed: 8 }.has(*row);
        let both = (0..10_000).filter(|row| Share::Validation { held_out, seed }.has(*row)).filter(other).count();
        assert!((300..500).contains(&both), "{both}");
    }
}
