//! What an agent decides, given what is wanted and the time. No input, no output.

use std::time::Duration;

/// The time since something began.
pub type Moment = Duration;

/// How often an agent looks whether a pause that it looks after is still there.
pub const CHECK: Duration = Duration::from_secs(1);

/// That an app is to be paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Which holder's: greater than that of all holders before.
    pub token: i64,
    pub lasts: Duration,
    pub drain: Duration,
    pub settle: Duration,
    /// How often the holder has wanted it: with each time the pause is to be renewed.
    pub beat: u64,
    pub aim: Aim,
}

/// What a pause is to come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aim {
    #[default]
    Hold,
    /// This node is to let so many requests go first, and to say what came of them.
    Try(u32),
    Resume,
    /// As a canary failed: it stays paused until its deadline.
    Leave,
}

/// What a node says of a want.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ack {
    pub node: String,
    pub token: i64,
    /// The pause lasts from a moment on at which this was wanted already.
    pub beat: u64,
    pub pause: u64,
    pub is_quiet: bool,
    /// It is resumed.
    pub is_open: bool,
    pub held: u64,
    pub in_flight: u64,
    pub canary: Canary,
    /// It stays paused until its deadline, and is not looked after any more.
    pub is_left: bool,
    /// Why it is not paused, if so.
    pub why: Option<String>,
}

/// What became of the canary that a node was to let go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Canary {
    #[default]
    None,
    Out,
    Good,
    /// It was not seen to be good.
    Bad(String),
}

impl Ack {
    /// Whether it was said before that one. What comes late takes nothing back.
    pub fn is_before(&self, other: &Self) -> bool {
        let rank = |ack: &Self| {
            let canary = match ack.canary {
                Canary::None => 0,
                Canary::Out => 1,
                Canary::Good | Canary::Bad(_) => 2,
            };
            (ack.is_open || ack.why.is_some(), ack.is_left, canary, ack.beat)
        };
        self.token == other.token && rank(self) < rank(other)
    }
}

/// What an agent has done with an app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Open,
    Paused(Paused),
    /// Some of its requests were let go as a canary.
    Trying(Paused),
    /// It is not paused for that holder any more, could not be, or is left paused.
    Over {
        token: i64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paused {
    pub token: i64,
    pub pause: u64,
    pub since: Moment,
    pub is_quiet: bool,
    /// The last one for which it was renewed.
    pub beat: u64,
    pub checked: Moment,
    /// It is what a bad canary left.
    pub has_failed: bool,
}

/// What an agent does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Nothing,
    /// There is nothing to remember of this app.
    Forget,
    Pause(Want),
    /// Wait for a while until nothing is in flight.
    Drain(Want, Paused),
    TooLate(Want, Paused),
    Renew(Want, Paused),
    Check(Want, Paused),
    Try(Want, Paused, u32),
    /// Wait for what comes of the canary.
    Await(Paused, Option<Want>),
    /// Renew it for the last time.
    Leave(Want, Paused),
    Resume(Paused, Option<Want>),
}

impl State {
    /// What is to be done, as the store has just said what is wanted. As long as it says nothing, nothing is done: a
    /// pause that is not renewed ends with its deadline.
    pub fn step(&self, want: Option<Want>, now: Moment) -> Step {
        let own = |token: i64| want.filter(|want| want.token == token);
        match *self {
            Self::Open => want.filter(Want::is_for_all).map_or(Step::Forget, Step::Pause),
            Self::Over { token } => match want {
                None => Step::Forget,
                Some(want) if want.token > token && want.is_for_all() => Step::Pause(want),
                Some(_) => Step::Nothing,
            },
            Self::Paused(paused) => match own(paused.token) {
                Some(want) if want.aim != Aim::Resume => paused.step(want, now),
                own => Step::Resume(paused, own),
            },
            Self::Trying(paused) => Step::Await(paused, own(paused.token)),
        }
    }
}

impl Want {
    /// Whether who is not paused yet is to be.
    fn is_for_all(&self) -> bool {
        matches!(self.aim, Aim::Hold | Aim::Try(_))
    }
}

impl Paused {
    /// By this call, just now.
    pub fn new(token: i64, pause: u64, beat: u64, now: Moment) -> Self {
        let (is_quiet, has_failed) = (false, false);
        Self { token, pause, since: now, is_quiet, beat, checked: now, has_failed }
    }

    /// What a bad canary has brought back. Nobody is to renew it but for the last time.
    pub fn after_bad_canary(self, pause: u64) -> Self {
        Self { pause, is_quiet: true, has_failed: true, ..self }
    }

