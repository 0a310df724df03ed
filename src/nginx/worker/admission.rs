//! Coming to a gate: what becomes of a request there, and how it gives the hold up.

use core::time::Duration;

use nginx_sys::NGX_LOG_WARN;

use super::Worker;
use crate::gate::lane::Count;
use crate::gate::time::Moment;
use crate::gate::totals::Totals;
use crate::gate::{Arrival, State};
use crate::nginx::passage::Passage;
use crate::nginx::queue::Queue;
use crate::nginx::{clock, connections};
use crate::shm::{AppId, Entry};

/// How many records are looked at, for one request, to find an app that can be forgotten.
const SEARCH: usize = 64;

/// How a request comes to a gate that was not found open.
pub enum Knock<'r> {
    Look,
    Bypass,
    Stay { passage: &'r Passage, max_held: u32, interval: Duration },
}

pub enum Answer {
    /// It goes through and is counted.
    Through(Entry),
    /// It goes through, but there is no room to count it: its app cannot have been paused.
    Uncounted,
    Closed,
    Held,
    Full,
    Maintenance(Entry),
}

impl Worker {
    /// A request of the app of this name comes to its gate.
    pub fn knock(&self, name: &[u8], knock: Knock<'_>) -> Answer {
        let now = clock::now();
        let short = matches!(knock, Knock::Stay { .. }) && self.is_short_of_connections(now);
        let mut locked = self.zone.lock();
        let Ok(app) = locked.find_or_create(name, SEARCH) else { return Answer::Uncounted };
        let state = self.zone.state(app);
        let Ok(entry) = locked.entry(app, self.slot) else {
            return if state == State::Open { Answer::Uncounted } else { Answer::Full };
        };
        let Some(place) = self.queues.get(app.index()) else { return Answer::Full };
        let arrival = match knock {
            _ if state == State::Open => Arrival::Pass,
            Knock::Look => return Answer::Closed,
            Knock::Bypass => {
                locked.update(app, |gate| gate.totals.bypassed += 1);
                Arrival::Pass
            }
            Knock::Stay { max_held, .. } => {
                let max_held = if short { 1 } else { max_held };
                let held = match max_held {
                    0 => 0,
                    _ if short => u32::MAX,
                    _ => self.zone.survey(app, self.slot, &self.liveness(now)).held,
                };
                locked.update(app, |gate| gate.arrive(held, max_held)).unwrap_or(Arrival::Pass)
            }
        };
        match (arrival, knock) {
            (Arrival::Hold(ticket), Knock::Stay { passage, interval, .. }) => {
                if self.holding.get() == 0 {
                    // Before the others see that it holds: they wait for whoever runs.
                    self.zone.beat(self.slot, now, interval);
                }
                passage.hold(entry, ticket, now);
                place.get_or_init(|| Queue::new(app, entry.lane)).push(passage);
                entry.lane.add(Count::Held);
                drop(locked);
                self.began_to_hold(app, interval, now);
                Answer::Held
            }
            (Arrival::Full, _) => Answer::Full,
            (Arrival::Maintenance, _) => Answer::Maintenance(entry),
            _ => {
                entry.lane.add(Count::InFlight);
                Answer::Through(entry)
            }
        }
    }

    /// Whether one more request cannot be held, for want of connections.
    pub fn needs_connections(&self) -> bool {
        connections::are_short(self.holding.get())
    }

    /// As [`Self::needs_connections`]; says so once in a second.
    fn is_short_of_connections(&self, now: Moment) -> bool {
        let short = self.needs_connections();
        if short && now.since(self.warned.get()) >= Duration::from_secs(1) {
            self.warned.set(now);
            ngx::ngx_log_error!(
                NGX_LOG_WARN,
                ngx::log::ngx_cycle_log().as_ptr(),
                "intermission: requests are rejected, as {} are held and each needs one more \
                 connection when it is released: raise worker_connections (or \
                 worker_rlimit_nofile)",
                self.holding.get()
            );
        }
        short
    }

    /// Takes a request out of its queue that does not want to be released any more.
    pub fn withdraw(&self, passage: &Passage, count: impl FnOnce(&mut Totals)) {
        let Some(entry) = passage.entry() else { return };
        let Some(queue) = self.queue(entry.app()) else { return };
        let was_first = queue.first_ticket() == passage.ticket();
        queue.remove(passage);
        self.stopped_holding(&entry);
        let waited = passage.waited().unwrap_or_default();
        self.update(entry.app(), |gate| {
            count(&mut gate.totals);
            gate.waits.record(waited);
        });
        if was_first && !queue.is_busy() {
            queue.publish();
            if self.zone.state(entry.app()) == State::Releasing {
                self.advance(entry.app());
            }
        }
    }

    fn began_to_hold(&self, app: AppId, interval: Duration, now: Moment) {
        let before = self.holding.replace(self.holding.get() + 1);
        if before == 0 {
            self.interval.set(interval);
        } else {
            self.interval.set(self.interval.get().min(interval));
        }
        self.arm(now);
        if self.zone.state(app) != State::Paused || self.leaving.get() {
            self.look_soon();
        }
    }
}
