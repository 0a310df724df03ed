//! What calls do to an app in the zone. Whoever calls is answered elsewhere.

use core::time::Duration;

use super::Worker;
use super::host::{Fact, Host};
use crate::gate::policy::Policy;
use crate::gate::{Change, Gate};
use crate::shm::{AppId, Full};

/// How many records are looked at, for a call, to find an app that can be forgotten.
pub const SEARCH: usize = usize::MAX;

/// What a call did to an app, and the numbers of its pause and canary then. They are taken in the same
/// section under the lock: a moment later, there can be others.
#[derive(Clone, Copy, Debug)]
pub struct Changed {
    pub app: AppId,
    pub change: Change,
    pub pause: u64,
    pub canary: u64,
}

impl Changed {
    fn of(app: AppId, change: Change, gate: &Gate) -> Self {
        Self { app, change, pause: gate.pauses, canary: gate.canaries }
    }
}

/// When an app is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum If {
    /// While the pause of this number goes on.
    InPause(u64),
    Known,
    /// In any case: another nginx may know it, and have paused it.
    Any,
}

impl<H: Host> Worker<H> {
    /// Changes the gate of an app that need not be known yet. The others are to be notified then.
    pub fn change(
        &self,
        name: &[u8],
        action: impl FnOnce(&mut Gate) -> Change,
    ) -> Result<Changed, Full> {
        let mut locked = self.zone.lock();
        let app = locked.find_or_create(name, SEARCH)?;
        locked.entry(app, self.slot, SEARCH)?;
        locked.update(app, |gate| Changed::of(app, action(gate), gate)).ok_or(Full)
    }

    /// Changes the gate of an app while that pause goes on. `None` if it is over, or no such app is known.
    /// The others are to be notified then.
    pub fn change_in_pause(
        &self,
        name: &[u8],
        pause: u64,
        action: impl FnOnce(&mut Gate) -> Change,
    ) -> Option<Changed> {
        let mut locked = self.zone.lock();
        let app = locked.find(name)?;
        let change =
            |gate: &mut Gate| gate.is_in_pause(pause).then(|| Changed::of(app, action(gate), gate));
        locked.update(app, change).flatten()
    }

    /// Resumes an app, `canary` of its requests (if not 0) ahead. A canary that fails pauses it again, until
    /// `lasts` after now if that is given. `None` if the pause is over, no such app is known, or there is no
    /// room for it. The others are to be notified then.
    pub fn release(
        &self,
        name: &[u8],
        policy: Policy,
        (canary, lasts): (u32, Option<Duration>),
        only: If,
    ) -> Option<Changed> {
        let now = self.host.now();
        let mut locked = self.zone.lock();
        let app = match only {
            If::Any => locked.find_or_create(name, SEARCH).ok()?,
            _ => locked.find(name)?,
        };
        let survey = self.zone.survey(app, self.slot, &self.host.liveness(now));
        let release = |gate: &mut Gate| {
            let applies = !matches!(only, If::InPause(pause) if !gate.is_in_pause(pause));
            applies.then(|| {
                let change = gate.disable(now, policy, canary, &survey);
                if let Some(lasts) = lasts.filter(|_| gate.canary().is_some()) {
                    gate.deadline = now.plus(lasts);
                }
                self.host.note(Fact::Disabled {
                    app,
                    change: &change,
                    now,
                    policy: &policy,
                    canary,
                });
                Changed::of(app, change, gate)
            })
        };
        locked.update(app, release).flatten()
    }
}
