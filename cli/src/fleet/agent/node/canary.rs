//! A canary: some requests of this node go first, and what becomes of them decides about all nodes.

use std::ffi::OsString;
use std::sync::{Arc, OnceLock};
use std::thread;

use super::{LIMIT, Node, Order, PAST, lasts, number, pace};
use crate::call::{Answer, CANARY_LIMIT, Verdict};
use crate::fleet::decide::{Ack, Canary, Paused, State};
use crate::fleet::store::Trouble;
use crate::say::{requests, say};
use crate::signals::{Event, keep_away};

/// A canary that is out.
pub struct Tried {
    /// What was held before.
    held: u64,
    /// What the server says of it, once it does.
    answer: Arc<OnceLock<Answer>>,
}

impl Node {
    /// Begins it, beside: the verdict may take long, and other apps are to be renewed meanwhile.
    pub(super) fn try_canary(
        &mut self,
        order: Order,
        paused: Paused,
        count: u32,
    ) -> Result<State, Trouble> {
        let held = self.call("status", order.app, &[], LIMIT).facts.held;
        let (pause, beat, canary) = (paused.pause, paused.beat, Canary::Out);
        // Before it is so: an agent after this one must not begin another.
        let out = Ack { pause, beat, held, canary, is_quiet: true, ..self.ack(order) };
        if !self.say_to(order, &out)? {
            return Ok(State::Paused(paused));
        }
        let arguments = [
            ("app", OsString::from(order.app)),
            ("canary", count.to_string().into()),
            pace(self.rate(order.app, paused.token)),
            lasts(order.want),
            number(pause),
        ];
        let answer = Arc::<OnceLock<Answer>>::default();
        let (server, wake, told) = (self.server.clone(), self.wake.clone(), Arc::clone(&answer));
        let begun = thread::Builder::new().spawn(move || {
            keep_away();
            let _ = told.set(server.call("disable", CANARY_LIMIT, &arguments));
            let _ = wake.send(Event::Done(()));
        });
        if let Err(error) = begun {
            let why = format!("no thread can be started: {error}");
            let _ = answer.set(Answer::of_trouble(Verdict::Unsent, why));
        } else {
            say(&format!("app {}: {} go first, as a canary", order.app, requests(count.into())));
        }
        self.tried.insert(order.app.to_owned(), Tried { held, answer });
        Ok(State::Trying(paused))
    }

    /// Says what came of it, if that is known by now: to a holder who is still there, or has gone.
    pub(super) fn conclude(
        &self,
        app: &str,
        paused: Paused,
        order: Option<Order>,
    ) -> Result<State, Trouble> {
        let tried = self.tried.get(app);
        let answer = tried.and_then(|tried| Some((tried.held, tried.answer.get()?)));
        let Some((before, answer)) = answer else { return Ok(State::Trying(paused)) };
        let (canary, next) = judged(paused, answer);
        say(&match &canary {
            Canary::Bad(why) => format!("app {app}: the canary was not good: {why}"),
            _ => format!("app {app}: the canary came back well, and the rest goes"),
        });
        if let Some(order) = order {
            let pause = if let State::Paused(paused) = next { paused.pause } else { 0 };
            let is_open = canary == Canary::Good;
            let held = if is_open { before } else { answer.facts.held };
            let is_quiet = true;
            self.say_to(order, &Ack { pause, held, is_open, is_quiet, canary, ..self.ack(order) })?;
        }
        Ok(next)
    }

    /// Whether that pause, and no other, goes on.
    pub(super) fn is_still(&self, order: Order, paused: Paused) -> bool {
        let answer = self.call("status", order.app, &[], LIMIT);
        answer.is_paused() && answer.facts.pause == Some(paused.pause)
    }

    /// The agent before this one has begun it, and has not heard what came of it.
    pub(super) fn lose_canary(&self, order: Order) -> Result<State, Trouble> {
        let why = "the agent was started anew in the middle of it, so nobody knows what came of it";
        say(&format!("app {}: the canary was not good: {why}", order.app));
        let canary = Canary::Bad(why.to_owned());
        self.say_to(order, &Ack { canary, ..self.ack(order) })?;
        Ok(State::Over { token: order.want.token })
    }
}

/// The verdict, and how the app is then.
fn judged(paused: Paused, answer: &Answer) -> (Canary, State) {
    let over = State::Over { token: paused.token };
    let again = |pause: u64| State::Paused(paused.after_bad_canary(pause));
    let bad = |why: &str| Canary::Bad(why.to_owned());
    match answer.verdict {
        Verdict::Ok => (Canary::Good, over),
        _ if answer.is_of_past_pause() => (bad(PAST), over),
        Verdict::Refused(409) if answer.line.starts_with("The canary failed") => {
            (bad(&answer.line), answer.facts.pause.map_or(over, again))
        }
        // It was not begun.
        Verdict::Refused(400) | Verdict::Unsent => (bad(&answer.line), again(paused.pause)),
        _ => (bad(&format!("nobody knows what came of it: {}", answer.line)), over),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_verdict_of_this_pause_is_good() {
        let paused = Paused::new(3, 7, 1, LIMIT);
        let over = State::Over { token: 3 };
        let again = |pause| State::Paused(paused.after_bad_canary(pause));
        let answer = |verdict, line: &str, pause| {
            let mut answer = Answer::of_trouble(verdict, line.to_owned());
            answer.facts.pause = pause;
            answer
        };
        assert_eq!(judged(paused, &answer(Verdict::Ok, "", None)), (Canary::Good, over));
        for (verdict, line, pause, state) in [
            (Verdict::Refused(409), "The canary failed: 1 of 1.", Some(8), again(8)),
            (Verdict::Refused(409), "The canary failed: 1 of 1.", None, over),
            (Verdict::Refused(409), "The canary was ended by another call.", Some(8), over),
            (Verdict::Refused(409), "That pause is over, so nothing was done.", Some(9), over),
            (Verdict::Refused(400), "unknown argument", None, again(7)),
            (Verdict::Unsent, "nothing answers", None, again(7)),
            (Verdict::Lost, "no answer", None, over),
            (Verdict::Foreign, "hello", None, over),
        ] {
            let judged = judged(paused, &answer(verdict, line, pause));
            assert!(matches!(judged.0, Canary::Bad(_)), "{line}");
            assert_eq!(judged.1, state, "{line}");
        }
    }
}
