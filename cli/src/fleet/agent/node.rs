//! What an agent does at its nginx.

mod canary;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use self::canary::Tried;

use crate::address::Address;
use crate::call::{Answer, Argument, Server, Verdict};
use crate::fleet::decide::{Ack, CHECK, Canary, Moment, Paused, State, Step, Want};
use crate::fleet::keys;
use crate::fleet::store::{KEEP, Lease, Store, Trouble};
use crate::say::{requests, say};
use crate::signals::Event;

/// The part of a drain between two looks at the store.
const SLICE: Duration = Duration::from_secs(1);
/// nginx is on this machine, and one app that is stuck must not keep the others from being renewed.
const LIMIT: Duration = Duration::from_secs(2);

pub struct Node {
    name: String,
    key: String,
    /// The lease with which this node was registered at the last look, if that is known.
    pub registered: Option<Lease>,
    server: Arc<Server>,
    store: Arc<dyn Store>,
    begun: Instant,
    apps: BTreeMap<String, State>,
    /// The rate at which this node is to resume an app, and in whose pause.
    rates: BTreeMap<String, (i64, u32)>,
    tried: BTreeMap<String, Tried>,
    wake: Sender<Event<()>>,
    /// What was said of the store's values.
    objections: BTreeSet<String>,
}

/// What is wanted of an app, and what goes with it.
#[derive(Clone, Copy)]
struct Order<'a> {
    app: &'a str,
    want: Want,
    lease: Lease,
    /// An agent before this one may have done something for it.
    is_of_before: bool,
}

impl Node {
    /// It is woken when it is to look again.
    pub fn new(name: String, url: Address, store: Arc<dyn Store>, wake: Sender<Event<()>>) -> Self {
        let (server, begun) = (Arc::new(Server::new(url)), Instant::now());
        let (apps, rates, tried) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (key, registered, objections) = (keys::node(&name), None, BTreeSet::new());
        Self { name, key, registered, server, store, begun, apps, rates, tried, wake, objections }
    }

    /// How long nothing has to be done, if nothing changes.
    pub fn rest(&self) -> Duration {
        let is_pause = |state: &State| matches!(state, State::Paused(_) | State::Trying(_));
        let has_pause = self.apps.values().any(is_pause);
        if has_pause { CHECK } else { KEEP }
    }

    /// Does what is to be done for each app: whether there is more.
    pub fn look(&mut self) -> Result<bool, Trouble> {
        let (mut wants, mut unclear) = (BTreeMap::new(), BTreeSet::new());
        self.registered = None;
        let mut found = self.store.lists(&[keys::PACES, keys::APPS, &self.key])?;
        let own = found.pop().unwrap_or_default().into_iter().find(|entry| entry.key == self.key);
        let entries = found.pop().unwrap_or_default();
        self.registered = own.as_ref().map(|own| own.lease);
        let mut objections = BTreeSet::new();
        for entry in &entries {
            match keys::want(entry, &self.name) {
                Ok(want) => drop(wants.insert(keys::name(entry), (want, entry.lease))),
                Err(problem) => {
                    unclear.insert(keys::name(entry));
                    objections.insert(problem);
                }
            }
        }
        self.rates.clear();
        for entry in found.pop().unwrap_or_default() {
            match keys::rate(&entry, &self.name) {
                Ok((token, rate)) => {
                    self.rates.extend(rate.map(|rate| (keys::name(&entry), (token, rate))));
                }
                // It keeps nobody paused: what is resumed goes at once.
                Err(problem) => {
                    objections.insert(problem);
                }
            }
        }
        objections.difference(&self.objections).for_each(|problem| say(problem));
        self.objections = objections;
        let names: BTreeSet<_> = self.apps.keys().chain(wants.keys()).cloned().collect();
        let mut is_busy = false;
        for app in names.iter().filter(|app| !unclear.contains(*app)) {
            let state = self.apps.get(app).copied().unwrap_or_default();
            let order = wants.get(app).map(|(want, lease)| {
                let is_of_before = own.as_ref().is_none_or(|own| own.written > want.token);
                Order { app, want: *want, lease: *lease, is_of_before }
            });
            is_busy |= self.go_on(app, state, order)?;
        }
        Ok(is_busy)
    }

    /// Goes from step to step until there is nothing to do: whether that is only so until the next look.
    fn go_on(
        &mut self,
        app: &str,
        mut state: State,
        order: Option<Order>,
    ) -> Result<bool, Trouble> {
        loop {
            let step = state.step(order.map(|order| order.want), self.now());
            let next = match (step, order) {
                (Step::Forget, _) => State::Open,
                (Step::Resume(paused, own), order) => {
                    self.resume(app, paused, order.filter(|_| own.is_some()))?
                }
                (Step::Await(paused, own), order) => {
                    self.conclude(app, paused, order.filter(|_| own.is_some()))?
                }
                (step, Some(order)) => self.act(order, state, step)?,
                (_, None) => state,
            };
            // At once, as the next step may fail.
            if next == State::Open {
                self.apps.remove(app);
            } else {
                self.apps.insert(app.to_owned(), next);
            }
            let is_quiet = !matches!(next, State::Paused(Paused { is_quiet: false, .. }));
            if next == state || matches!(step, Step::Drain(..)) && !is_quiet {
                return Ok(next != state);
            }
            state = next;
        }
    }

