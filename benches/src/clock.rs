//! One clock for all processes of a measurement.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the monotonic clock, which every process of the machine reads alike.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

pub fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}
