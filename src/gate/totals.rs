//! What became of an app's requests since the app is known.

use core::time::Duration;

use super::time::micros;

/// How many requests came to which end. `held` is how many were ever held; each of them is, or
/// will be, in exactly one of `released`, `timed_out`, `aborted` and `rejected`.
///
/// `rejected` also counts who was never held, and `bypassed` and `abandoned` have nothing to do with
/// being held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Totals {
    pub held: u64,
    pub released: u64,
    pub timed_out: u64,
    pub aborted: u64,
    pub rejected: u64,
    pub bypassed: u64,
    /// Requests that had gone through and ended before the backend's answer was complete: it may
    /// still be working on them.
    pub abandoned: u64,
}

/// The upper bounds of [`Waits`]' buckets, in milliseconds; the last bucket has none.
pub const BOUNDS_MS: [u64; 12] =
    [10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000];

/// A histogram of how long requests were held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Waits {
    /// How many waited no longer than the bound of the same index, but longer than the one before.
    pub buckets: [u64; BOUNDS_MS.len() + 1],
    pub sum_micros: u64,
}

impl Waits {
    pub fn record(&mut self, wait: Duration) {
        let millis = wait.as_millis();
        let index = BOUNDS_MS.partition_point(|bound| u128::from(*bound) < millis);
        if let Some(bucket) = self.buckets.get_mut(index) {
            *bucket += 1;
        }
        self.sum_micros = self.sum_micros.saturating_add(micros(wait));
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_falls_in_the_first_bucket_that_bounds_it() {
        let mut waits = Waits::default();
        for millis in [0, 10, 11, 300_000, 300_001] {
            waits.record(Duration::from_millis(millis));
        }
        assert_eq!((waits.buckets[0], waits.buckets[1]), (2, 1));
        assert_eq!((waits.buckets[11], waits.buckets[12]), (1, 1));
        assert_eq!((waits.count(), waits.sum_micros), (5, 600_022_000));
    }
}
