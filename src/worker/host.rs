//! What a worker asks of the world around it.

use core::time::Duration;

use parking_lot::lock_api::RawMutex;

use super::passage::{Ending, Passage};
use super::queue::Queue;
use crate::gate::canary::Outcome;
use crate::gate::outage::{Failure, TakenBack};
use crate::gate::policy::Policy;
use crate::gate::time::Moment;
use crate::gate::{Arrival, Change};
use crate::shm::{AppId, Liveness};

/// The world of a worker: nginx, or the simulation.
pub trait Host: Sized + 'static {
    /// What this world knows of a request, besides what the worker does.
    type Request;
    /// The lock of the zone.
    type Lock: RawMutex + 'static;
    /// Something that can be posted, and does a [`Task`] then.
    type Event;
    /// A caller who waits for an answer.
    type Caller: Copy + PartialEq;

    fn now(&self) -> Moment;

    /// What it takes to tell the living workers from the dead.
    fn liveness(&self, now: Moment) -> Liveness;

    fn event(&self, task: Task) -> Self::Event;

    fn post(&self, event: &Self::Event, when: When);

    /// The one timer of the worker: [`Task::Look`] is done at that moment, and not before.
    fn set_timer(&self, at: Moment, now: Moment);

    /// When this world has to do something of its own at that timer.
    fn due(&self) -> Moment;

    /// Makes the workers in these slots look.
    fn ring(&self, slots: impl Iterator<Item = usize>);

    /// Runs a request that was let go. It may be no more when this returns.
    fn run(&self, passage: &Passage<Self>, step: Step);

    /// Whether the body of a request was asked for and has not come.
    fn is_being_read(&self, passage: &Passage<Self>) -> bool;

    /// Lets a caller look whether there is an answer.
    fn wake(&self, caller: Self::Caller);

    /// Whether this process was told to exit.
    fn is_exiting(&self) -> bool;

    /// Whether somebody else will say what becomes of the held requests when all of nginx ends.
    fn is_succeeded(&self) -> bool;

    /// How many processes serve requests, or may, that nobody counts.
    fn uncounted_processes(&self) -> usize;

    /// Whether there are so few connections left that one more request cannot be held.
    fn is_short_of_connections(&self) -> bool;

    /// How many requests there are connections for that are let go.
    fn free_connections(&self) -> usize;

    /// Whether this worker knows where the backend of an app is, that is down in this outage.
    fn can_probe(&self, _: AppId, _outage: u64) -> bool {
        false
    }

    /// Looks whether the backend is back; [`super::Worker::probe_ended`] is called then.
    fn probe(&self, _: AppId, _outage: u64) {}

    /// Something happened that a person may want to know.
    fn tell(&self, told: Told<'_>);

    /// What truly happens, told at the very point where it does: for a world that keeps account of it.
    #[inline(always)]
    fn note(&self, _: Fact<'_, Self>) {}
}

/// What a worker does when an event that it posted runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// It looks at the zone.
    Look,
    /// The loop has turned: as many may be let go as before.
    Refill,
    /// It runs the batch of an app's queue, or looks whether there may be another.
    Turn(AppId),
}

/// When an event runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In this turn of the loop, if it is not posted already.
    Soon,
    /// In this turn of the loop, behind all that is posted.
    Last,
    /// In the next turn of the loop.
    NextTurn,
}

/// What is asked of a request in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To ask for its body, if that has to be there.
    Prepare,
    /// To go on.
    Go,
}

/// What a worker tells the world.
pub enum Told<'t> {
    /// An app changed by itself; so many are held. `left_out`, if that is to be said: how many changes
    /// before it were not.
    Changed { name: &'t [u8], change: &'t Change, held: u32, left_out: Option<u32>, now: Moment },
    /// All of nginx ends, and so many are let go, as nobody is left to resume.
    Leaves { holding: usize },
    /// There is no room to count a request of the app of this name.
    NoRoom { name: &'t [u8], now: Moment },
    /// There are no connections to hold one more request besides so many.
    NoConnections { holding: usize, now: Moment },
    /// A canary is let go.
    CanaryGoes,
}

/// What truly happens to requests, to workers, and to apps by themselves.
#[cfg_attr(not(test), allow(dead_code))]
pub enum Fact<'t, H: Host> {
    /// A request goes through, and is counted for its app, or else for all.
    Through { passage: &'t Passage<H>, attributed: bool },
    /// That was as it bypasses a closed gate.
    Bypasses(&'t Passage<H>),
    /// The gate has decided about a request that can be held; it comes back if it was held before.
    Arrived { passage: &'t Passage<H>, arrival: Arrival, max_held: u32 },
    /// A call releases an app.
    Disabled { app: AppId, change: &'t Change, now: Moment, policy: &'t Policy, canary: u32 },
    /// An app changes by itself.
    Settled { app: AppId, change: &'t Change, now: Moment },
    /// A batch is let go, as this canary if it is not 0.
    LetGo { queue: &'t Queue<H>, now: Moment, canary: u64, leaving: bool },
    /// A request of a batch is refused.
    Refused(&'t Passage<H>),
    /// A request is on its way out of its queue, before its turn.
    Withdraws(&'t Passage<H>),
    /// It is out, for this reason.
    Withdrawn(&'t Passage<H>, Ending),
    /// A request that was held, and let go, has come to its end at the gate: it goes on to the backend,
    /// or does not.
    HoldEnded(&'t Passage<H>, Ending),
    /// A request is no more in flight.
    Left(&'t Passage<H>),
    /// A worker that holds requests has shown that it runs, and will again within this time.
    Beats { at: Moment, interval: Duration },
    /// A request that went through could not be sent to the backend, and is held again, or at last.
    /// Its app was last open at the moment `closed`.
    TakenBack {
        passage: &'t Passage<H>,
        failure: &'t Failure,
        taken: &'t TakenBack,
        now: Moment,
        closed: Moment,
    },
    /// A probe of an app's backend begins.
    Probes { app: AppId, now: Moment },
    /// It is no more one of a canary.
    CanaryOver { passage: &'t Passage<H>, canary: u64, outcome: Outcome },
}
