//! The states of the apps, as they must be after each call and each event.

use std::time::Duration;

use super::{Ledger, Place, Record, WINDOW};
use crate::gate::lane::Ticket;
use crate::gate::outage::RESERVED;
use crate::gate::policy::Policy;
use crate::gate::time::Moment;
use crate::gate::totals::Totals;
use crate::gate::{Cause, Change, State};

/// What is known of an app.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub state: State,
    /// The step at which that last changed.
    pub changed_at: u64,
    /// Since when everybody sees that it is not open.
    pub surely_closed: Option<u64>,
    /// Whoever changed the state died before all could see it.
    pub torn: bool,
    /// The number of the pause.
    pub pause: u64,
    pub deadline: Moment,
    pub policy: Policy,
    /// When the release under way began, and when it loses its limits.
    pub begun: Moment,
    pub until: Moment,
    pub canary: Option<Canary>,
    pub canaries: u64,
    /// That is the first of those who were held as the backend was down.
    pub canary_of_outage: bool,
    /// How often it was closed, and the first ticket since then that is for those who arrive.
    pub closings: u64,
    pub first_ticket: Ticket,
    /// When the last probe began, and whether it goes on.
    pub probed: Option<Moment>,
    pub probes: bool,
    /// Whether the last canary was good, by its number.
    pub verdict: (u64, bool),
    pub totals: Totals,
    /// Holds that are over.
    pub ended: u64,
    /// Killed with their workers while they were held or on their way out, and how many of these
    /// the totals know.
    pub died: u64,
    pub buried: u64,
    pub refused: u64,
    pub last_ticket: Option<Ticket>,
    /// The first ticket after the release under way had begun.
    pub latecomers: Ticket,
    /// Since when no others have been held, in a release at once.
    pub late_since: Moment,
    /// From which ticket on requests may overtake each other, as they kept a release from ending.
    pub mingling: Option<Ticket>,
    /// What this release has let go, and when.
    pub paced: Vec<(Moment, u32)>,
}

#[derive(Clone, Copy, Debug)]
pub struct Canary {
    pub size: u32,
    pub started: u32,
    /// Those that say nothing about the backend, and those of them whose clients left it no time.
    pub void: u32,
    pub gone: u32,
    pub good: u32,
    pub failed: u32,
    /// Killed together with their workers: the gate finds out in the end.
    pub lost: u32,
}

impl Account {
    pub fn new() -> Self {
        let never = Moment::NEVER;
        Self { deadline: never, until: never, late_since: never, ..Self::default() }
    }

    pub fn is_released_at_once(&self) -> bool {
        let at_once = self.policy.rate == 0 && self.policy.concurrency == 0;
        self.state == State::Releasing && at_once && self.canary.is_none()
    }

    /// Those who went through while it was open have tickets of their own.
    fn close(&mut self) {
        self.closings += 1;
        self.first_ticket = self.last_ticket.map_or(0, |last| last + 1) + RESERVED;
        self.last_ticket = Some(self.first_ticket - 1);
    }

    pub fn mingles(&self, ticket: Ticket) -> bool {
        self.mingling.is_some_and(|from| ticket >= from)
    }
}

impl Ledger {
    /// Notes which releases have come to those who came during them.
    pub fn watch_releases(&mut self, now: Moment) {
        for app in 0..self.accounts.len() {
            let account = &self.accounts[app];
            if account.late_since.is_never() && account.is_released_at_once() && self.is_late(app) {
                self.accounts[app].late_since = now;
            }
        }
    }

    /// Whether nobody waits for whom the release under way was made.
    fn is_late(&self, app: usize) -> bool {
        let latecomers = self.accounts[app].latecomers;
        self.waiting(app).all(|record| record.ticket >= latecomers)
    }

    /// Those who came during a release at once, and only they, may overtake each other when nobody else
    /// has been there for a second: one turn after the other would not come to the end of clients that
    /// ask again as soon as they are answered.
    pub(super) fn let_latecomers_mingle(&mut self, app: usize, now: Moment) {
        let account = &self.accounts[app];
        if account.state != State::Releasing {
            return;
        }
        let since = account.late_since;
        let late = !since.is_never() && now.since(since) >= Duration::from_secs(1);
        let mingle = late && account.is_released_at_once() && self.is_late(app);
        let account = &mut self.accounts[app];
        account.mingling = mingle.then_some(account.latecomers);
    }

    pub fn enable(&mut self, app: usize, deadline: Moment, policy: Policy, pause: u64) {
        self.set_state(app, State::Paused);
        let account = &mut self.accounts[app];
        account.pause = pause;
        account.deadline = deadline;
        account.policy = policy;
        account.canary = None;
    }

    pub fn disable(
        &mut self,
        app: usize,
        change: &Change,
        now: Moment,
        policy: Policy,
        canary: u32,
    ) {
        let account = &mut self.accounts[app];
        if account.state == State::Open {
            assert_eq!(change.to, State::Open);
            return;
        }
        let again = account.state == State::Releasing
            && account.policy == policy
            && canary == 0
            && account.canary.is_none();
        if again {
            assert_eq!(change.to, State::Releasing);
            return;
        }
        account.policy = policy;
        if account.state == State::Down && canary == 0 {
            return self.try_first(app, change.to, now);
        }
        self.begin_release(app, change.to, now, canary);
    }

    pub fn maintenance(&mut self, app: usize) {
        self.set_state(app, State::Maintenance);
        self.accounts[app].canary = None;
    }

