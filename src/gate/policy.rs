//! How fast held requests are let go.

use core::time::Duration;

/// The fastest pace that can be asked for, in requests per second.
pub const MAX_RATE: u32 = 1_000_000;

/// The largest burst and the largest concurrency that can be asked for.
pub const MAX_COUNT: u32 = 1_000_000;

/// An app's release policy. All fields are plain numbers, as they live in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Requests per second, 0 for no limit.
    pub rate: u32,
    /// The most that are let go at the same instant under a rate, 0 for one that suits the rate.
    pub burst: u32,
    /// Released requests in flight at most, 0 for no limit.
    pub concurrency: u32,
    /// The longest that a release may take, in milliseconds; then the rest goes at once.
    pub timeout_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { rate: 0, burst: 0, concurrency: 0, timeout_ms: 60_000 }
    }
}

impl Policy {
    /// The policy of a release whose time has run out: no limit but the order.
    pub fn at_once() -> Self {
        Self { rate: 0, burst: 0, concurrency: 0, ..Self::default() }
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// The most that may be let go at one instant: what was asked for, else what falls due while
    /// a busy event loop turns once (10 ms).
    pub fn effective_burst(&self) -> u32 {
        if self.burst > 0 { self.burst } else { (self.rate / 100).max(1) }
    }

    /// The smallest burst with which `rate` can be kept: timers fire once in a millisecond.
    pub fn least_burst(rate: u32) -> u32 {
        rate.div_ceil(1000)
    }
}
