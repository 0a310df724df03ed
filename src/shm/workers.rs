//! Who is there: the processes in nginx's slots, and whether they still run.

use core::sync::atomic::Ordering::SeqCst;
use core::time::Duration;

use super::layout::WorkerSlot;
use crate::gate::time::Moment;

/// What it takes to tell the living from the dead.
#[derive(Clone, Copy, Debug)]
pub struct Liveness {
    pub now: Moment,
    /// For how long a worker that holds requests keeps its turn without a sign of life, unless it
    /// shows so few of them that four would take longer.
    pub lease: Duration,
    /// Whether there is a process with this id.
    pub exists: fn(u32) -> bool,
}

impl WorkerSlot {
    pub fn beat(&self, now: Moment, interval: Duration) {
        self.interval.store(u32::try_from(interval.as_millis()).unwrap_or(u32::MAX), SeqCst);
        self.beat.store(now.as_micros(), SeqCst);
    }

    /// Whether a worker is here. One that was killed and not replaced leaves its id behind.
    pub fn lives(&self, liveness: &Liveness) -> bool {
        let pid = self.pid.load(SeqCst);
        pid != 0 && (liveness.exists)(pid)
    }

    /// Whether a worker is here that was not told to exit.
    pub fn stays(&self, exists: fn(u32) -> bool) -> bool {
        let pid = self.pid.load(SeqCst);
        pid != 0 && self.exiting.load(SeqCst) == 0 && exists(pid)
    }

    /// Whether the others wait for this worker to release what it holds before they go on. One that
    /// was stopped, or hangs, is passed by.
    pub fn keeps_its_turn(&self, liveness: &Liveness) -> bool {
        let beat = Moment::from_micros(self.beat.load(SeqCst));
        let four = Duration::from_millis(4 * u64::from(self.interval.load(SeqCst)));
        liveness.now.since(beat) <= liveness.lease.max(four)
    }
}
