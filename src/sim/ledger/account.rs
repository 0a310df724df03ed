//! The states of the apps, as they must be after each call and each event.

use std::time::Duration;

use super::Ledger;
use crate::gate::lane::Ticket;
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
    /// Since when everybody sees that it is paused.
    pub surely_paused: Option<u64>,
    /// The number of the pause.
    pub pause: u64,
    pub deadline: Moment,
    pub policy: Policy,
    /// When the release under way began, and when it loses its limits.
    pub begun: Moment,
    pub until: Moment,
    pub trial: Option<Trial>,
    pub trials: u64,
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
    /// From which ticket on requests may overtake each other, as they kept a release from ending.
    pub mingling: Option<Ticket>,
    /// What this release has let go, and when.
    pub paced: Vec<(Moment, u32)>,
}

#[derive(Clone, Copy, Debug)]
pub struct Trial {
    pub size: u32,
    pub started: u32,
    pub void: u32,
    pub good: u32,
    pub failed: u32,
    /// Killed together with their workers: the gate finds out in the end.
    pub lost: u32,
}

impl Account {
    pub fn new() -> Self {
        Self { deadline: Moment::NEVER, until: Moment::NEVER, ..Self::default() }
    }

    /// Those who came during a release at once may overtake each other, if it takes too long.
    pub fn let_latecomers_mingle(&mut self, now: Moment) {
        let at_once = self.policy.rate == 0 && self.policy.concurrency == 0;
        let late = now.since(self.begun) >= Duration::from_secs(1);
        if self.state == State::Releasing && at_once && late && self.trial.is_none() {
            self.mingling = Some(self.latecomers);
        }
    }

    pub fn mingles(&self, ticket: Ticket) -> bool {
        self.mingling.is_some_and(|from| ticket >= from)
    }
}

impl Ledger {
    pub fn enable(&mut self, app: usize, deadline: Moment, policy: Policy, pause: u64) {
        self.set_state(app, State::Paused);
        let account = &mut self.accounts[app];
        account.pause = pause;
        account.deadline = deadline;
        account.policy = policy;
        account.trial = None;
    }

    pub fn disable(
        &mut self,
        app: usize,
        change: &Change,
        now: Moment,
        policy: Policy,
        trial: u32,
    ) {
        let account = &mut self.accounts[app];
        if account.state == State::Open {
            assert_eq!(change.to, State::Open);
            return;
        }
        let again = account.state == State::Releasing
            && account.policy == policy
            && trial == 0
            && account.trial.is_none();
        if again {
            assert_eq!(change.to, State::Releasing);
            return;
        }
        account.policy = policy;
        self.begin_release(app, change.to, now, trial);
    }

    pub fn maintenance(&mut self, app: usize) {
        self.set_state(app, State::Maintenance);
        self.accounts[app].trial = None;
    }

    /// An app changes by itself.
    pub fn change(&mut self, app: usize, change: &Change, now: Moment) {
        let account = &mut self.accounts[app];
        assert_eq!(account.state, change.from);
        match change.cause {
            Cause::Call | Cause::StateFile => panic!("an app changes without a call"),
            Cause::Deadline => {
                assert_eq!(account.state, State::Paused);
                assert!(account.deadline <= now, "a pause ends before its deadline");
                self.begin_release(app, change.to, now, 0);
            }
            Cause::Released => {
                assert_eq!((account.state, change.to), (State::Releasing, State::Open));
                assert!(account.trial.is_none(), "a release is over before its canary");
                account.let_latecomers_mingle(now);
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
        }
    }

    fn judge(&mut self, app: usize, change: &Change, now: Moment) {
        let account = &mut self.accounts[app];
        let trial = account.trial.take().expect("there is a canary to judge");
        let late = account.until <= now;
        let good = change.cause == Cause::CanaryPassed;
        account.verdict = (account.trials, good);
        if good {
            assert_eq!(trial.failed + trial.lost, 0, "a canary passes that failed");
            assert_eq!(trial.good + trial.void, trial.started, "a canary passes before its end");
            assert!(late || trial.good >= trial.size, "a canary passes before its end");
            self.begin_release(app, change.to, now, 0);
        } else {
            assert!(
                late || trial.failed + trial.lost > 0,
                "a canary fails for no reason: {trial:?}"
            );
            account.deadline = Moment::NEVER;
            account.pause = 0;
            assert_eq!(change.to, State::Paused);
            self.set_state(app, State::Paused);
        }
    }

    fn begin_release(&mut self, app: usize, to: State, now: Moment, trial: u32) {
        if to == State::Open {
            assert_eq!(trial, 0, "a canary waits for requests");
            self.open(app);
            return;
        }
        assert_eq!(to, State::Releasing);
        self.set_state(app, to);
        let account = &mut self.accounts[app];
        account.deadline = Moment::NEVER;
        account.begun = now;
        account.latecomers = account.last_ticket.map_or(0, |last| last + 1);
        account.mingling = None;
        account.until = now.plus(account.policy.timeout());
        account.paced.clear();
        account.trials += u64::from(trial > 0);
        let canary = Trial { size: trial, started: 0, void: 0, good: 0, failed: 0, lost: 0 };
        account.trial = (trial > 0).then_some(canary);
    }

    fn open(&mut self, app: usize) {
        self.check_nobody_waits(app, "the app is opened");
        self.set_state(app, State::Open);
    }

    /// The caller who paused an app has done so.
    pub fn surely_paused(&mut self, app: usize, pause: u64) {
        let account = &mut self.accounts[app];
        if account.state == State::Paused && account.pause == pause {
            account.surely_paused = Some(self.step);
        }
    }

    fn set_state(&mut self, app: usize, state: State) {
        let account = &mut self.accounts[app];
        if account.state != state {
            account.state = state;
            account.changed_at = self.step;
            account.surely_paused = None;
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
