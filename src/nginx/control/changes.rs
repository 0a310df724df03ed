//! What calls change, and who is told of it.

use super::answer::Answer;
use super::caller;
use crate::control::args::Disable;
use crate::gate::{Change, Gate};
use crate::nginx::conf::LocConf;
use crate::nginx::ffi::request::Request;
use crate::nginx::host::{Worker, log_change};
use crate::nginx::store::Store;
use crate::shm::AppId;
use crate::worker::{Changed, If};

/// A call that is being answered.
pub struct Calling<'r> {
    pub request: Request<'r>,
    pub worker: &'r Worker,
    pub conf: &'r LocConf,
}

/// What becomes of a call.
pub enum Reply {
    Now(Answer),
    /// The answer comes later, see [`super::wait`].
    Later,
}

impl Calling<'_> {
    /// Resumes an app as `asked`. `None` if the pause that is named there is over, or no such app is
    /// known.
    pub fn release(&self, name: &[u8], asked: &Disable) -> Option<Changed> {
        let only = |knows_all| match asked.pause {
            Some(pause) => If::InPause(pause),
            None if knows_all => If::Known,
            None => If::Any,
        };
        self.and_save(|knows_all| self.release_in_zone(name, asked, only(knows_all)))
    }

    /// The same, but that the state file is not told.
    pub fn release_in_zone(&self, name: &[u8], asked: &Disable, only: If) -> Option<Changed> {
        let canary = (asked.canary, asked.lasts);
        let changed = self.worker.release(name, asked.policy, canary, only)?;
        self.tell(name, &changed);
        Some(changed)
    }

    /// Makes a change that the state file has to know of, if there is one. It is told whether all is known
    /// here that another nginx has called for.
    pub fn and_save<T>(&self, change: impl FnOnce(bool) -> T) -> T {
        match Store::of(self.worker) {
            Some(store) => store.change(change),
            None => change(true),
        }
    }

    /// Changes the gate of an app that need not be known yet.
    pub fn change_or_make(
        &self,
        name: &[u8],
        action: impl FnOnce(&mut Gate) -> Change,
    ) -> Result<Changed, Answer> {
        self.and_save(|_| self.change_in_zone(name, action))
    }

    /// Changes an app in the pause of this number. `None` if that is over.
    pub fn change_in_pause(
        &self,
        name: &[u8],
        pause: u64,
        action: impl FnOnce(&mut Gate) -> Change,
    ) -> Option<Changed> {
        self.and_save(|_| {
            let changed = self.worker.change_in_pause(name, pause, action)?;
            self.tell(name, &changed);
            Some(changed)
        })
    }

    fn change_in_zone(
        &self,
        name: &[u8],
        action: impl FnOnce(&mut Gate) -> Change,
    ) -> Result<Changed, Answer> {
        let full = || {
            Answer::error(507, "The zone has no room for another app: enlarge intermission_zone.")
        };
        let changed = self.worker.change(name, action).map_err(|_| full())?;
        self.tell(name, &changed);
        Ok(changed)
    }

    fn tell(&self, name: &[u8], changed: &Changed) {
        let held = self.worker.survey(changed.app).held;
        log_change(name, &changed.change, held, &caller::name(self.request));
        self.worker.notify();
    }

    pub fn known(&self) -> Vec<(Vec<u8>, AppId)> {
        let locked = self.worker.zone.lock();
        locked.apps().map(|app| (locked.name(app).to_vec(), app)).collect()
    }
}
