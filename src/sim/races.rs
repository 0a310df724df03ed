//! Where workers meet: what one of them changes, and another one looks at or changes as well. What a worker
//! does elsewhere comes to the same whenever it does it, so there is no need to let others run in front
//! of it.
//!
//! Which places those are is not known before all ways have been gone that differ there. So when one more
//! is found, all begins again.

use std::collections::{HashMap, HashSet};

use super::ledger::Pid;

#[derive(Default)]
pub struct Races {
    users: HashMap<usize, Users>,
    places: HashSet<usize>,
    /// All is taken for a place where workers meet.
    everywhere: bool,
    /// Whether one has been found since that was asked last.
    found: bool,
}

#[derive(Default)]
struct Users {
    all: Vec<Pid>,
    change: bool,
}

impl Races {
    pub fn everywhere() -> Self {
        Self { everywhere: true, ..Self::default() }
    }

    /// Whether a worker meets others where it is about to look, or to change something.
    pub fn is_race(&mut self, worker: Pid, at: usize, changes: bool) -> bool {
        if self.everywhere || self.places.contains(&at) {
            return true;
        }
        let users = self.users.entry(at).or_default();
        if !users.all.contains(&worker) {
            users.all.push(worker);
        }
        users.change |= changes;
        let is_race = users.change && users.all.len() > 1;
        if is_race {
            self.places.insert(at);
            self.found = true;
        }
        is_race
    }

    pub fn take_found(&mut self) -> bool {
        std::mem::take(&mut self.found)
    }
}
