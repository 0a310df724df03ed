//! What is said of changes that an outage makes: at most one in a second, with how many before it were
//! not, as a backend can go down and come back many times in one.

use core::time::Duration;

use super::time::Moment;
use super::{Cause, Change, Gate};

const SILENCE: Duration = Duration::from_secs(1);

/// What was said of an app, and what was not.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub struct News {
    said_at: Moment,
    /// How many changes were not said since then, and the last of them.
    unsaid: u32,
    last: Option<Change>,
}

impl Gate {
    /// Whether a change that has been made is to be said now; how many before it were not, if so.
    pub fn say(&mut self, now: Moment, change: Change) -> Option<u32> {
        if self.is_of_outage(change.cause) && now < self.news.said_at.plus(SILENCE) {
            self.news.unsaid = self.news.unsaid.saturating_add(1);
            self.news.last = Some(change);
            return None;
        }
        self.news.said_at = now;
        Some(core::mem::take(&mut self.news.unsaid))
    }

    /// When the last change that was not said is to be said, if no other one is before.
    pub fn next_to_say(&self) -> Moment {
        if self.news.unsaid > 0 { self.news.said_at.plus(SILENCE) } else { Moment::NEVER }
    }

    /// That change, and how many before it were not said, unless it has been said what followed.
    pub fn say_last(&mut self, now: Moment) -> Option<(Change, u32)> {
        if self.next_to_say() > now {
            return None;
        }
        let left_out = core::mem::take(&mut self.news.unsaid).saturating_sub(1);
        let last = self.news.last.filter(|change| change.to == self.state())?;
        self.news.said_at = now;
        Some((last, left_out))
    }

    fn is_of_outage(&self, cause: Cause) -> bool {
        match cause {
            Cause::Refused | Cause::Probed | Cause::Reached => true,
            Cause::Released => self.canary_of_outage,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::State;

    const START: Moment = Moment::from_micros(1_000_000_000);

    fn after(millis: u64) -> Moment {
        START.plus(Duration::from_millis(millis))
    }

    fn to(state: State, cause: Cause) -> Change {
        Change { from: State::Open, to: state, cause }
    }

    #[test]
    fn of_an_outage_one_change_in_a_second_is_said() {
        let mut gate = Gate::default();
        let down = to(State::Down, Cause::Refused);
        assert_eq!(gate.say(START, down), Some(0));
        assert_eq!(gate.next_to_say(), Moment::NEVER);
        assert_eq!(gate.say(after(1), to(State::Releasing, Cause::Probed)), None);
        assert_eq!(gate.say(after(999), down), None);
        assert_eq!(gate.say(after(1_000), down), Some(2));
        assert_eq!(gate.say(after(1_001), down), None);
    }

    #[test]
    fn what_comes_last_is_said_in_any_case() {
        let mut gate = Gate::default();
        gate.say(START, to(State::Down, Cause::Refused));
        gate.say(after(1), to(State::Down, Cause::Refused));
        let open = to(State::Open, Cause::Probed);
        gate.say(after(2), open);
        assert_eq!(gate.next_to_say(), after(1_000));
        assert_eq!(gate.say_last(after(999)), None);
        assert_eq!(gate.say_last(after(1_000)), Some((open, 1)));
        assert_eq!(gate.say_last(after(5_000)), None);
        assert_eq!(gate.say(after(1_999), open), None);
    }

    #[test]
    fn what_has_been_overtaken_is_not_said() {
        let mut gate = Gate::default();
        gate.say(START, to(State::Down, Cause::Refused));
        gate.say(after(1), to(State::Down, Cause::Refused));
        assert_eq!(gate.say_last(after(1_000)), None, "a call has opened it");
        assert_eq!(gate.next_to_say(), Moment::NEVER);
    }

    #[test]
    fn all_else_is_said_at_once() {
        let mut gate = Gate::default();
        gate.say(START, to(State::Down, Cause::Refused));
        gate.say(after(1), to(State::Down, Cause::Refused));
        assert_eq!(gate.say(after(2), to(State::Releasing, Cause::Deadline)), Some(1));
        assert_eq!(gate.say(after(3), to(State::Open, Cause::Released)), Some(0));
    }
}
