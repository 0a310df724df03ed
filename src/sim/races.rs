//! Where workers meet: what one of them changes, and another one looks at or changes as well. What a worker
//! does elsewhere comes to the same whenever it does it, so there is no need to let others run in front
//! of it.
//!
//! Which places those are is not known before all ways have been gone that differ there. So when one more
//! is found, all begins again.

use std::collections::BTreeMap;

use super::ledger::Pid;

#[derive(Default)]
pub struct Races {
    users: BTreeMap<usize, Users>,
    /// All is taken for a place where workers meet.
    everywhere: bool,
    /// Whether one has been found since that was asked last.
    found: bool,
}

#[derive(Default)]
struct Users {
    all: Vec<Pid>,
    change: bool,
    meet: bool,
}

impl Races {
    pub fn everywhere() -> Self {
        Self { everywhere: true, ..Self::default() }
    }

    /// Whether a worker meets others where it is about to look, or to change something.
    pub fn is_race(&mut self, worker: Pid, at: usize, changes: bool) -> bool {
        if self.everywhere {
            return true;
        }
        let users = self.users.entry(at).or_default();
        if users.meet {
            return true;
        }
        if !users.all.contains(&worker) {
            users.all.push(worker);
        }
        users.change |= changes;
        users.meet = users.change && users.all.len() > 1;
        self.found |= users.meet;
        users.meet
    }

    pub fn take_found(&mut self) -> bool {
        std::mem::take(&mut self.found)
    }
}
