//! Moves the deadline of a pause on, and only that: an app that was resumed in the meantime stays resumed.

use std::sync::Arc;
use std::time::Duration;

use super::Pause;
use crate::app::App;
use crate::call::{Answer, Argument, LIMIT, Server, Verdict, every};
use crate::pass_on::time;
use crate::time::Time;

/// What became of a renewal, at each server.
pub type Renewals = Vec<(Arc<Server>, Renewal)>;

#[derive(Debug)]
pub enum Renewal {
    Done,
    /// The pause is over, and this is the state.
    Over(String),
    Failed {
        why: String,
        is_lost: bool,
    },
}

/// How often, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    pub every: Duration,
    pub after_failure: Duration,
    /// One server that does not answer must not keep the pauses at the others from being renewed in time.
    limit: Duration,
}

const SECOND: Duration = Duration::from_secs(1);

impl Rhythm {
    pub fn of(lasts: &Time) -> Self {
        let third = lasts.length / 3;
        let limit = (third / 2).clamp(SECOND, LIMIT);
        Self { every: third, after_failure: (third / 4).max(SECOND), limit }
    }
}

/// All that a renewal needs, so that it can be made beside something else.
pub struct Renewing {
    servers: Vec<Arc<Server>>,
    name: Vec<Argument>,
    enable: Vec<Argument>,
    limit: Duration,
}

impl Renewing {
    pub fn run(&self) -> Renewals {
        every(&self.servers, |server| self.renew(server))
    }

    fn renew(&self, server: &Server) -> Renewal {
        if server.pause().is_some() {
            return Renewal::of(server.call_in_pause("enable", self.limit, &self.enable), false);
        }
        self.renew_without_number(server)
    }

    /// As an older module needs it: by two calls, and another one to take back what the second may have done.
    fn renew_without_number(&self, server: &Server) -> Renewal {
        let now = server.call("status", self.limit, &self.name);
        if !now.is_ok() {
            // Nothing was changed by that, whatever became of it.
            return Renewal::Failed { why: now.line, is_lost: false };
        } else if !now.is_paused() {
            return Renewal::Over(now.facts.state);
        }
        let answer = server.call("enable", self.limit, &self.enable);
        if answer.has_paused() {
            // It was resumed just now, between the two calls.
            server.call("disable", LIMIT, &self.name);
            return Renewal::Over("open".to_owned());
        }
        Renewal::of(answer, true)
    }
}

impl Renewal {
    /// What was asked for without a number, and is taken up late, pauses anew.
    fn of(answer: Answer, may_pause: bool) -> Self {
        if answer.is_ok() {
            Self::Done
        } else if answer.is_of_past_pause() {
            Self::Over(answer.facts.state)
        } else {
            let is_lost = may_pause && answer.verdict == Verdict::Lost;
            Self::Failed { why: answer.line, is_lost }
        }
    }
}

impl Pause {
    pub fn renewing(&self, rhythm: Rhythm) -> Renewing {
        let app: &App = &self.app;
        Renewing {
            servers: self.paused.clone(),
            name: app.arguments(&[]),
            enable: app.arguments(&[("for", time(self.lasts.as_ref()))]),
            limit: rhythm.limit,
        }
    }

    /// Takes in what a renewal has brought: the time until the next one.
    pub fn see_renewals(&mut self, renewals: Renewals, rhythm: Rhythm) -> Duration {
        let mut next = rhythm.every;
        self.paused.clear();
        for (server, renewal) in renewals {
            match renewal {
                Renewal::Done => self.paused.push(server),
                Renewal::Over(state) => {
                    let ended = format!(
                        "the pause was ended by another call or its deadline (the app is {state}). \
                         The command goes on, and so does the traffic."
                    );
                    self.app.at(&server, &ended);
                }
                Renewal::Failed { why, is_lost } => {
                    let lasts = self.lasts.as_ref().map(Time::to_string).unwrap_or_default();
                    let failed =
                        format!("the pause could not be renewed, it ends within {lasts}: {why}");
                    self.app.at(&server, &failed);
                    self.is_unsure |= is_lost;
                    self.paused.push(server);
                    next = rhythm.after_failure;
                }
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_that_fails_can_be_made_again_before_the_deadline() {
        for (lasts, every, after_failure, limit) in [
            ("3s", 1000, 1000, 1000),
            ("9s", 3000, 1000, 1500),
            ("60s", 20_000, 5000, 5000),
            ("1d", 28_800_000, 7_200_000, 5000),
        ] {
            let [every, after_failure, limit] =
                [every, after_failure, limit].map(Duration::from_millis);
            let rhythm = Rhythm::of(&lasts.parse().expect("a time"));
            assert_eq!(rhythm, Rhythm { every, after_failure, limit }, "{lasts}");
        }
    }
}
