//! What truly became of every request, kept beside the gate and never shown to it, and the
//! promises, checked against it.

mod account;
mod fingerprint;
mod outage;
mod promises;
mod record;

use std::collections::BTreeMap;

use crate::gate::canary::Outcome;
use crate::gate::lane::{NO_TICKET, Ticket};
use crate::gate::policy::Policy;
use crate::gate::time::Moment;
use crate::gate::totals::Totals;
use crate::gate::{Arrival, Cause, Change, State};
use crate::worker::Ending;
use account::Account;
pub use record::{Counts, Place, Record};

/// How many places those who came during a release may gain in the end, and how many may be left.
const WINDOW: Ticket = 256;

/// A request.
pub type Id = u64;

/// A worker's process id.
pub type Pid = u32;

/// A worker, as seen from outside.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// It was stopped for so long that others need not wait for it.
    passed_by: bool,
    /// The last step at which this was so.
    passed_by_at: u64,
}

/// Requests that are let go together.
pub struct Take<'i> {
    pub app: usize,
    pub ids: &'i [Id],
    pub now: Moment,
    /// The step at which the worker looked what the lanes say.
    pub surveyed: u64,
    pub canary: bool,
    pub leaving: bool,
}

#[derive(Default)]
pub struct Ledger {
    pub accounts: Vec<Account>,
    pub records: BTreeMap<Id, Record>,
    workers: BTreeMap<Pid, Standing>,
    pub step: u64,
    /// When the last request was over that was counted for no app.
    pub unattributed_until: Moment,
}

impl Ledger {
    pub fn new(apps: usize) -> Self {
        Self { accounts: vec![Account::new(); apps], ..Self::default() }
    }

    /// The zone has forgotten an app, as it was idle, and with it that requests were held there whose
    /// bodies are awaited: those come back as if for the first time.
    pub fn forget_app(&mut self, app: usize) {
        let account = &self.accounts[app];
        assert_eq!(account.state, State::Open, "a closed app is forgotten");
        let idle = |record: &Record| {
            record.place == Place::Arriving
                || record.unattributed
                || record.in_flight.is_none() && record.counted
        };
        assert!(self.of(app).all(idle), "an app is forgotten that has requests");
        self.records.values_mut().filter(|record| record.app == app).for_each(|record| {
            record.counted = true;
        });
        self.accounts[app] = Account::new();
    }

    pub fn arrive(&mut self, id: Id, app: usize, worker: Pid) {
        let record = Record::new(app, worker);
        assert!(self.records.insert(id, record).is_none(), "request {id} arrives twice");
    }

    /// A request has gone through a gate that it found open, on a look that began at that step: the
    /// state may have changed since then, and be what it was by chance only.
    pub fn pass(&mut self, id: Id, begun: u64) {
        let app = self.records[&id].app;
        let account = &self.accounts[app];
        if account.state == State::Open {
            if account.changed_at <= begun {
                self.check_nobody_waits(app, "a request passes");
            }
        } else {
            let is_sure = account.surely_closed.is_some_and(|since| since <= begun);
            assert!(!is_sure, "request {id} passes a closed gate");
        }
        self.go_through(id);
    }

    /// A request goes through, under the lock.
    pub fn enter(&mut self, id: Id, attributed: bool, is_excused: bool) {
        let app = self.records[&id].app;
        let is_open = self.accounts[app].state == State::Open;
        assert!(is_open || is_excused, "request {id} passes a closed gate");
        if is_open {
            self.check_nobody_waits(app, "a request passes");
        }
        self.go_through(id);
        self.record(id).unattributed = !attributed;
    }

    fn go_through(&mut self, id: Id) {
        let step = self.step;
        let record = self.record(id);
        record.place = Place::Through;
        record.in_flight = Some(step);
    }

    /// Whatever a request was told at a gate, it is on its way to another one.
    pub fn move_to(&mut self, id: Id, app: usize) {
        let record = self.record(id);
        assert!(record.counted && record.in_flight.is_none(), "request {id} moves too early");
        record.app = app;
        record.place = Place::Arriving;
        record.ticket = NO_TICKET;
    }

    pub fn bypass(&mut self, id: Id) {
        let app = self.records[&id].app;
        self.accounts[app].totals.bypassed += 1;
    }

