//! What a worker does when a backend is down: it takes requests back, looks whether the backend is there,
//! and sees the first request reach it.

use core::time::Duration;

use super::Worker;
use super::host::{Fact, Host};
use super::passage::{Ending, Flight, Passage, Stage};
use crate::gate::canary::Outcome;
use crate::gate::outage::{Failure, TakenBack, Terms};
use crate::gate::time::Moment;
use crate::gate::{Gate, State};
use crate::shm::AppId;

/// What the place says about a request that could not be sent to its backend.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub terms: Terms,
    /// How often the worker looks at the zone meanwhile.
    pub looks: Duration,
    pub max_held: u32,
}

impl<H: Host> Worker<H> {
    /// A request that went through, and `arrived` at that moment, could not be sent to its backend, which
    /// answered with `status`, so to speak. Until when it is held for that, if it is. `abandoned`, if it was
    /// sent, and the backend may be at work for it.
    pub fn take_back(
        &self,
        passage: &Passage<H>,
        arrived: Moment,
        patience: &Patience,
        status: u32,
        abandoned: bool,
    ) -> Option<Moment> {
        let Stage::Through(flight) = passage.stage() else { return None };
        let entry = passage.entry()?;
        let may_wait = flight != Flight::Upgraded
            && !matches!(passage.why_let_go(), Ending::Bypassed | Ending::TimedOut)
            && !self.leaving.get()
            && !self.is_short_of_connections(self.host.now());
        if !may_wait {
            return None;
        }
        let app = entry.app();
        let queue = self.queues.get(app.index())?;
        let mut locked = self.zone.lock();
        let now = self.host.now();
        let survey = self.zone.survey(app, self.slot, &self.host.liveness(now));
        if patience.max_held > 0 && survey.held >= patience.max_held {
            return None;
        }
        let failure = Failure {
            arrived,
            slot: self.slot,
            held: passage.held_here(),
            broke_off: abandoned,
            terms: patience.terms,
        };
        let take_back = |gate: &mut Gate| {
            let taken_back = gate.take_back(now, &failure)?;
            let (failure, taken, closed) = (&failure, &taken_back, gate.outage.closed);
            self.host.note(Fact::TakenBack { passage, failure, taken, now, closed });
            Some(taken_back)
        };
        let TakenBack { ticket, until, change } = locked.update(app, take_back).flatten()?;
        let since = failure.held.map_or(now, |(since, _)| since);
        self.enqueue(queue, passage, entry, (since, ticket), patience.looks, now);
        let news = self.news(&mut locked, app, change, survey.held + 1, now);
        drop(locked);
        self.began_to_hold(app, patience.looks, now);
        if abandoned {
            self.abandon(passage, flight);
        }
        self.stop_counting(passage, flight, Outcome::Failed(status));
        if let Some(news) = &news {
            self.announce(news, now);
        }
        Some(until)
    }

    /// Until when a request may be held that arrived while its app was down; `None` if it is not.
    pub fn held_until(&self, passage: &Passage<H>, longest: Duration) -> Option<Moment> {
        let app = passage.entry()?.app();
        if self.zone.state(app) != State::Down {
            return None;
        }
        let locked = self.zone.lock();
        Some(locked.gate(app)?.outage.until(passage.since(), longest))
    }

    /// The state of the app that a request is held for, or was.
    pub fn state_for(&self, passage: &Passage<H>) -> Option<State> {
        passage.entry().map(|entry| self.zone.state(entry.app()))
    }

    /// A number for the last change of state of the app that a request was held for, of all that there are.
    pub fn state_change_of(&self, passage: &Passage<H>) -> u64 {
        let Some(app) = passage.entry().map(|entry| entry.app()) else { return 0 };
        let since = self.zone.lock().gate(app).map_or(0, |gate| gate.since.as_micros());
        since ^ (app.index() as u64).rotate_right(16)
    }

    /// The number of an app's outage.
    pub fn outage(&self, app: AppId) -> u64 {
        self.zone.lock().gate(app).map_or(0, |gate| gate.outage.number)
    }

    /// This worker knows where the backend of an app is, that is down.
    pub fn knows_backend(&self, app: AppId) {
        self.look_at(self.due_of(app));
    }

    /// The first byte of a request is about to be sent to the backend: it is there.
    #[inline]
    pub fn reaches_backend(&self, passage: &Passage<H>) {
        if passage.canary().is_some() {
            self.canary_reaches_backend(passage);
        }
    }

    #[cold]
    fn canary_reaches_backend(&self, passage: &Passage<H>) {
        let (Some(canary), Some(entry)) = (passage.canary(), passage.entry()) else { return };
        let gate_says =
            self.zone.lock().gate(entry.app()).map(|gate| gate.is_canary_of_outage(canary));
        if gate_says == Some(true) {
            self.judge(passage, Outcome::Good);
        }
    }

    /// Looks whether the backend is back, if that is due and nobody does.
    pub(super) fn probe_if_due(&self, app: AppId) {
        if self.zone.state(app) != State::Down {
            return;
        }
        let begin = |gate: &mut Gate| {
            if !self.host.can_probe(app, gate.outage.number) {
                return None;
            }
            let now = self.host.now();
            let outage = gate.begin_probe(now)?;
            self.host.note(Fact::Probes { app, now });
            Some(outage)
        };
        let begin = self.zone.lock().update(app, begin).flatten();
        if let Some(outage) = begin {
            self.look_at(self.due_of(app));
            self.host.probe(app, outage);
        }
    }

    /// A probe in that outage is over; `found`, if the backend is there.
    pub fn probe_ended(&self, app: AppId, outage: u64, found: bool) {
        let mut locked = self.zone.lock();
        let now = self.host.now();
        let survey = self.zone.survey(app, self.slot, &self.host.liveness(now));
        let end = |gate: &mut Gate| {
            let change = gate.end_probe(now, outage, found, &survey);
            change.iter().for_each(|change| self.host.note(Fact::Settled { app, change, now }));
            change
        };
        let change = locked.update(app, end).flatten();
        let news = self.news(&mut locked, app, change, survey.held, now);
        drop(locked);
        self.look_at(self.due_of(app));
        if let Some(news) = &news {
            self.announce(news, now);
            self.serve_and_pass_on(app);
        }
    }
}
