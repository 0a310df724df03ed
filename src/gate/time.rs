//! The clock of the gate: it never looks at one, it is told the time.

use core::time::Duration;

/// A moment on the machine's monotonic clock, in microseconds.
///
/// All processes of a machine share that clock, so a moment written by one worker means the same
/// to every other. Setting the time of day does not move it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Moment(u64);

impl Moment {
    /// Stands for "no such moment" in shared memory: later than all others.
    pub const NEVER: Self = Self(u64::MAX);

    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    pub const fn as_micros(self) -> u64 {
        self.0
    }

    pub fn is_never(self) -> bool {
        self == Self::NEVER
    }

    /// The moment `after` this one; [`Moment::NEVER`] where that cannot be represented.
    pub fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(micros(after)))
    }

    /// The time from `earlier` to this moment, or zero if that lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in whole microseconds, at most `u64::MAX` (584,000 years).
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