    /// The gate has decided about a request that can be held.
    pub fn meet(&mut self, id: Id, arrival: Arrival, max_held: u32) {
        let (record, step) = (self.records[&id], self.step);
        let comes_back = !record.counted;
        let held = self.of(record.app).filter(|record| record.place == Place::Held).count() as u32;
        let account = &mut self.accounts[record.app];
        match arrival {
            Arrival::Pass => assert_eq!(account.state, State::Open),
            Arrival::Full | Arrival::Maintenance => {
                account.totals.rejected += 1;
                if comes_back {
                    account.refused += 1;
                    self.count_end(id);
                }
            }
            Arrival::Hold(ticket) => {
                let closed = !matches!(account.state, State::Open | State::Maintenance);
                assert!(closed, "a request is held though the app is {:?}", account.state);
                let closing = account.closings;
                if comes_back {
                    assert_eq!(record.ticket, ticket, "request {id} has lost its place");
                } else {
                    assert!(max_held == 0 || held < max_held, "{held} are held, of {max_held}");
                    let is_new = account.last_ticket.is_none_or(|last| last < ticket);
                    assert!(is_new, "a ticket is given twice");
                    account.last_ticket = Some(ticket);
                    account.totals.held += 1;
                }
                let record = self.record(id);
                (record.ticket, record.place, record.counted) = (ticket, Place::Held, false);
                record.came_at = step;
                if !comes_back {
                    (record.closing, record.before) = (closing, None);
                }
            }
        }
    }

    /// A worker takes its turn.
    pub fn take(&mut self, take: &Take<'_>) {
        self.let_latecomers_mingle(take.app, take.now);
        let account = &self.accounts[take.app];
        let mingling = account.mingling;
        if !take.leaving {
            let going = matches!(account.state, State::Releasing | State::Open);
            assert!(going, "held requests go though the app is {:?}", account.state);
        }
        for id in take.ids {
            let mut record = self.records[id];
            assert_eq!(record.place, Place::Held, "request {id} goes twice");
            record.mingling = mingling;
            self.check_order(&record, take.surveyed);
            record.place = Place::LetGo;
            record.let_go_at = take.surveyed;
            record.released = true;
            self.records.insert(*id, record);
        }
        if self.accounts[take.app].state == State::Releasing {
            self.check_release(take);
        }
        // Who comes back in this very event of the worker comes behind that.
        self.step += 1;
    }

    /// A request of a batch is counted in flight, for all to see.
    pub fn is_in_flight(&mut self, id: Id) {
        let step = self.step;
        if let Some(record) = self.records.get_mut(&id).filter(|it| it.place == Place::LetGo) {
            record.in_flight = Some(step);
        }
    }

    /// A worker answers a request that it holds, as the app is under maintenance.
    pub fn refuse(&mut self, id: Id) {
        let account = &mut self.accounts[self.records[&id].app];
        assert_eq!(account.state, State::Maintenance, "request {id} is refused");
        account.totals.rejected += 1;
        account.refused += 1;
        account.ended += 1;
        self.count_end(id);
        self.record(id).place = Place::Withdrawn;
    }

    pub fn withdraw(&mut self, id: Id) {
        let record = self.record(id);
        assert_eq!(record.place, Place::Held, "request {id} is withdrawn");
        record.place = Place::Withdrawn;
    }

    pub fn withdrawn(&mut self, id: Id, why: Ending) {
        self.count_end(id);
        let account = &mut self.accounts[self.records[&id].app];
        account.ended += 1;
        match why {
            Ending::TimedOut => account.totals.timed_out += 1,
            Ending::Aborted => account.totals.aborted += 1,
            _ => panic!("request {id} is withdrawn as {why:?}"),
        }
    }

    /// A request that was let go is on its way to the backend.
    pub fn release(&mut self, id: Id) {
        let record = self.records[&id];
        if record.place == Place::LetGo {
            self.check_order(&record, record.let_go_at);
        }
        self.count_end(id);
        let account = &mut self.accounts[record.app];
        account.ended += 1;
        account.totals.released += 1;
        self.record(id).place = Place::Through;
    }

    /// A request that was let go has come to its end at the gate.
    pub fn end_hold(&mut self, id: Id, how: Ending) {
        let app = self.records[&id].app;
        match how {
            Ending::Released => return self.release(id),
            Ending::Aborted => {
                assert_ne!(
                    self.records[&id].place,
                    Place::Through,
                    "request {id} is given up late"
                );
                self.count_end(id);
                self.accounts[app].totals.aborted += 1;
            }
            // It has been counted when it met the gate.
            _ => {}
        }
        self.accounts[app].ended += 1;
    }

