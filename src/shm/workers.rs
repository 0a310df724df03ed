//! Who is there: the processes in nginx's slots, and whether they still run.

use core::cell::Cell;
use core::time::Duration;

use super::layout::WorkerSlot;
use crate::gate::time::Moment;

/// How often a worker that exits, and holds requests, looks at least.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// For how long nobody who stays must be missing until that is taken for the end of nginx. A master
/// replaces who was killed at once, and a reload starts the new workers before it tells the old
/// ones: on a busy machine that may take a second.
const ABANDONED: Duration = Duration::from_secs(5);

/// For how long a worker that exits has seen nobody who stays, at each of its looks.
#[derive(Debug, Default)]
pub struct Watch {
    looked: Cell<Option<Moment>>,
    alone: Cell<Duration>,
}

impl Watch {
    /// Notes what is seen now; whether nobody came for long enough.
    pub fn look(&self, now: Moment, alone: bool) -> bool {
        if !alone {
            self.looked.set(None);
            self.alone.set(Duration::ZERO);
            return false;
        }
        // Who was stopped between two looks, perhaps with all of nginx, has not watched meanwhile.
        let watched = |looked| now.since(looked).min(WATCH_INTERVAL);
        let more = self.looked.replace(Some(now)).map_or(Duration::ZERO, watched);
        self.alone.set(self.alone.get() + more);
        self.alone.get() >= ABANDONED
    }
}

/// A process, told from others that have its id after its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// When it started, see [`start_of`]; 0 if that is not known.
    pub started: u32,
}

impl Process {
    fn of_bits(bits: u64) -> Self {
        let [pid, started] = [bits >> 32, bits & u64::from(u32::MAX)];
        let half = |half| u32::try_from(half).unwrap_or_default();
        Self { pid: half(pid), started: half(started) }
    }

    fn bits(self) -> u64 {
        u64::from(self.pid) << 32 | u64::from(self.started)
    }
}

/// When a process started, in ticks since the system did (the lower half of them), by what Linux
/// says in `/proc/PID/stat`. 0 for one that has ended, and whose parent does not know that yet.
pub fn start_of(stat: &[u8]) -> Option<u32> {
    let mut fields = fields_of(stat)?;
    if matches!(fields.next()?, "Z" | "X") {
        return Some(0);
    }
    let ticks = fields.nth(18)?.parse::<u64>().ok()?;
    u32::try_from(ticks & u64::from(u32::MAX)).ok()
}

/// The parent of a process, by what Linux says in `/proc/PID/stat`.
pub fn parent_in(stat: &[u8]) -> Option<u32> {
    fields_of(stat)?.nth(1)?.parse().ok()
}

/// What stands behind the name, which is in brackets and can be anything.
fn fields_of(stat: &[u8]) -> Option<impl Iterator<Item = &str>> {
    let behind_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = core::str::from_utf8(stat.get(behind_name + 1..)?).ok()?;
    Some(rest.split_ascii_whitespace())
}

/// What it takes to tell the living from the dead.
#[derive(Clone, Copy, Debug)]
pub struct Liveness {
    pub now: Moment,
    /// For how long a worker that holds requests keeps its turn without a sign of life, unless it
    /// shows so few of them that four would take longer.
    pub lease: Duration,
    /// Whether there is a process with this id.
    pub exists: fn(u32) -> bool,
    /// When the process with this id started, as [`start_of`] says it; `None` if that cannot be told.
    pub started: fn(u32) -> Option<u32>,
}

impl WorkerSlot {
    pub fn beat(&self, now: Moment, interval: Duration) {
        // In this order: with a shorter interval than before, what it showed last may be long ago.
        self.beat.set(now.as_micros());
        self.interval.set(u32::try_from(interval.as_millis()).unwrap_or(u32::MAX));
    }

    pub fn enter(&self, process: Process) {
        self.process.set(process.bits());
    }

    pub fn leave(&self) {
        self.process.set(0);
    }

    pub fn is_taken(&self) -> bool {
        self.process.get() != 0
    }

    /// Whether a worker is here. One that was killed and not replaced leaves its id behind, which
    /// another process may have by now.
    pub fn lives(&self, liveness: &Liveness) -> bool {
        let bits = self.process.get();
        let process = Process::of_bits(bits);
        if process.pid == 0 || !(liveness.exists)(process.pid) {
            return false;
        }
        let is_another = self.is_another(process, liveness);
        if is_another {
            // Unless the next worker has come meanwhile, nobody is here.
            self.process.change(bits, 0);
        }
        !is_another
    }

    /// Whether a worker is here that was not told to exit.
    pub fn stays(&self, liveness: &Liveness) -> bool {
        self.exiting.get() == 0 && self.lives(liveness)
    }

    /// Whether the process is not the one that came here. That costs more to find out than whether
    /// there is one, so it is done once a lease for all workers together, and not for one that has
    /// just shown itself.
    fn is_another(&self, process: Process, liveness: &Liveness) -> bool {
        let seen = self.checked.get().max(self.beat.get());
        if process.started == 0 || liveness.now.since(Moment::from_micros(seen)) <= liveness.lease {
            return false;
        }
        let started = (liveness.started)(process.pid);
        if started.is_some_and(|started| started != process.started) {
            return true;
        }
        self.checked.set(liveness.now.as_micros());
        false
    }

    /// Whether the others wait for this worker to release what it holds before they go on. One that
    /// was stopped, or hangs, is passed by.
    pub fn keeps_its_turn(&self, liveness: &Liveness) -> bool {
        let beat = Moment::from_micros(self.beat.get());
        let four = Duration::from_millis(4 * u64::from(self.interval.get()));
        liveness.now.since(beat) <= liveness.lease.max(four)
    }
}
