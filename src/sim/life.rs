//! A worker's life, and what comes to it: what `nginx/request` and `nginx/process.rs` do.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::fiber::stop;
use super::host::{Event, Passage, Posted, Sim, Worker};
use super::ledger::Id;
use super::request::{Arriving, Body, Reading, Request};
use super::world::World;
use crate::gate::State;
use crate::gate::canary::Outcome;
use crate::gate::lane::Count;
use crate::gate::time::Moment;
use crate::shm::{Entry, Process};
use crate::worker::{Decision, Ending, Going, Place, Stage, Step};

/// More than is posted in a turn of the loop.
const MANY: u32 = 10_000;

impl Worker {
    /// A worker's life.
    pub fn live(&self) {
        let host = &self.host;
        let process = Process { pid: host.pid, started: 0 };
        self.zone.enter(self.slot, process, host.world.now());
        host.entered.set(true);
        self.zone.note_change();
        self.ring_others();
        self.look();
        while !host.may_exit() {
            host.at_work.set(false);
            host.between_events(0, &VecDeque::new());
            stop();
            host.at_work.set(true);
            self.turn_of_the_loop();
        }
        self.notice_exit();
        self.zone.leave(self.slot);
        host.over.set(true);
        host.world.ring(self.zone.slots().collect::<Vec<_>>().into_iter());
    }

    /// Events in nginx's order: what is ready, then timers, then what is posted.
    fn turn_of_the_loop(&self) {
        let host = &self.host;
        host.turn();
        let mut ready = host.inbox.take();
        host.between_events(3, &ready);
        while let Some(event) = ready.pop_front() {
            self.handle(event);
            host.between_events(1, &ready);
        }
        if host.world.hear(self.slot) {
            self.look();
        }
        self.expire_timers();
        let mut count = 0;
        while let Some(event) = host.next_posted() {
            match event {
                Posted::Task(task) => self.do_task(task),
                Posted::Body(id) => self.on_body(id),
                Posted::Caller(caller) => self.on_caller(caller),
            }
            host.between_events(2, &ready);
            count += 1;
            assert!(count < MANY, "what is posted posts more, and the loop does not turn");
        }
    }

    /// As nginx does: all that are due, also those that were set meanwhile.
    fn expire_timers(&self) {
        let (host, now) = (&self.host, self.host.world.now());
        let mut last = Moment::NEVER;
        while host.take_timer() {
            assert!(
                last != host.world.now(),
                "the loop of the worker in slot {} does not turn",
                self.slot
            );
            last = host.world.now();
            self.timer_went_off();
            self.look();
        }
        let requests: Vec<_> = host.requests.borrow().values().cloned().collect();
        for request in requests.iter().filter(|request| request.own.until.get() <= now) {
            if request.stage() == Stage::Held {
                self.end_hold(request);
            }
        }
        let callers = host.callers.borrow();
        let late = callers.iter().filter(|(_, caller)| caller.until <= now).map(|(id, _)| *id);
        let late: Vec<u64> = late.collect();
        drop(callers);
        late.into_iter().for_each(|caller| self.on_caller(caller));
    }

    fn handle(&self, event: Event) {
        match event {
            Event::Arrival(arriving) => self.on_arrival(arriving),
            Event::Call(call) => self.on_call(call),
            Event::ClientGone(id) => self.on_client_gone(id),
            Event::Response(id, outcome) => self.on_end(id, outcome, false),
            Event::Abandoned(id) => self.on_end(id, Outcome::Void, true),
            Event::Body(id) => self.on_body(id),
            Event::Upgrade(id) => {
                if let Some(request) = self.host.request(id) {
                    self.upgrade(&request);
                }
            }
            Event::Connect(id) => self.on_connect(id),
            Event::Break(id) => self.on_break(id),
            Event::Probed(app, outage) => self.on_probed(app, outage),
            Event::Redirect(id, app) => self.on_redirect(id, app),
            Event::BodyFails(id, app) => self.on_broken_body(id, app),
            Event::Answers(id) => {
                if let Some(request) = self.host.request(id) {
                    self.answer(&request);
                }
            }
        }
    }

    fn on_arrival(&self, arriving: Arriving) {
        let request = Rc::new(Passage::new(Request {
            arriving,
            app: Cell::new(arriving.app),
            until: Cell::new(Moment::NEVER),
            body: Cell::new(Reading::Unread),
            gone: Cell::new(false),
            arrived: Cell::new(Moment::NEVER),
            sent: Cell::new(false),
            broke: Cell::new(false),
            parked: Cell::new(false),
            paused: Cell::new(false),
            replayed: Cell::new(false),
        }));
        self.host.requests.borrow_mut().insert(arriving.id, Rc::clone(&request));
        self.host.world.ledger.borrow_mut().arrive(arriving.id, arriving.app, self.host.pid);
        // The short way through an open gate.
        let begun = self.host.begins();
        let known = self.known(arriving.app);
        if arriving.body == Body::None {
            if let Some(entry) = known.filter(|entry| self.passes(entry)) {
                self.host.world.ledger.borrow_mut().pass(arriving.id, begun);
                request.pass(entry);
                return self.set_out(&request);
            }
            if let Some(entry) = known {
                self.counted_in_vain(entry.app());
            }
        }
        self.decide(&request);
    }

    fn passes(&self, entry: &Entry) -> bool {
        self.host.passing.set(Some(entry.lane));
        let passes = entry.pass();
        self.host.passing.set(None);
        passes
    }