    /// A request is in flight no more: it is over, goes elsewhere, or waits for its body.
    pub fn leave(&mut self, id: Id, now: Moment) {
        if self.records[&id].unattributed {
            self.unattributed_until = now;
        }
        let record = self.record(id);
        record.in_flight = None;
        record.unattributed = false;
        record.released = false;
        if record.place == Place::LetGo {
            record.place = Place::Arriving;
        }
    }

    /// A request is over.
    pub fn forget(&mut self, id: Id) {
        let record = self.records.remove(&id).expect("it is known");
        assert!(record.counted, "request {id} ends without that it is counted");
        assert!(record.in_flight.is_none(), "request {id} ends in flight");
    }

    /// A caller is told that nothing is in flight, after a look that began at that step.
    pub fn tell_quiet(&self, app: usize, begun: u64) {
        let forgotten = |record: &&Record| {
            (record.app == app || record.unattributed)
                && record.in_flight.is_some_and(|since| since < begun)
        };
        let forgotten = self.records.values().find(forgotten);
        assert!(forgotten.is_none(), "a drain ends too early: {forgotten:?}");
    }

    /// A caller is told how a canary ended.
    pub fn tell_verdict(&self, app: usize, canary: u64, good: bool) {
        assert_eq!(self.accounts[app].verdict, (canary, good), "a wrong verdict is told");
    }

    /// A good answer begins to a request of a canary.
    pub fn answers(&mut self, id: Id) {
        self.record(id).answers = true;
    }

    /// A request is no longer one of a canary.
    pub fn end_canary(&mut self, id: Id, outcome: Outcome) {
        let Some(record) = self.records.get_mut(&id) else { return };
        let (app, number) = (record.app, std::mem::take(&mut record.canary));
        record.answers = false;
        let account = &mut self.accounts[app];
        if let Some(canary) = account.canary.as_mut().filter(|_| account.canaries == number) {
            match outcome {
                Outcome::Good => canary.good += 1,
                Outcome::Failed(_) => canary.failed += 1,
                Outcome::Void => canary.void += 1,
                Outcome::Gone => {
                    canary.void += 1;
                    canary.gone += 1;
                }
            }
        }
    }

    /// A worker is killed, and its requests with it.
    pub fn die(&mut self, worker: Pid) {
        let dead: Vec<Id> = self
            .records
            .iter()
            .filter(|(_, record)| record.worker == worker)
            .map(|(id, _)| *id)
            .collect();
        for id in dead {
            let record = self.records.remove(&id).expect("it was there");
            let account = &mut self.accounts[record.app];
            account.died += u64::from(!record.counted);
            if let Some(canary) =
                account.canary.as_mut().filter(|_| account.canaries == record.canary)
            {
                canary.lost += 1;
            }
        }
    }

    /// Whether others need not wait for a worker any more, which was stopped.
    pub fn pass_by(&mut self, worker: Pid, passed_by: bool) {
        let standing = self.workers.entry(worker).or_default();
        if standing.passed_by || passed_by {
            standing.passed_by_at = self.step;
        }
        standing.passed_by = passed_by;
    }

    pub fn of(&self, app: usize) -> impl Iterator<Item = &Record> {
        self.records.values().filter(move |record| record.app == app)
    }

    /// Whether requests of an app wait for their turn, or are on their way out of the queue.
    pub fn somebody_waits(&self, app: usize) -> bool {
        self.waiting(app).next().is_some()
    }

    fn waiting(&self, app: usize) -> impl Iterator<Item = &Record> {
        self.of(app).filter(|record| matches!(record.place, Place::Held | Place::LetGo))
    }

    /// Whether requests that these workers hold are to be released, and are not.
    pub fn is_kept_up(&self, app: usize, workers: &[Pid]) -> bool {
        let held = |record: &Record| record.place == Place::Held;
        self.accounts[app].state == State::Releasing
            && self.of(app).any(|record| held(record) && workers.contains(&record.worker))
    }

    /// How many requests of an app are where.
    pub fn counts(&self, app: usize) -> Counts {
        let mut counts = Counts::default();
        self.of(app).for_each(|record| counts.add(record));
        counts
    }

    pub(super) fn record(&mut self, id: Id) -> &mut Record {
        self.records.get_mut(&id).unwrap_or_else(|| panic!("request {id} is over already"))
    }

    fn count_end(&mut self, id: Id) {
        let record = self.record(id);
        assert!(!record.counted, "request {id} ends in two ways");
        record.counted = true;
    }
}
