//! What truly became of every request, kept beside the gate and never shown to it, and the
//! promises, checked against it.

mod account;
mod promises;

use std::collections::BTreeMap;

use crate::gate::lane::{NO_TICKET, Ticket};
use crate::gate::policy::Policy;
use crate::gate::time::Moment;
use crate::gate::totals::Totals;
use crate::gate::trial::Outcome;
use crate::gate::{Cause, Change, State};
use account::Account;

/// A request.
pub type Id = u64;

/// A worker's process id.
pub type Pid = u32;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Held,
    /// Out of the queue, as its client has gone or its time is up.
    Withdrawn,
    /// Let go in its turn, but not on its way yet.
    LetGo,
    /// Let go because its time was up.
    Late,
    /// Its body is awaited.
    Reading,
    Through,
    /// It has ended, though not everybody has heard of it.
    Over,
}

#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub app: usize,
    pub worker: Pid,
    pub place: Place,
    ticket: Ticket,
    /// The totals know how its hold came to an end.
    counted: bool,
    pub in_flight: bool,
    pub released: bool,
    pub upgraded: bool,
    /// The number of the canary that it belongs to, 0 for none.
    trial: u64,
    /// The step at which it was let go.
    let_go_at: u64,
}

/// How many requests of an app are where, in one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub held: u32,
    pub in_flight: u32,
    pub upgraded: u32,
    pub released: u32,
    pub trial: u32,
}

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
    pub worker: Pid,
    pub ids: &'i [Id],
    pub now: Moment,
    pub trial: bool,
    pub leaving: bool,
}

#[derive(Default)]
pub struct Ledger {
    pub accounts: Vec<Account>,
    pub records: BTreeMap<Id, Record>,
    workers: BTreeMap<Pid, Standing>,
    pub step: u64,
}

impl Ledger {
    pub fn new(apps: usize) -> Self {
        Self { accounts: vec![Account::new(); apps], ..Self::default() }
    }

    /// The zone makes a record for an app: it may have forgotten the former one if it was idle.
    pub fn create(&mut self, app: usize) {
        let account = &self.accounts[app];
        assert_eq!(account.state, State::Open, "a closed app is forgotten");
        let idle = self.of(app).all(|record| record.place == Place::Over);
        assert!(idle, "an app is forgotten that has requests");
        self.accounts[app] = Account::new();
    }

    pub fn pass(&mut self, id: Id, app: usize, worker: Pid) {
        assert_eq!(self.accounts[app].state, State::Open, "a request passes a closed gate");
        self.check_nobody_waits(app, "a request passes");
        self.admit(id, Record::through(app, worker));
    }

    pub fn bypass(&mut self, id: Id, app: usize, worker: Pid) {
        self.accounts[app].totals.bypassed += 1;
        self.admit(id, Record::through(app, worker));
    }

    pub fn hold(&mut self, id: Id, app: usize, worker: Pid, ticket: Ticket, max_held: u32) {
        let held = self.of(app).filter(|record| record.place == Place::Held).count() as u32;
        assert!(max_held == 0 || held < max_held, "{held} are held, of {max_held} at most");
        let account = &mut self.accounts[app];
        let closed = matches!(account.state, State::Paused | State::Releasing);
        assert!(closed, "a request is held though the app is {:?}", account.state);
        assert!(account.last_ticket.is_none_or(|last| last < ticket), "a ticket is given twice");
        account.last_ticket = Some(ticket);
        account.totals.held += 1;
        let record = Record { ticket, place: Place::Held, ..Record::through(app, worker) };
        self.admit(id, Record { counted: false, in_flight: false, ..record });
    }

    pub fn reject(&mut self, app: usize) {
        self.accounts[app].totals.rejected += 1;
    }

    /// A worker takes its turn.
    pub fn take(&mut self, take: &Take<'_>) {
        let account = &mut self.accounts[take.app];
        account.let_latecomers_mingle(take.now);
        if !take.leaving {
            let releasing = account.state == State::Releasing || account.mingling.is_some();
            assert!(releasing, "held requests go though the app is {:?}", account.state);
        }
        for id in take.ids {
            let record = self.records[id];
            assert_eq!(record.place, Place::Held, "request {id} goes twice");
            self.check_order(&record, self.step);
            self.let_go(*id, Place::LetGo);
            self.record(*id).released = true;
        }
        self.accounts[take.app].ended += take.ids.len() as u64;
        if self.accounts[take.app].state == State::Releasing {
            self.check_release(take);
        }
    }

    /// A worker answers what it holds, as the app is under maintenance.
    pub fn refuse(&mut self, app: usize, ids: &[Id]) {
        assert_eq!(self.accounts[app].state, State::Maintenance, "requests are refused");
        for id in ids {
            self.accounts[app].totals.rejected += 1;
            self.accounts[app].refused += 1;
            self.accounts[app].ended += 1;
            self.count_end(*id);
            self.records.remove(id);
        }
    }

    pub fn withdraw(&mut self, id: Id) {
        let record = self.record(id);
        assert_eq!(record.place, Place::Held, "request {id} is withdrawn");
        record.place = Place::Withdrawn;
    }

