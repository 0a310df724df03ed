//! What is looked at after each step.

use std::time::Duration;

use super::super::crew::Member;
use super::super::world::{NAMES, World};
use super::Run;
use crate::gate::State;
use crate::gate::totals::Totals;
use crate::worker::Awaited;

impl Run {
    pub fn check(&self) {
        self.world.ledger.borrow().check_books();
        if !World::is_locked() {
            self.check_apps();
        }
        for member in self.crew.members.iter().filter(|member| !member.is_killed()) {
            member.worker.check_lanes(&self.crew);
        }
        if self.world.calm.get() && self.crew.ready().is_empty() {
            (0..NAMES).for_each(|app| self.check_quiet(app));
        }
    }

    fn check_apps(&self) {
        let locked = self.world.zone.lock();
        for app in locked.apps() {
            let Some(name) = World::app_named(locked.name(app)) else { continue };
            let gate = locked.gate(app).expect("the app is there");
            let mut ledger = self.world.ledger.borrow_mut();
            ledger.bury(name, gate.totals.aborted);
            let account = &mut ledger.accounts[name];
            account.torn &= self.world.zone.state(app) != account.state;
            assert_eq!(gate.state(), account.state, "app {name}");
            let shown = self.world.zone.state(app);
            assert!(shown == account.state || account.torn, "app {name} is shown as {shown:?}");
            let totals = Totals { abandoned: 0, ..gate.totals };
            assert_eq!(totals, account.totals, "app {name}");
            assert_eq!(gate.waits.count(), account.ended, "app {name}");
        }
    }

    /// Nothing is to do: whoever waits has a reason to.
    fn check_quiet(&self, name: usize) {
        let locked = self.world.zone.lock();
        let Some(app) = locked.find(World::name(name).as_bytes()) else { return };
        let gate = locked.gate(app).expect("the app is there").clone();
        drop(locked);
        let ledger = self.world.ledger.borrow();
        let waits = ledger.somebody_waits(name);
        let in_flight = ledger.counts(name).in_flight;
        // What was counted for all apps ends without that anybody is told: who waits looks again.
        let ago = self.world.now().since(ledger.unattributed_until);
        // So are processes whose requests nobody counts.
        let ago = ago.min(self.world.now().since(self.world.uncounted_until.get()));
        let soon = ago <= self.world.plan.longest_interval();
        let unattributed = (0..NAMES).map(|app| ledger.counts(app).unattributed).sum::<u32>();
        drop(ledger);
        match gate.state() {
            State::Open => {}
            State::Paused | State::Down if self.world.plan.quits => {}
            State::Releasing => assert!(waits || gate.canary().is_some(), "a release has no end"),
            State::Maintenance => assert!(!waits, "requests are held under maintenance"),
            State::Down => {
                let due = gate.due().max(self.world.now()).plus(Duration::from_millis(1));
                let next = self.crew.next_timer();
                assert!(
                    next <= due,
                    "nobody looks for the backend of app {name}: {next:?}, {due:?}"
                );
            }
            State::Paused => {
                let due = gate.deadline.max(self.world.now()).plus(Duration::from_millis(1));
                assert!(self.crew.next_timer() <= due, "nobody minds a deadline");
            }
        }
        for member in &self.crew.members {
            member.worker.check_patience(app, &gate);
            for waiter in member.worker.host.callers.borrow().values().filter(|w| w.name == name) {
                if let Awaited::Quiet { settle: None, .. } = waiter.awaited {
                    let busy = in_flight + unattributed > 0 || self.world.uncounted.get() > 0;
                    assert!(busy || soon, "a drain is over and nobody says so");
                }
            }
        }
    }
}