    fn now(&self) -> Moment {
        self.begun.elapsed()
    }

    fn act(&mut self, order: Order, state: State, step: Step) -> Result<State, Trouble> {
        match step {
            Step::Pause(_) => self.pause(order),
            Step::Drain(_, paused) => self.drain(order, paused),
            Step::Renew(_, paused) => self.renew(order, paused),
            Step::Check(_, paused) => self.check(order, paused),
            Step::TooLate(_, paused) => {
                self.call("disable", order.app, &[number(paused.pause)], LIMIT);
                self.fail(order, "it did not get quiet in time: wait for longer (--drain)")
            }
            Step::Try(_, paused, count) => self.try_canary(order, paused, count),
            Step::Leave(_, paused) => self.leave(order, paused),
            Step::Nothing | Step::Forget | Step::Await(..) | Step::Resume(..) => Ok(state),
        }
    }

    fn pause(&self, order: Order) -> Result<State, Trouble> {
        if order.is_of_before {
            if let Some(before) = self.said_before(order)? {
                return self.take_up(order, &before);
            }
        }
        let answer = self.call("enable", order.app, &[lasts(order.want)], LIMIT);
        let Some(pause) = answer.facts.pause.filter(|_| answer.has_paused()) else {
            let why = match answer.verdict {
                Verdict::Ok if answer.facts.pause.is_none() => {
                    "its module is older than 0.2.0: update it".to_owned()
                }
                Verdict::Ok => "another call has paused it already: wait for its end".to_owned(),
                _ => answer.line,
            };
            return self.fail(order, &why);
        };
        say(&format!("app {}: paused", order.app));
        let (token, beat) = (order.want.token, order.want.beat);
        Ok(State::Paused(Paused::new(token, pause, beat, self.now())))
    }

    /// What an agent before this one has said.
    fn said_before(&self, order: Order) -> Result<Option<Ack>, Trouble> {
        let key = keys::ack(order.app, &self.name);
        let entries = self.store.list(&key)?;
        let own = entries.iter().find(|entry| entry.key == key);
        let ack = own.and_then(|entry| keys::ack_of(entry).ok());
        Ok(ack.filter(|ack| ack.token == order.want.token))
    }

    /// Goes on with the pause of an agent before this one.
    fn take_up(&self, order: Order, before: &Ack) -> Result<State, Trouble> {
        let token = order.want.token;
        if before.is_open || before.is_left || before.why.is_some() {
            return Ok(State::Over { token });
        }
        let paused = Paused::new(token, before.pause, before.beat, self.now());
        match &before.canary {
            Canary::None => {}
            Canary::Bad(_) => return Ok(State::Paused(paused.after_bad_canary(before.pause))),
            Canary::Out | Canary::Good if self.is_still(order, paused) => {}
            Canary::Out | Canary::Good => return self.lose_canary(order),
        }
        say(&format!("app {}: going on with the pause of the agent before", order.app));
        let is_quiet = before.is_quiet;
        let paused = Paused { is_quiet, ..paused };
        if is_quiet { self.renew(order, paused) } else { Ok(State::Paused(paused)) }
    }

    fn drain(&self, order: Order, paused: Paused) -> Result<State, Trouble> {
        let slice = SLICE.min(order.want.drain);
        let arguments = [
            lasts(order.want),
            number(paused.pause),
            ("drain", millis(slice)),
            (
                "settle",
                if order.want.settle.is_zero() { "".into() } else { millis(order.want.settle) },
            ),
            ("keep", "1".into()),
        ];
        let answer = self.call("enable", order.app, &arguments, slice + LIMIT);
        let is_quiet = match answer.verdict {
            Verdict::Ok => true,
            Verdict::Refused(504) => false,
            _ if answer.is_of_past_pause() => return self.fail(order, PAST),
            Verdict::Lost => return Ok(State::Paused(paused)),
            _ => return self.fail(order, &answer.line),
        };
        self.paused(order, Paused { is_quiet, ..paused }, &answer)
    }

    fn renew(&self, order: Order, paused: Paused) -> Result<State, Trouble> {
        let arguments = [lasts(order.want), number(paused.pause)];
        let answer = self.call("enable", order.app, &arguments, LIMIT);
        if answer.is_of_past_pause() {
            return self.fail(order, PAST);
        } else if !answer.is_ok() {
            say(&format!("app {}: the pause could not be renewed: {}", order.app, answer.line));
            return Ok(State::Paused(paused));
        }
        self.paused(order, paused, &answer)
    }