    pub fn time_out(&mut self, id: Id) {
        self.count_end(id);
        let app = self.record(id).app;
        self.accounts[app].totals.timed_out += 1;
        self.accounts[app].ended += 1;
    }

    /// A request whose time is up goes on to the backend.
    pub fn go_late(&mut self, id: Id) {
        self.let_go(id, Place::Late);
    }

    /// A request that was let go is on its way, or its body is asked for.
    pub fn run(&mut self, id: Id) {
        let record = self.records[&id];
        if record.place == Place::LetGo {
            self.check_order(&record, record.let_go_at);
        }
        self.record(id).place = Place::Reading;
    }

    pub fn reach_backend(&mut self, id: Id) {
        let record = self.records[&id];
        assert_eq!(record.place, Place::Reading, "request {id} reaches the backend twice");
        if record.released {
            self.count_end(id);
            self.accounts[record.app].totals.released += 1;
        }
        self.record(id).place = Place::Through;
    }

    /// The client of a held request has gone.
    pub fn abort(&mut self, id: Id) {
        self.count_end(id);
        let record = self.records.remove(&id).expect("it is known");
        self.accounts[record.app].totals.aborted += 1;
        self.accounts[record.app].ended += 1;
    }

    /// The client of a request that was let go has gone before it was on its way.
    pub fn abort_let_go(&mut self, id: Id) {
        let record = self.records[&id];
        assert_ne!(record.place, Place::Through, "request {id} is given up too late");
        self.count_end(id);
        self.accounts[record.app].totals.aborted += 1;
    }

    /// A request that was let go, or has gone through, is over.
    pub fn end(&mut self, id: Id) {
        let record = self.record(id);
        assert!(record.counted, "request {id} ends without that it is counted");
        record.place = Place::Over;
        record.in_flight = false;
        record.upgraded = false;
        record.released = false;
    }

    /// Nobody has to hear of a request any more.
    pub fn forget(&mut self, id: Id) {
        assert_eq!(self.record(id).place, Place::Over);
        self.records.remove(&id);
    }

    pub fn upgrade(&mut self, id: Id) {
        let record = self.record(id);
        record.upgraded = true;
        record.in_flight = false;
        record.released = false;
    }

    /// There is no room to count a request.
    pub fn pass_uncounted(&self, app: usize) {
        assert_eq!(self.accounts[app].state, State::Open, "a request passes a closed gate");
        self.check_nobody_waits(app, "a request passes");
    }

    /// A caller is told that nothing is in flight.
    pub fn tell_quiet(&self, app: usize) {
        assert_eq!(self.counts(app).in_flight, 0, "a drain ends too early");
    }

    /// A caller is told how a canary ended.
    pub fn tell_verdict(&self, app: usize, trial: u64, good: bool) {
        assert_eq!(self.accounts[app].verdict, (trial, good), "a wrong verdict is told");
    }

    /// A request is no longer one of a canary.
    pub fn end_trial(&mut self, id: Id, outcome: Outcome) {
        let Some(record) = self.records.get_mut(&id) else { return };
        let (app, number) = (record.app, std::mem::take(&mut record.trial));
        let account = &mut self.accounts[app];
        if let Some(trial) = account.trial.as_mut().filter(|_| account.trials == number) {
            match outcome {
                Outcome::Good => trial.good += 1,
                Outcome::Failed(_) => trial.failed += 1,
                Outcome::Gone | Outcome::Void => trial.void += 1,
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
            if let Some(trial) = account.trial.as_mut().filter(|_| account.trials == record.trial) {
                trial.lost += 1;
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

    /// How many requests of each app are where in a worker.
    pub fn counts_of(&self, worker: Pid) -> Vec<Counts> {
        let mut counts = vec![Counts::default(); self.accounts.len()];
        for record in self.records.values().filter(|record| record.worker == worker) {
            counts[record.app].add(record);
        }
        counts
    }

    fn admit(&mut self, id: Id, record: Record) {
        assert!(self.records.insert(id, record).is_none(), "request {id} arrives twice");
    }

    pub(super) fn record(&mut self, id: Id) -> &mut Record {
        self.records.get_mut(&id).unwrap_or_else(|| panic!("request {id} is over already"))
    }

    fn let_go(&mut self, id: Id, place: Place) {
        let step = self.step;
        let record = self.record(id);
        record.place = place;
        record.in_flight = true;
        record.let_go_at = step;
    }

    fn count_end(&mut self, id: Id) {
        let record = self.record(id);
        assert!(!record.counted, "request {id} ends in two ways");
        record.counted = true;
    }
}

impl Counts {
    fn add(&mut self, record: &Record) {
        self.held += u32::from(record.place == Place::Held);
        self.in_flight += u32::from(record.in_flight);
        self.upgraded += u32::from(record.upgraded);
        self.released += u32::from(record.released);
        self.trial += u32::from(record.trial != 0);
    }
}

impl Record {
    /// A request that has gone through without having been held.
    fn through(app: usize, worker: Pid) -> Self {
        Self {
            app,
            worker,
            place: Place::Through,
            ticket: NO_TICKET,
            counted: true,
            in_flight: true,
            released: false,
            upgraded: false,
            trial: 0,
            let_go_at: 0,
        }
    }
}
