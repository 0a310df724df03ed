//! Callers whose answer waits: for a quiet backend, or for a canary's verdict.
//!
//! A caller that waits costs nothing. Whoever lets the last request end looks whether somebody
//! waits for it, and rings; so does whoever changes an app's state.

use core::time::Duration;

use super::Worker;
use super::calls::SEARCH;
use super::host::Host;
use crate::gate::Gate;
use crate::gate::canary::Canary;
use crate::gate::lane::Count;
use crate::gate::time::Moment;
use crate::shm::{AppId, Entry, Full};

/// How often a drain looks whether processes are gone whose requests nobody counts.
const UNCOUNTED_INTERVAL: Duration = Duration::from_millis(250);

/// What a caller waits for.
#[derive(Clone, Copy, Debug)]
pub enum Awaited {
    /// That nothing is in flight any more, and that nothing was abandoned for as long as it takes to
    /// `settle`, while this pause lasts.
    Quiet { pause: u64, settle: Option<Duration> },
    /// What becomes of this canary.
    Verdict { canary: u64 },
}

/// What became of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Quiet,
    /// Another call ended the pause.
    Overtaken,
    Verdict(Canary),
    /// Another call ended the canary.
    NoVerdict,
}

impl<H: Host> Worker<H> {
    /// Begins to wait. Whoever ends the last request counts it off and then looks for callers; a caller
    /// makes itself known and then looks at the count.
    pub fn begin_to_wait(&self, app: AppId) -> Result<Entry, Full> {
        let entry = self.zone.lock().entry(app, self.slot, SEARCH)?;
        entry.lane.add(Count::Waiting);
        Ok(entry)
    }

    pub fn stop_waiting(&self, entry: &Entry) {
        entry.lane.sub(Count::Waiting);
    }

    /// What came of what a caller waits for, if it has come, or can come no more.
    pub fn find(&self, app: AppId, awaited: Awaited) -> Option<Found> {
        self.serve(app);
        let gate = self.zone.lock().gate(app).cloned()?;
        match awaited {
            Awaited::Quiet { pause, .. } if !gate.is_in_pause(pause) => Some(Found::Overtaken),
            Awaited::Quiet { settle, .. } => {
                self.is_quiet(app, &gate, settle).then_some(Found::Quiet)
            }
            Awaited::Verdict { canary } if gate.judged == canary => {
                Some(Found::Verdict(gate.last_canary))
            }
            Awaited::Verdict { canary } => {
                let under_way = gate.canaries == canary && gate.canary().is_some();
                (!under_way).then_some(Found::NoVerdict)
            }
        }
    }

    /// Whether nothing is known to be at work, and nobody is there of whom that is not known.
    fn is_quiet(&self, app: AppId, gate: &Gate, settle: Option<Duration>) -> bool {
        let (last, now) = (self.last_abandoned(gate), self.host.now());
        let settled = if last.is_never() { now } else { last.plus(settle.unwrap_or_default()) };
        let is_quiet = self.survey(app).in_flight == 0;
        if is_quiet && self.host.uncounted_processes() > 0 {
            // Nobody tells when those are gone.
            self.look_at(now.plus(UNCOUNTED_INTERVAL));
            return false;
        }
        if settled > now {
            self.look_at(settled);
        }
        is_quiet && settled <= now
    }

    /// When a request of the app, or one that may have been, was abandoned last; never if none was.
    pub fn last_abandoned(&self, gate: &Gate) -> Moment {
        let times = [gate.last_abandoned, self.zone.abandoned_unattributed().1];
        times.into_iter().filter(|at| !at.is_never()).max().unwrap_or(Moment::NEVER)
    }
}
