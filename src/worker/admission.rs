//! Coming to a gate: what becomes of a request there.

use core::cell::OnceCell;
use core::time::Duration;

use super::Worker;
use super::host::{Fact, Host, Told};
use super::passage::{Ending, Flight, Passage};
use super::queue::Queue;
use crate::gate::lane::{Count, NO_TICKET, Ticket};
use crate::gate::time::Moment;
use crate::gate::{Arrival, Gate, State};
use crate::shm::{AppId, Entry, Locked, MAX_NAME};

/// How many records are looked at, for one request, to find an app that can be forgotten.
const SEARCH: usize = 64;

/// What the place says that a request comes to.
#[derive(Clone, Copy, Debug)]
pub struct Place<'n> {
    /// Whose gate it is.
    pub name: &'n [u8],
    /// The place of that name among those that the worker knows by number.
    pub number: Option<usize>,
    pub max_held: u32,
    pub interval: Duration,
}

/// What becomes of a request at a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Through,
    Held,
    Refused(Ending),
}

/// How a request comes to a gate that was not found open.
#[derive(Clone, Copy, Debug)]
enum Knock {
    Look,
    Bypass,
    /// It was held for as long as it may be.
    Overdue,
    Stay {
        max_held: u32,
        interval: Duration,
    },
}

enum Answer {
    /// It goes through and is counted.
    Through(Entry),
    /// It goes through, counted for all apps together, as there is no room to count it for its own.
    Unattributed,
    /// It goes through uncounted: no app has so long a name, so none can be paused.
    Nameless,
    Closed,
    Held,
    Full,
    Maintenance(Entry),
}

impl<H: Host> Worker<H> {
    /// Whether an app that somebody is in flight at has this name.
    pub fn is_named(&self, app: AppId, name: &[u8]) -> bool {
        self.zone.lock().name(app) == name
    }

    /// Whether it is the app of this name, and its held requests are let go, or all of them are.
    pub fn is_released(&self, app: AppId, name: &[u8]) -> bool {
        matches!(self.zone.state(app), State::Releasing | State::Open) && self.is_named(app, name)
    }

    /// Whether the app of this name is open. One that is not known is.
    pub fn is_open(&self, name: &[u8]) -> bool {
        let app = self.zone.lock().find(name);
        app.is_none_or(|app| self.zone.state(app) == State::Open)
    }

    /// A request comes to the gate of this place. Whether it bypasses that is asked if it is closed.
    pub fn ask(
        &self,
        passage: &Passage<H>,
        place: &Place<'_>,
        bypasses: impl FnOnce() -> bool,
    ) -> Decision {
        if passage.comes_back() && passage.why_let_go() == Ending::TimedOut {
            return self.let_through(passage, place, Ending::TimedOut);
        }
        let answer = self.knock(passage, place.name, Knock::Look);
        if !matches!(answer, Answer::Closed) {
            return self.take(passage, place, answer, Ending::Passed);
        }
        if bypasses() {
            let answer = self.knock(passage, place.name, Knock::Bypass);
            return self.take(passage, place, answer, Ending::Bypassed);
        }
        let (max_held, interval) = (place.max_held, place.interval);
        let answer = self.knock(passage, place.name, Knock::Stay { max_held, interval });
        self.take(passage, place, answer, Ending::Passed)
    }

    /// A request goes through whatever the gate says, for this reason.
    pub fn let_through(&self, passage: &Passage<H>, place: &Place<'_>, why: Ending) -> Decision {
        let answer = self.knock(passage, place.name, Knock::Overdue);
        self.take(passage, place, answer, why)
    }

    fn take(
        &self,
        passage: &Passage<H>,
        place: &Place<'_>,
        answer: Answer,
        ending: Ending,
    ) -> Decision {
        match answer {
            Answer::Through(entry) => {
                if let Some(number) = place.number {
                    self.remember(number, entry);
                }
                if !passage.comes_back_to(&entry) {
                    passage.ticket.set(NO_TICKET);
                } else if passage.why_let_go() == Ending::Released {
                    self.count_end(&entry, passage, Ending::Released);
                }
                passage.go_through(Some(entry), Flight::Plain, ending);
            }
            Answer::Unattributed => {
                // Its app may have had a lane here when it was held.
                let held = passage.entry.get().filter(|_| passage.comes_back());
                if let (Some(entry), Ending::Released) = (held, passage.why_let_go()) {
                    self.count_end(&entry, passage, Ending::Released);
                }
                passage.go_through(None, Flight::Unattributed, ending);
            }
            Answer::Nameless | Answer::Closed => {
                passage.go_through(None, Flight::Plain, Ending::Passed);
            }
            Answer::Held => return Decision::Held,
            Answer::Full => return Decision::Refused(Ending::Rejected),
            Answer::Maintenance(entry) => {
                if passage.comes_back_to(&entry) {
                    self.count_end(&entry, passage, Ending::Maintenance);
                }
                passage.entry.set(Some(entry));
                return Decision::Refused(Ending::Maintenance);
            }
        }
        Decision::Through
    }