    fn check(&self, order: Order, paused: Paused) -> Result<State, Trouble> {
        let answer = self.call("status", order.app, &[], LIMIT);
        if answer.is_ok() && answer.facts.pause != Some(paused.pause) {
            return self.fail(order, PAST);
        }
        // An nginx that does not answer is seen by what is not acknowledged.
        Ok(State::Paused(Paused { checked: self.now(), ..paused }))
    }

    /// Says that it is paused for a time that begins with the beat of this order at the earliest.
    fn paused(&self, order: Order, paused: Paused, answer: &Answer) -> Result<State, Trouble> {
        let ack = Ack {
            beat: order.want.beat,
            pause: paused.pause,
            is_quiet: paused.is_quiet,
            held: answer.facts.held,
            in_flight: answer.facts.in_flight,
            ..self.ack(order)
        };
        self.say_to(order, &ack)?;
        let checked = self.now();
        Ok(State::Paused(Paused { beat: order.want.beat, checked, ..paused }))
    }

    /// Says that it is paused for the last time: from here on only its deadline ends it.
    fn leave(&self, order: Order, paused: Paused) -> Result<State, Trouble> {
        let arguments = [lasts(order.want), number(paused.pause)];
        let answer = self.call("enable", order.app, &arguments, LIMIT);
        if answer.is_of_past_pause() {
            return self.fail(order, PAST);
        }
        let (pause, held, is_left) = (paused.pause, answer.facts.held, true);
        let is_quiet = true;
        self.say_to(order, &Ack { pause, held, is_quiet, is_left, ..self.ack(order) })?;
        say(&format!("app {}: it stays paused until its deadline", order.app));
        Ok(State::Over { token: paused.token })
    }

    /// For a holder who is still there, or has gone.
    fn resume(&self, app: &str, paused: Paused, order: Option<Order>) -> Result<State, Trouble> {
        let held = self.call("status", app, &[], LIMIT).facts.held;
        let rate = self.rate(app, paused.token);
        let mut answer = self.call("disable", app, &[number(paused.pause), pace(rate)], LIMIT);
        // What the server does not like about the pace must not keep the app paused.
        if rate.is_some() && answer.verdict == Verdict::Refused(400) {
            answer = self.call("disable", app, &[number(paused.pause)], LIMIT);
        }
        if !answer.is_ok() && !answer.is_of_past_pause() {
            say(&format!("app {app}: it could not be resumed: {}", answer.line));
            return Ok(State::Paused(paused));
        }
        let at = rate.map(|rate| format!(", at {rate}r/s")).unwrap_or_default();
        say(&format!("app {app}: resumed, {} held{at}", requests(held)));
        let Some(order) = order else { return Ok(State::Open) };
        let ack = Ack { is_open: true, held, pause: paused.pause, ..self.ack(order) };
        self.say_to(order, &ack)?;
        Ok(State::Over { token: paused.token })
    }

    fn fail(&self, order: Order, why: &str) -> Result<State, Trouble> {
        say(&format!("app {}: {why}", order.app));
        self.say_to(order, &Ack { why: Some(why.to_owned()), ..self.ack(order) })?;
        Ok(State::Over { token: order.want.token })
    }

    fn ack(&self, order: Order) -> Ack {
        let (node, token) = (self.name.clone(), order.want.token);
        Ack { node, token, ..Ack::default() }
    }

    /// Whether there is somebody to say it to: what is said to a holder that has gone is said to nobody.
    fn say_to(&self, order: Order, ack: &Ack) -> Result<bool, Trouble> {
        let (key, value) = (keys::ack(order.app, &ack.node), keys::of_ack(ack));
        let holder = (&*keys::app(order.app), ack.token);
        self.store.put_while(&key, &value, order.lease, holder)
    }

    fn rate(&self, app: &str, token: i64) -> Option<u32> {
        self.rates.get(app).filter(|(whose, _)| *whose == token).map(|(_, rate)| *rate)
    }

    fn call(&self, call: &str, app: &str, others: &[Argument], limit: Duration) -> Answer {
        let mut arguments = vec![("app", OsString::from(app))];
        arguments.extend_from_slice(others);
        self.server.call(call, limit, &arguments)
    }
}

const PAST: &str = "another call, a restart of nginx or its deadline has ended its pause";

fn lasts(want: Want) -> Argument {
    ("for", millis(want.lasts))
}

fn millis(time: Duration) -> OsString {
    format!("{}ms", time.as_millis()).into()
}

fn pace(rate: Option<u32>) -> Argument {
    ("rate", rate.map(|rate| format!("{rate}r/s")).unwrap_or_default().into())
}

fn number(pause: u64) -> Argument {
    ("pause", pause.to_string().into())
}
