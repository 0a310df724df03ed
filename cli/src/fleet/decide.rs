//! What an agent and a holder decide, given what they see and the time. No input, no output.

use std::time::Duration;

/// The time since something began.
pub type Moment = Duration;

/// That an app is to be paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Which holder's: greater than that of all holders before.
    pub token: i64,
    pub lasts: Duration,
    pub drain: Duration,
}

/// What a node says of a want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    pub node: String,
    pub token: i64,
    pub pause: u64,
    /// Why it is not paused, if so.
    pub why: Option<String>,
}

/// What an agent has done with an app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Agent {
    #[default]
    Open,
    Paused {
        token: i64,
        pause: u64,
        since: Moment,
        renewed: Moment,
        is_quiet: bool,
    },
    /// It could not be paused for that holder.
    Failed {
        token: i64,
    },
}

/// What an agent does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Nothing,
    Pause(Want),
    Renew {
        want: Want,
        pause: u64,
    },
    /// Wait for a while until nothing is in flight.
    Drain {
        want: Want,
        pause: u64,
    },
    TooLate {
        want: Want,
        pause: u64,
    },
    Resume {
        pause: u64,
    },
}

impl Agent {
    /// What is to be done, as the store has just said what is wanted. As long as it says nothing, nothing is done: a
    /// pause that is not renewed ends with its deadline.
    pub fn step(&self, want: Option<Want>, now: Moment) -> Step {
        match (*self, want) {
            (Self::Open, Some(want)) => Step::Pause(want),
            (Self::Failed { token }, Some(want)) if want.token > token => Step::Pause(want),
            (Self::Paused { token, pause, since, renewed, is_quiet }, Some(want))
                if want.token == token =>
            {
                if now.saturating_sub(renewed) >= want.lasts / 3 {
                    Step::Renew { want, pause }
                } else if is_quiet {
                    Step::Nothing
                } else if now.saturating_sub(since) >= want.drain {
                    Step::TooLate { want, pause }
                } else {
                    Step::Drain { want, pause }
                }
            }
            (Self::Paused { pause, .. }, _) => Step::Resume { pause },
            (Self::Open | Self::Failed { .. }, _) => Step::Nothing,
        }
    }
}

/// What a holder makes of what the nodes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All are paused and quiet.
    Ready,
    Waiting(Vec<String>),
    Failed {
        node: String,
        why: String,
    },
    Nobody,
}

/// Whether all nodes have done what the holder of that token wants.
pub fn judge(nodes: &[String], acks: &[Ack], token: i64) -> Verdict {
    let own = || acks.iter().filter(|ack| ack.token == token);
    if let Some((ack, why)) = own().find_map(|ack| Some((ack, ack.why.clone()?))) {
        return Verdict::Failed { node: ack.node.clone(), why };
    }
    let missing: Vec<_> =
        nodes.iter().filter(|node| !own().any(|ack| ack.node == **node)).cloned().collect();
    match (nodes.is_empty(), missing.is_empty()) {
        (true, _) => Verdict::Nobody,
        (false, true) => Verdict::Ready,
        (false, false) => Verdict::Waiting(missing),
    }
}

/// The nodes that had said they were paused, and do not say so any more.
pub fn lost(before: &[String], acks: &[Ack], token: i64) -> Vec<String> {
    let is_there = |node: &String| {
        acks.iter().any(|ack| ack.node == *node && ack.token == token && ack.why.is_none())
    };
    before.iter().filter(|node| !is_there(node)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn want(token: i64) -> Want {
        Want { token, lasts: seconds(30), drain: seconds(10) }
    }

    fn paused(token: i64, is_quiet: bool) -> Agent {
        Agent::Paused { token, pause: 7, since: seconds(0), renewed: seconds(0), is_quiet }
    }

    fn ack(node: &str, token: i64, why: Option<&str>) -> Ack {
        Ack { node: node.to_owned(), token, pause: 1, why: why.map(str::to_owned) }
    }

    #[test]
    fn an_agent_does_what_the_holder_wants() {
        let (now, pause) = (seconds(1), 7);
        let cases = [
            (Agent::Open, None, Step::Nothing),
            (Agent::Open, Some(want(3)), Step::Pause(want(3))),
            (paused(3, false), Some(want(3)), Step::Drain { want: want(3), pause }),
            (paused(3, true), Some(want(3)), Step::Nothing),
            (paused(3, true), None, Step::Resume { pause }),
            // Another holder: first what was done for the one before is undone.
            (paused(3, true), Some(want(4)), Step::Resume { pause }),
            (Agent::Failed { token: 3 }, Some(want(3)), Step::Nothing),
            (Agent::Failed { token: 3 }, Some(want(4)), Step::Pause(want(4))),
            // What a former holder wants comes late.
            (Agent::Failed { token: 3 }, Some(want(2)), Step::Nothing),
        ];
        for (agent, want, step) in cases {
            assert_eq!(agent.step(want, now), step, "{agent:?} {want:?}");
        }
        let renewal = Step::Renew { want: want(3), pause };
        assert_eq!(paused(3, true).step(Some(want(3)), seconds(10)), renewal);
        let short = Want { drain: seconds(5), ..want(3) };
        let late = Step::TooLate { want: short, pause };
        assert_eq!(paused(3, false).step(Some(short), seconds(5)), late);
    }

    #[test]
    fn a_holder_waits_for_all_and_believes_nobody_else() {
        let nodes = ["a".to_owned(), "b".to_owned()];
        let waiting = Verdict::Waiting(vec!["b".to_owned()]);
        assert_eq!(judge(&[], &[], 3), Verdict::Nobody);
        assert_eq!(judge(&nodes, &[ack("a", 3, None)], 3), waiting);
        assert_eq!(judge(&nodes, &[ack("a", 3, None), ack("b", 2, None)], 3), waiting);
        assert_eq!(judge(&nodes, &[ack("a", 3, None), ack("b", 3, None)], 3), Verdict::Ready);
        let failed = Verdict::Failed { node: "b".to_owned(), why: "no".to_owned() };
        assert_eq!(judge(&nodes, &[ack("a", 3, None), ack("b", 3, Some("no"))], 3), failed);
        assert_eq!(lost(&nodes, &[ack("a", 3, None), ack("b", 3, None)], 3), Vec::<String>::new());
        assert_eq!(lost(&nodes, &[ack("a", 3, None), ack("b", 2, None)], 3), ["b"]);
    }
}