    /// A request comes to the gate of the app of this name.
    fn knock(&self, passage: &Passage<H>, name: &[u8], knock: Knock) -> Answer {
        let now = self.host.now();
        let short = matches!(knock, Knock::Stay { .. }) && self.is_short_of_connections(now);
        if name.len() > MAX_NAME {
            return Answer::Nameless;
        }
        let mut locked = self.zone.lock();
        let Ok(app) = locked.find_or_create(name, SEARCH) else {
            return self.go_unattributed(locked, passage, name, now);
        };
        let state = self.zone.state(app);
        let Ok(entry) = locked.entry(app, self.slot, SEARCH) else {
            return self.knock_without_lane(locked, app, passage, name, knock);
        };
        let Some(queue) = self.queues.get(app.index()) else { return Answer::Full };
        let arrival = match knock {
            _ if state == State::Open => Arrival::Pass,
            Knock::Look => return Answer::Closed,
            Knock::Overdue => Arrival::Pass,
            Knock::Bypass => {
                locked.update(app, |gate| self.count_bypass(gate, passage));
                Arrival::Pass
            }
            Knock::Stay { max_held, .. } if passage.comes_back_to(&entry) => {
                let come_back = |gate: &mut Gate| {
                    let arrival = gate.come_back(passage.ticket());
                    self.host.note(Fact::Arrived { passage, arrival, max_held });
                    arrival
                };
                locked.update(app, come_back).unwrap_or(Arrival::Pass)
            }
            Knock::Stay { max_held, .. } => {
                let max_held = if short { 1 } else { max_held };
                let held = match max_held {
                    0 => 0,
                    _ if short => u32::MAX,
                    _ => self.zone.survey(app, self.slot, &self.host.liveness(now)).held,
                };
                let arrive = |gate: &mut Gate| {
                    let arrival = gate.arrive(held, max_held);
                    self.host.note(Fact::Arrived { passage, arrival, max_held });
                    arrival
                };
                locked.update(app, arrive).unwrap_or(Arrival::Pass)
            }
        };
        match (arrival, knock) {
            (Arrival::Hold(ticket), Knock::Stay { interval, .. }) => {
                let since = if passage.comes_back_to(&entry) { passage.since() } else { now };
                self.enqueue(queue, passage, entry, (since, ticket), interval, now);
                drop(locked);
                self.began_to_hold(app, interval, now);
                Answer::Held
            }
            (Arrival::Full, _) => Answer::Full,
            (Arrival::Maintenance, _) => Answer::Maintenance(entry),
            _ => {
                entry.lane.add(Count::InFlight);
                self.host.note(Fact::Through { passage, attributed: true });
                Answer::Through(entry)
            }
        }
    }

    /// Puts a request into the queue of its app, under the lock, where it is held with this ticket and since
    /// that moment. [`Self::began_to_hold`] has to follow.
    pub(super) fn enqueue(
        &self,
        queue: &OnceCell<Box<Queue<H>>>,
        passage: &Passage<H>,
        entry: Entry,
        held: (Moment, Ticket),
        interval: Duration,
        now: Moment,
    ) {
        if self.holding.get() == 0 {
            // Before the others see that it holds.
            self.beat(now, interval);
        }
        passage.hold(entry, held);
        let new = || Queue::new(entry.app(), entry.lane, &self.host);
        queue.get_or_init(new).push(passage, entry.lane);
    }

    /// A request comes to its gate for which there is no lane: it cannot be held.
    fn knock_without_lane(
        &self,
        mut locked: Locked<'_, H::Lock>,
        app: AppId,
        passage: &Passage<H>,
        name: &[u8],
        knock: Knock,
    ) -> Answer {
        match knock {
            _ if self.zone.state(app) == State::Open => {}
            Knock::Look => return Answer::Closed,
            Knock::Overdue => {}
            Knock::Bypass => {
                locked.update(app, |gate| self.count_bypass(gate, passage));
            }
            Knock::Stay { max_held, .. } => {
                locked.update(app, |gate| {
                    gate.totals.rejected += 1;
                    self.host.note(Fact::Arrived { passage, arrival: Arrival::Full, max_held });
                });
                return Answer::Full;
            }
        }
        self.go_unattributed(locked, passage, name, self.host.now())
    }

    fn count_bypass(&self, gate: &mut Gate, passage: &Passage<H>) {
        gate.totals.bypassed += 1;
        self.host.note(Fact::Bypasses(passage));
    }

    /// A request goes through that its app has no room to count.
    fn go_unattributed(
        &self,
        locked: Locked<'_, H::Lock>,
        passage: &Passage<H>,
        name: &[u8],
        now: Moment,
    ) -> Answer {
        locked.pass_unattributed(self.slot);
        self.host.note(Fact::Through { passage, attributed: false });
        drop(locked);
        self.host.tell(Told::NoRoom { name, now });
        Answer::Unattributed
    }

    /// Whether one more request cannot be held, for want of connections.
    pub(super) fn is_short_of_connections(&self, now: Moment) -> bool {
        let short = self.host.is_short_of_connections();
        if short {
            self.host.tell(Told::NoConnections { holding: self.holding.get(), now });
        }
        short
    }

    pub(super) fn began_to_hold(&self, app: AppId, interval: Duration, now: Moment) {
        self.arrived.set(self.arrived.get().saturating_add(1));
        let before = self.holding.replace(self.holding.get() + 1);
        if before == 0 {
            self.interval.set(interval);
        } else {
            self.interval.set(self.interval.get().min(interval));
        }
        self.arm(now);
        if !self.zone.state(app).rests() || self.leaving.get() {
            self.look_soon();
        }
    }
}