    fn step(self, want: Want, now: Moment) -> Step {
        match want.aim {
            Aim::Leave => return Step::Leave(want, self),
            Aim::Try(count) if self.is_quiet && !self.has_failed => {
                return Step::Try(want, self, count);
            }
            _ if self.has_failed => return Step::Nothing,
            _ => {}
        }
        if !self.is_quiet && now.saturating_sub(self.since) >= want.drain {
            Step::TooLate(want, self)
        } else if !self.is_quiet {
            Step::Drain(want, self)
        } else if want.beat > self.beat {
            Step::Renew(want, self)
        } else if now.saturating_sub(self.checked) >= CHECK {
            Step::Check(want, self)
        } else {
            Step::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn want(token: i64) -> Want {
        let (lasts, drain, settle) = (seconds(30), seconds(10), seconds(0));
        Want { token, lasts, drain, settle, beat: 2, aim: Aim::Hold }
    }

    fn paused(token: i64, is_quiet: bool, beat: u64) -> Paused {
        let since = seconds(0);
        Paused { since, is_quiet, ..Paused::new(token, 7, beat, seconds(9)) }
    }

    #[test]
    fn an_agent_does_what_the_holder_wants() {
        use State::{Open, Over};
        let of = State::Paused;
        let (loud, quiet) = (paused(3, false, 2), paused(3, true, 2));
        let (late, early) = (paused(3, true, 1), paused(3, true, 3));
        let aims = |aim| Want { aim, ..want(3) };
        let (over, left, tried) = (aims(Aim::Resume), aims(Aim::Leave), aims(Aim::Try(5)));
        let (bad, tries) = (quiet.after_bad_canary(8), State::Trying);
        let short = Want { drain: seconds(5), ..want(3) };
        let cases = [
            (Open, None, Step::Forget),
            (Open, Some(want(3)), Step::Pause(want(3))),
            (Open, Some(over), Step::Forget),
            (of(loud), Some(want(3)), Step::Drain(want(3), loud)),
            (of(loud), Some(short), Step::TooLate(short, loud)),
            (of(quiet), Some(want(3)), Step::Nothing),
            (of(quiet), Some(short), Step::Nothing),
            (of(late), Some(want(3)), Step::Renew(want(3), late)),
            // What was wanted before comes late.
            (of(early), Some(want(3)), Step::Nothing),
            (of(quiet), Some(over), Step::Resume(quiet, Some(over))),
            (of(quiet), None, Step::Resume(quiet, None)),
            // A canary: what comes of it decides, whatever is wanted meanwhile.
            (of(quiet), Some(tried), Step::Try(tried, quiet, 5)),
            (of(loud), Some(tried), Step::Drain(tried, loud)),
            (tries(quiet), Some(tried), Step::Await(quiet, Some(tried))),
            (tries(quiet), Some(left), Step::Await(quiet, Some(left))),
            (tries(quiet), Some(want(4)), Step::Await(quiet, None)),
            (tries(quiet), None, Step::Await(quiet, None)),
            (of(bad), Some(tried), Step::Nothing),
            (of(bad), Some(left), Step::Leave(left, bad)),
            (of(bad), None, Step::Resume(bad, None)),
            (of(quiet), Some(left), Step::Leave(left, quiet)),
            (Open, Some(left), Step::Forget),
            // Another holder: first what was done for the one before is undone.
            (of(quiet), Some(want(4)), Step::Resume(quiet, None)),
            (Over { token: 3 }, Some(want(3)), Step::Nothing),
            (Over { token: 3 }, Some(want(4)), Step::Pause(want(4))),
            (Over { token: 3 }, None, Step::Forget),
            // What a former holder wants comes late.
            (Over { token: 3 }, Some(want(2)), Step::Nothing),
        ];
        for (state, want, step) in cases {
            assert_eq!(state.step(want, seconds(9)), step, "{state:?} {want:?}");
        }
        let check = Step::Check(want(3), quiet);
        assert_eq!(of(quiet).step(Some(want(3)), seconds(10)), check);
    }

    #[test]
    fn what_a_node_said_is_not_taken_back_by_what_it_said_before() {
        let ack = |token, beat| Ack { token, beat, ..Ack::default() };
        let open = Ack { is_open: true, ..ack(3, 0) };
        let failed = Ack { why: Some("no".to_owned()), ..ack(3, 0) };
        assert!(ack(3, 1).is_before(&ack(3, 2)) && ack(3, 9).is_before(&open));
        assert!(ack(3, 9).is_before(&failed) && !failed.is_before(&ack(3, 9)));
        assert!(!ack(3, 2).is_before(&ack(3, 2)) && !ack(3, 2).is_before(&ack(3, 1)));
        let out = Ack { canary: Canary::Out, ..ack(3, 1) };
        let bad = Ack { canary: Canary::Bad("no".to_owned()), ..ack(3, 1) };
        assert!(ack(3, 9).is_before(&out) && out.is_before(&bad) && !bad.is_before(&out));
        assert!(bad.is_before(&Ack { is_left: true, ..ack(3, 1) }));
        // Another holder's are not compared.
        assert!(!ack(3, 1).is_before(&ack(4, 2)));
    }
}
