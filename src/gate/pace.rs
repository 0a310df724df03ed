//! A release's rate, as a schedule: each request has a moment at which it falls due.
//!
//! The schedule moves on by the request, not by the clock that served it, so that timers which fire
//! late do not slow the release down. What was missed is made up for, a burst at a time, up to
//! [`CATCH_UP`]; a worker that stood still for longer does not cause a stampede.

use core::time::Duration;

use super::policy::Policy;
use super::time::Moment;

/// How far behind its schedule a release may fall before the rest of the delay is forgiven.
const CATCH_UP: Duration = Duration::from_millis(100);

/// The least time between two bursts: an event loop's timers are not finer.
const TICK: Duration = Duration::from_millis(1);

const NANOS: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pace {
    /// When the next request falls due, in nanoseconds, so that odd rates add up no error.
    due: u64,
    /// When the last burst was let go, and how many of it.
    burst_at: Moment,
    burst_used: u32,
}

impl Pace {
    pub fn start(now: Moment) -> Self {
        Self { due: nanos(now), burst_at: Moment::default(), burst_used: 0 }
    }

    /// How many requests may go now.
    pub fn allowance(&self, policy: &Policy, now: Moment) -> u32 {
        if policy.rate == 0 {
            return u32::MAX;
        }
        let Some(behind) = nanos(now).checked_sub(self.due_at(now)) else { return 0 };
        let scheduled = (behind / interval(policy)).saturating_add(1);
        u32::try_from(scheduled).unwrap_or(u32::MAX).min(self.burst_left(policy, now))
    }

    /// Moves the schedule on by `count` requests that go now.
    pub fn take(&mut self, policy: &Policy, now: Moment, count: u32) {
        if policy.rate == 0 || count == 0 {
            return;
        }
        let step = interval(policy).saturating_mul(u64::from(count));
        self.due = self.due_at(now).saturating_add(step);
        if !self.in_burst(now) {
            self.burst_at = now;
            self.burst_used = 0;
        }
        self.burst_used = self.burst_used.saturating_add(count);
    }

    /// When it is worth asking again, if nothing may go now.
    pub fn next(&self, policy: &Policy, now: Moment) -> Moment {
        let due = Moment::from_micros(self.due.div_ceil(1000));
        if policy.rate > 0 && self.burst_left(policy, now) == 0 {
            return due.max(self.burst_at.plus(TICK));
        }
        due
    }

    fn due_at(&self, now: Moment) -> u64 {
        let forgiven = u64::try_from(CATCH_UP.as_nanos()).unwrap_or(u64::MAX);
        self.due.max(nanos(now).saturating_sub(forgiven))
    }

    fn burst_left(&self, policy: &Policy, now: Moment) -> u32 {
        let used = if self.in_burst(now) { self.burst_used } else { 0 };
        policy.effective_burst().saturating_sub(used)
    }

    fn in_burst(&self, now: Moment) -> bool {
        now.since(self.burst_at) < TICK
    }
}

fn nanos(moment: Moment) -> u64 {
    moment.as_micros().saturating_mul(1000)
}

/// Between one request and the next; a policy's rate is at most [`super::policy::MAX_RATE`].
fn interval(policy: &Policy) -> u64 {
    (NANOS / u64::from(policy.rate.max(1))).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn paced(rate: u32, burst: u32) -> Policy {
        Policy { rate, burst, ..Policy::default() }
    }

    /// Lets everything go that may, asking again after `lateness` of each moment that was named.
    fn run(policy: &Policy, total: u32, lateness: impl Fn(u32) -> u64) -> (Vec<(u64, u32)>, u64) {
        let begin = Moment::from_micros(1_000_000_000);
        let mut pace = Pace::start(begin);
        let (mut now, mut left, mut let_go) = (begin, total, Vec::new());
        while left > 0 {
            let count = pace.allowance(policy, now).min(left);
            pace.take(policy, now, count);
            left -= count;
            if count > 0 {
                let_go.push((now.as_micros(), count));
            }
            let next = pace.next(policy, now).max(Moment::from_micros(now.as_micros() + 1));
            now = Moment::from_micros(next.as_micros() + lateness(left));
        }
        let last = let_go.last().map_or(0, |(at, _)| *at);
        (let_go, last - begin.as_micros())
    }

    proptest! {
        #[test]
        fn keeps_its_rate_within_two_percent_though_timers_are_late(
            rate in 1u32..20_000, late in 0u64..3_000,
        ) {
            let policy = paced(rate, 0);
            let total = (rate * 5).max(500);
            let (_, took) = run(&policy, total, |left| u64::from(left) * 7919 % (late + 1));
            let ideal = u64::from(total - 1) * 1_000_000 / u64::from(rate);
            prop_assert!(took * 100 >= ideal * 98, "{took} of {ideal} us");
            prop_assert!(took * 100 <= ideal * 102 + 300_000, "{took} of {ideal} us");
        }

        #[test]
        fn never_lets_more_than_a_burst_go_at_once(
            burst in 1u32..50, per_burst in 1u32..1000, late in 0u64..200_000,
        ) {
            let policy = paced((burst * per_burst).max(1), burst);
            let (let_go, _) = run(&policy, 500, |left| u64::from(left) * 7919 % (late + 1));
            for (start, (at, count)) in let_go.iter().enumerate() {
                prop_assert!(*count <= burst);
                let soon = let_go[start..].iter().take_while(|later| later.0 < at + 10_000);
                prop_assert!(soon.map(|later| later.1).sum::<u32>() <= 11 * burst);
            }
        }
    }

    #[test]
    fn forgives_what_a_long_standstill_missed() {
        let policy = paced(1000, 1_000_000);
        let pace = Pace::start(Moment::from_micros(0));
        let allowed = pace.allowance(&policy, Moment::from_micros(60_000_000));
        assert_eq!(allowed, 101);
    }

    #[test]
    fn has_no_limit_without_a_rate() {
        let pace = Pace::start(Moment::from_micros(5));
        assert_eq!(pace.allowance(&Policy::default(), Moment::from_micros(5)), u32::MAX);
    }
}
