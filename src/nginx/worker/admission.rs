//! Coming to a gate: what becomes of a request there, and how it gives the hold up.

use core::time::Duration;

use nginx_sys::NGX_LOG_WARN;

use super::Worker;
use crate::control::args::shown;
use crate::gate::lane::Count;
use crate::gate::time::Moment;
use crate::gate::totals::Totals;
use crate::gate::{Arrival, Gate, State};
use crate::nginx::ffi::{clock, connections};
use crate::nginx::queue::Queue;
use crate::nginx::request::life::Passage;
use crate::nginx::zone::ZoneLock;
use crate::shm::{AppId, Entry, Locked, MAX_NAME};

/// How many records are looked at, for one request, to find an app that can be forgotten.
const SEARCH: usize = 64;

/// How a request comes to a gate that was not found open.
pub enum Knock<'r> {
    Look,
    Bypass,
    /// It was held for as long as it may be.
    Overdue,
    Stay {
        passage: &'r Passage,
        max_held: u32,
        interval: Duration,
    },
}

pub enum Answer {
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

impl Worker {
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

    /// A request of the app of this name comes to its gate.
    pub fn knock(&self, name: &[u8], knock: Knock<'_>) -> Answer {
        let now = clock::now();
        let short = matches!(knock, Knock::Stay { .. }) && self.is_short_of_connections(now);
        if name.len() > MAX_NAME {
            return Answer::Nameless;
        }
        let mut locked = self.zone.lock();
        let Ok(app) = locked.find_or_create(name, SEARCH) else {
            return self.go_unattributed(locked, name, now);
        };
        let state = self.zone.state(app);
        let Ok(entry) = locked.entry(app, self.slot, SEARCH) else {
            return self.knock_without_lane(locked, app, name, &knock, now);
        };
        let Some(place) = self.queues.get(app.index()) else { return Answer::Full };
        let arrival = match knock {
            _ if state == State::Open => Arrival::Pass,
            Knock::Look => return Answer::Closed,
            Knock::Overdue => Arrival::Pass,
            Knock::Bypass => {
                locked.update(app, |gate| gate.totals.bypassed += 1);
                Arrival::Pass
            }
            Knock::Stay { passage, .. } if passage.comes_back_to(&entry) => {
                let come_back = |gate: &mut Gate| gate.come_back(passage.ticket());
                locked.update(app, come_back).unwrap_or(Arrival::Pass)
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
                place.get_or_init(|| Queue::new(app, entry.lane)).push(passage, entry.lane);
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

    /// A request comes to its gate for which there is no lane: it cannot be held.
    fn knock_without_lane(
        &self,
        mut locked: Locked<'_, ZoneLock>,
        app: AppId,
        name: &[u8],
        knock: &Knock<'_>,
        now: Moment,
    ) -> Answer {
        match knock {
            _ if self.zone.state(app) == State::Open => {}
            Knock::Look => return Answer::Closed,
            Knock::Overdue => {}
            Knock::Bypass => {
                locked.update(app, |gate| gate.totals.bypassed += 1);
            }
            Knock::Stay { .. } => {
                locked.update(app, |gate| gate.totals.rejected += 1);
                return Answer::Full;
            }
        }
        self.go_unattributed(locked, name, now)
    }

    /// A request goes through that its app has no room to count.
    fn go_unattributed(&self, locked: Locked<'_, ZoneLock>, name: &[u8], now: Moment) -> Answer {
        locked.pass_unattributed(self.slot);
        drop(locked);
        self.warn(now, || {
            format!(
                "there is no room to count requests of app \"{}\", so every drain waits for them: \
                 enlarge intermission_zone",
                shown(name)
            )
        });
        Answer::Unattributed
    }

    /// Whether one more request cannot be held, for want of connections.
    pub fn needs_connections(&self) -> bool {
        connections::are_short()
    }

    /// As [`Self::needs_connections`]; says so once in a second.
    fn is_short_of_connections(&self, now: Moment) -> bool {
        let short = self.needs_connections();
        if short {
            self.warn(now, || {
                format!(
                    "requests are rejected, as {} are held and what is left of the connections is \
                     kept for their release: raise worker_connections (or worker_rlimit_nofile)",
                    self.holding.get()
                )
            });
        }
        short
    }

    /// A line in the error log about what runs out, at most once a second.
    fn warn(&self, now: Moment, line: impl FnOnce() -> String) {
        if now.since(self.warned.get()) >= Duration::from_secs(1) {
            self.warned.set(now);
            let log = ngx::log::ngx_cycle_log().as_ptr();
            ngx::ngx_log_error!(NGX_LOG_WARN, log, "intermission: {}", line());
        }
    }

    /// Takes a request out of its queue that does not want to be released any more.
    pub fn withdraw(&self, passage: &Passage, count: impl FnOnce(&mut Totals)) {
        let Some(entry) = passage.entry() else { return };
        let Some(queue) = self.queue(entry.app()) else { return };
        let was_first = queue.first_ticket() == passage.ticket();
        passage.link.remove();
        self.stopped_holding();
        let waited = passage.waited().unwrap_or_default();
        self.update(entry.app(), |gate| {
            count(&mut gate.totals);
            gate.waits.record(waited);
        });
        if was_first && !queue.is_busy() {
            queue.publish();
            if self.zone.state(entry.app()) == State::Releasing || self.leaving.get() {
                self.advance(entry.app());
            }
        }
    }

    fn began_to_hold(&self, app: AppId, interval: Duration, now: Moment) {
        self.arrived.set(self.arrived.get().saturating_add(1));
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
