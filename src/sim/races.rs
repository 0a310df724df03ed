//! Where workers meet: what one of them changes, and another one looks at or changes as well. What a worker
//! does elsewhere comes to the same whenever it does it, so there is no need to let others run in front
//! of it.
//!
//! Which places those are is not known before all ways have been gone that differ there. So when one more
//! is found, all begins again.

use std::cell::{Ref, RefCell, RefMut};
use std::collections::BTreeMap;

use super::ledger::{Ledger, Pid};

thread_local! {
    /// Of the step that is watched, if one is.
    static TOUCHED: RefCell<Option<Touched>> = const { RefCell::new(None) };
}

/// The places of others' interest that a step has to do with, and whether it changes something there.
#[derive(Clone, Debug, Default)]
pub struct Touched(Vec<(usize, bool)>);

impl Touched {
    /// Whether it matters which of two steps comes first.
    pub fn meets(&self, other: &Self) -> bool {
        let meet = |(at, changes): &(usize, bool)| {
            other.0.iter().any(|(place, other)| at == place && (*changes || *other))
        };
        self.0.iter().any(meet)
    }
}

/// A worker looks at that, or changes it.
pub fn note(at: usize, changes: bool) {
    TOUCHED.with_borrow_mut(|touched| {
        if let Some(Touched(places)) = touched.as_mut().filter(|it| !it.0.contains(&(at, changes)))
        {
            places.push((at, changes));
        }
    });
}

/// All of that in a step.
pub fn touched_in(step: impl FnOnce()) -> Touched {
    TOUCHED.set(Some(Touched::default()));
    step();
    TOUCHED.take().unwrap_or_default()
}

/// Stands for the ledger of any run.
static BOOKS: u8 = 0;

/// The ledger, in which order matters.
pub struct Books(RefCell<Ledger>);

impl Books {
    pub fn new(ledger: Ledger) -> Self {
        Self(RefCell::new(ledger))
    }

    pub fn borrow(&self) -> Ref<'_, Ledger> {
        self.touch(false);
        self.0.borrow()
    }

    pub fn borrow_mut(&self) -> RefMut<'_, Ledger> {
        self.touch(true);
        self.0.borrow_mut()
    }

    pub fn touch(&self, changes: bool) {
        note(&raw const BOOKS as usize, changes);
    }
}

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