    /// As the entrance does it.
    fn decide(&self, request: &Passage) {
        let own = &request.own;
        let name = World::name(own.app.get());
        let name = name.as_bytes();
        let reads = own.arriving.body != Body::None && own.body.get() == Reading::Unread;
        let first = || !request.comes_back() && (self.is_open(name) || own.arriving.bypasses);
        if reads && first() {
            request.read_first();
            self.host.ask_for_body(request);
            return;
        }
        if request.comes_back() && own.gone.get() {
            return self.on_end(own.arriving.id, Outcome::Void, false);
        }
        let place = Place {
            name,
            number: Some(own.app.get()),
            max_held: own.arriving.max_held,
            interval: own.arriving.interval,
        };
        match self.ask(request, &place, || own.arriving.bypasses) {
            Decision::Through => self.set_out(request),
            Decision::Held => own.until.set(self.hold_until(request)),
            Decision::Refused(why) => {
                request.refuse(503, why, self.host.world.now());
                self.forget(request);
            }
        }
    }

    fn end_hold(&self, request: &Passage) {
        let own = &request.own;
        if self.waits_on(request) {
            own.paused.set(true);
            return own.until.set(self.host.world.now().plus(self.time_left(request)));
        }
        let of_outage = own.parked.get() || self.state_for(request) == Some(State::Down);
        self.time_out(request);
        if !own.arriving.passes && !of_outage {
            request.refuse(504, Ending::TimedOut, self.host.world.now());
            self.forget(request);
        } else if own.body.get() == Reading::Asked {
            request.read_first();
        } else if own.parked.get() {
            self.go_on(request);
        } else {
            self.decide(request);
        }
    }

    fn on_client_gone(&self, id: Id) {
        let Some(request) = self.host.request(id) else { return };
        // Whoever is on its way out is looked at when its turn comes.
        match request.stage() {
            Stage::Going(_) | Stage::Leaving(_) if self.host.world.rng.chance(50) => {
                request.own.gone.set(true);
            }
            Stage::Through(_) => self.on_end(id, Outcome::Gone, false),
            _ => self.on_end(id, Outcome::Void, false),
        }
    }

    pub fn on_end(&self, id: Id, outcome: Outcome, abandoned: bool) {
        let Some(request) = self.host.request(id) else { return };
        match request.just_passed().filter(|_| !abandoned) {
            // The short way, as through the gate.
            Some(entry) => {
                let world = &self.host.world;
                world.ledger.borrow_mut().leave(id, world.now());
                entry.lane.sub(Count::InFlight);
                if !entry.is_open() {
                    self.request_ended(entry.app());
                }
            }
            None => self.end(&request, outcome, abandoned),
        }
        self.forget(&request);
    }

    /// A good answer begins.
    fn answer(&self, request: &Passage) {
        if request.canary().is_some() {
            self.host.world.ledger.borrow_mut().answers(request.own.arriving.id);
            self.canary_answers(request);
        }
    }

    fn forget(&self, request: &Passage) {
        let id = request.own.arriving.id;
        self.host.world.ledger.borrow_mut().forget(id);
        self.host.requests.borrow_mut().remove(&id);
    }

    fn on_body(&self, id: Id) {
        let Some(request) = self.host.request(id) else { return };
        if request.own.body.replace(Reading::Come) == Reading::Asked
            && request.stage() == Stage::Reading
        {
            request.has_come();
            self.decide(&request);
        }
    }

    fn on_redirect(&self, id: Id, app: usize) {
        let Some(request) = self.host.request(id) else { return };
        if !matches!(request.stage(), Stage::Through(_)) {
            return;
        }
        self.enter_other_app(&request, app);
    }

    /// A body cannot be read, and the error page is in another app's place.
    fn on_broken_body(&self, id: Id, app: usize) {
        let Some(request) = self.host.request(id) else { return };
        if request.stage() == Stage::Reading {
            self.give_up(&request);
            request.own.body.set(Reading::Come);
            self.host.world.ledger.borrow_mut().move_to(id, app);
            request.own.app.set(app);
            self.decide(&request);
        }
    }

    fn enter_other_app(&self, request: &Passage, app: usize) {
        let id = request.own.arriving.id;
        let name = World::name(app);
        let is_same = request.entry().is_some_and(|it| self.is_named(it.app(), name.as_bytes()));
        if !is_same {
            self.turn_back(request, Outcome::Void);
            self.host.world.ledger.borrow_mut().move_to(id, app);
            let own = &request.own;
            own.broke.set(own.broke.get() || own.sent.replace(false));
            own.app.set(app);
            self.decide(request);
        }
    }
}

impl Sim {
    pub fn ask_for_body(&self, request: &Passage) {
        request.own.body.set(Reading::Asked);
        if request.own.arriving.body == Body::Soon {
            self.post(Posted::Body(request.own.arriving.id));
        }
    }

    /// What is asked of a request in a batch.
    pub fn take_step(&self, passage: &Passage, step: Step) {
        let worker = self.worker();
        let id = passage.own.arriving.id;
        // It stays until this is over, though it may be forgotten.
        let _request = self.request(id);
        match (passage.stage(), step) {
            (Stage::Going(_), Step::Prepare) => {
                self.world.ledger.borrow_mut().is_in_flight(id);
                let uploads = passage.own.arriving.body != Body::None;
                if uploads && passage.own.body.get() == Reading::Unread {
                    self.ask_for_body(passage);
                }
            }
            (Stage::Going(_), Step::Go) => {
                match worker.send_off(passage, || passage.own.gone.get()) {
                    Going::Waits => {}
                    Going::On => {
                        passage.own.parked.set(false);
                        worker.set_out(passage);
                    }
                    Going::Gone => worker.on_end(id, Outcome::Void, false),
                }
            }
            (Stage::Leaving(status), Step::Go) => {
                passage.refuse(status, passage.why_let_go(), self.world.now());
                worker.forget(passage);
            }
            _ => {}
        }
    }
}