    /// An app changes by itself.
    pub fn change(&mut self, app: usize, change: &Change, now: Moment) {
        let account = &mut self.accounts[app];
        assert_eq!(account.state, change.from);
        match change.cause {
            Cause::Call | Cause::StateFile => panic!("an app changes without a call"),
            Cause::Probed => {
                assert_eq!(account.state, State::Down);
                self.try_first(app, change.to, now);
            }
            Cause::Deadline => {
                assert_eq!(account.state, State::Paused);
                assert!(account.deadline <= now, "a pause ends before its deadline");
                self.begin_release(app, change.to, now, 0);
            }
            Cause::Released => {
                assert_eq!((account.state, change.to), (State::Releasing, State::Open));
                assert!(account.canary.is_none(), "a release is over before its canary");
                self.let_latecomers_mingle(app, now);
                let held = self.of(app).filter(|record| record.place == Place::Held).count();
                assert!(held as u64 <= WINDOW, "an app is opened though {held} wait");
                self.open(app);
            }
            Cause::ReleaseTimeout => {
                assert_eq!((account.state, change.to), (State::Releasing, State::Releasing));
                assert!(account.until <= now, "a release is cut short");
                account.until = Moment::NEVER;
                account.policy =
                    Policy { timeout_ms: account.policy.timeout_ms, ..Policy::at_once() };
            }
            Cause::CanaryPassed | Cause::CanaryFailed => self.judge(app, change, now),
            Cause::Reached | Cause::Refused => {
                assert!(account.canary_of_outage, "no request was sent to see");
                self.judge(app, change, now);
            }
        }
    }

    fn judge(&mut self, app: usize, change: &Change, now: Moment) {
        let number = self.accounts[app].canaries;
        let answers = |record: &&Record| record.canary == number && record.answers;
        let answering = self.of(app).filter(answers).count() as u32;
        let account = &mut self.accounts[app];
        let canary = account.canary.take().expect("there is a canary to judge");
        let late = account.until <= now;
        let good = matches!(change.cause, Cause::CanaryPassed | Cause::Reached);
        let of_outage = account.canary_of_outage;
        assert_eq!(of_outage, matches!(change.cause, Cause::Reached | Cause::Refused));
        account.verdict = (account.canaries, good);
        if good {
            assert_eq!(canary.failed + canary.lost, 0, "a canary passes that failed");
            let good = canary.good + answering;
            assert_eq!(good + canary.void, canary.started, "a canary passes before its end");
            assert!(late || canary.good >= canary.size, "a canary passes before its end");
            assert!(good > 0 || canary.gone == 0, "a canary passes though nobody came back");
            self.begin_release(app, change.to, now, 0);
        } else if of_outage {
            assert_eq!(change.to, State::Down);
            self.set_state(app, State::Down);
        } else {
            let good = canary.good + answering;
            let unproven = good + canary.void < canary.started || good == 0;
            let fails = canary.failed + canary.lost > 0 || late && unproven;
            assert!(fails, "a canary fails for no reason: {canary:?}");
            account.deadline = Moment::NEVER;
            account.pause = 0;
            assert_eq!(change.to, State::Paused);
            self.set_state(app, State::Paused);
        }
    }

    fn begin_release(&mut self, app: usize, to: State, now: Moment, size: u32) {
        if to == State::Open {
            assert_eq!(size, 0, "a canary waits for requests");
            self.open(app);
            return;
        }
        assert_eq!(to, State::Releasing);
        self.set_state(app, to);
        let account = &mut self.accounts[app];
        account.deadline = Moment::NEVER;
        account.begun = now;
        account.latecomers = account.last_ticket.map_or(0, |last| last + 1);
        account.late_since = Moment::NEVER;
        account.until = now.plus(account.policy.timeout());
        account.paced.clear();
        account.canaries += u64::from(size > 0);
        let canary = Canary { size, started: 0, void: 0, gone: 0, good: 0, failed: 0, lost: 0 };
        account.canary = (size > 0).then_some(canary);
        account.canary_of_outage = false;
    }

    /// The first of those who are held goes alone, if there is one.
    fn try_first(&mut self, app: usize, to: State, now: Moment) {
        let first = u32::from(to == State::Releasing);
        self.begin_release(app, to, now, first);
        self.accounts[app].canary_of_outage = first > 0;
    }

    fn open(&mut self, app: usize) {
        self.check_nobody_waits(app, "the app is opened");
        self.set_state(app, State::Open);
    }

    /// All that was done under the lock is there for all to see. (Unless whoever did it was killed.)
    pub fn show_states(&mut self) {
        for account in &mut self.accounts {
            if account.state != State::Open && !account.torn {
                account.surely_closed.get_or_insert(self.step);
            }
        }
    }

    pub(super) fn set_state(&mut self, app: usize, state: State) {
        let account = &mut self.accounts[app];
        if account.state == State::Open && state != State::Open {
            account.close();
        }
        if account.state != state {
            account.state = state;
            account.changed_at = self.step;
            account.probes = false;
            account.mingling = account.mingling.filter(|_| state == State::Open);
            account.surely_closed = account.surely_closed.filter(|_| state != State::Open);
        }
    }

    /// So many requests of dead workers are known to have been given up.
    pub fn bury(&mut self, app: usize, aborted: u64) {
        let account = &mut self.accounts[app];
        account.buried += aborted.checked_sub(account.totals.aborted).expect("none comes back");
        account.totals.aborted = aborted;
        assert!(account.buried <= account.died, "more die than were there: {account:?}");
    }
}
