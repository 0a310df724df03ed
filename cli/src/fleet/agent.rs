//! The agent beside an nginx: it does there what is wanted in the store, and says what it did.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ffi::OsString;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::decide::{Ack, Agent, Moment, Step, Want};
use super::etcd::Etcd;
use super::keys;
use super::store::{KEEP, LEASE, Store, Trouble};
use crate::address::Address;
use crate::call::{Answer, Argument, LIMIT, Server, Verdict};
use crate::options;
use crate::say::say;

/// The part of a drain between two looks at the store.
const SLICE: Duration = Duration::from_secs(1);

/// Runs until it is told to end. Whatever becomes of the store meanwhile, it remembers what it has paused.
pub fn agent(options: options::Agent) -> Result<i32, String> {
    let mut store = Etcd::connect(&options.etcd)?;
    if !register(&mut store, &options.node)? {
        let (node, seconds) = (&options.node, LEASE.as_secs());
        return Err(format!(
            "there is a node {node} already: give this one another name (--node), or wait {seconds}s if \
             it has just ended"
        ));
    }
    let mut node = Node::new(options.node, options.url);
    say(&format!("node {} is part of the fleet", node.name));
    loop {
        let Err(trouble) = node.serve(&mut store);
        say(&format!("{trouble}. What is paused stays so until its deadline."));
        store = loop {
            sleep(KEEP);
            if let Some(store) = node.come_back(&options.etcd) {
                break store;
            }
        };
        say("the store is back");
    }
}

fn register(store: &mut impl Store, node: &str) -> Result<bool, Trouble> {
    Ok(store.create(&keys::node(node), &keys::of_node())?.is_some())
}

struct Node {
    name: String,
    server: Server,
    begun: Instant,
    apps: BTreeMap<String, Agent>,
}

impl Node {
    fn new(name: String, url: Address) -> Self {
        Self { name, server: Server::new(url), begun: Instant::now(), apps: BTreeMap::new() }
    }

    fn serve(&mut self, store: &mut impl Store) -> Result<Infallible, Trouble> {
        loop {
            if !store.keep()? {
                return Err("the store took this node for lost".to_owned());
            }
            if !self.look(store)? {
                store.wait(KEEP);
            }
        }
    }

    /// Registers anew. What it had said is gone with its lease, so it is to be said again.
    fn come_back(&mut self, endpoints: &[String]) -> Option<Etcd> {
        let mut store = Etcd::connect(endpoints).ok()?;
        register(&mut store, &self.name).ok().filter(|is_new| *is_new)?;
        for app in self.apps.values_mut() {
            if let Agent::Paused { is_quiet, .. } = app {
                *is_quiet = false;
            }
        }
        Some(store)
    }

    /// Does what is to be done for each app: whether there is more.
    fn look(&mut self, store: &mut impl Store) -> Result<bool, Trouble> {
        let mut wants = BTreeMap::new();
        for entry in store.list(keys::APPS)? {
            match keys::want(&entry) {
                Ok((_, want)) => drop(wants.insert(keys::name(&entry).to_owned(), want)),
                Err(problem) => say(&problem),
            }
        }
        let known = self.apps.keys().chain(wants.keys()).cloned();
        let names: BTreeSet<String> = known.collect();
        let mut busy = false;
        for name in names {
            let state = self.apps.get(&name).copied().unwrap_or_default();
            let step = state.step(wants.get(&name).copied(), self.now());
            let next = self.act(store, &name, state, step)?;
            busy |= matches!(step, Step::Pause(_) | Step::Drain { .. });
            if next == Agent::Open {
                self.apps.remove(&name)
            } else {
                self.apps.insert(name, next)
            };
        }
        Ok(busy)
    }

    fn now(&self) -> Moment {
        self.begun.elapsed()
    }

    fn act(
        &self,
        store: &mut impl Store,
        app: &str,
        state: Agent,
        step: Step,
    ) -> Result<Agent, Trouble> {
        match step {
            Step::Nothing => Ok(state),
            Step::Pause(want) => self.pause(store, app, want),
            Step::Renew { want, pause } => {
                let answer = self.call("enable", app, &[lasts(want), number(pause)], LIMIT);
                let now = self.now();
                if let (true, Agent::Paused { token, since, is_quiet, .. }) =
                    (answer.is_ok(), state)
                {
                    return Ok(Agent::Paused { token, pause, since, renewed: now, is_quiet });
                } else if answer.is_of_past_pause() {
                    return self.fail(
                        store,
                        app,
                        want,
                        "another call or its deadline has resumed it",
                    );
                }
                say(&format!("app {app}: the pause could not be renewed: {}", answer.line));
                Ok(state)
            }
            Step::Drain { want, pause } => self.drain(store, app, state, (want, pause)),
            Step::TooLate { want, pause } => {
                self.call("disable", app, &[number(pause)], LIMIT);
                self.fail(
                    store,
                    app,
                    want,
                    "it did not get quiet in time: wait for longer (--drain)",
                )
            }
            Step::Resume { pause } => {
                let answer = self.call("disable", app, &[number(pause)], LIMIT);
                let is_over = answer.is_ok() || answer.is_of_past_pause();
                say(&format!("app {app}: {}", answer.line));
                Ok(if is_over { Agent::Open } else { state })
            }
        }
    }

    fn pause(&self, store: &mut impl Store, app: &str, want: Want) -> Result<Agent, Trouble> {
        let answer = self.call("enable", app, &[lasts(want)], LIMIT);
        let Some(pause) = answer.facts.pause.filter(|_| answer.has_paused()) else {
            let why = match answer.verdict {
                Verdict::Ok if answer.facts.pause.is_none() => "its module is too old".to_owned(),
                Verdict::Ok => "another call has paused it already".to_owned(),
                _ => answer.line,
            };
            return self.fail(store, app, want, &why);
        };
        say(&format!("app {app}: paused"));
        let (token, now) = (want.token, self.now());
        Ok(Agent::Paused { token, pause, since: now, renewed: now, is_quiet: false })
    }

    fn drain(
        &self,
        store: &mut impl Store,
        app: &str,
        state: Agent,
        (want, pause): (Want, u64),
    ) -> Result<Agent, Trouble> {
        let Agent::Paused { token, since, .. } = state else { return Ok(state) };
        let slice = SLICE.min(want.drain);
        let arguments = [
            lasts(want),
            number(pause),
            ("drain", format!("{}ms", slice.as_millis()).into()),
            ("keep", "1".into()),
        ];
        let answer = self.call("enable", app, &arguments, slice + LIMIT);
        let renewed = self.now();
        match answer.verdict {
            Verdict::Ok => {
                let ack = Ack { node: self.name.clone(), token, pause, why: None };
                self.say_to(store, app, &ack)?;
                Ok(Agent::Paused { token, pause, since, renewed, is_quiet: true })
            }
            Verdict::Refused(504) => {
                Ok(Agent::Paused { token, pause, since, renewed, is_quiet: false })
            }
            _ => self.fail(store, app, want, &answer.line),
        }
    }

    fn fail(
        &self,
        store: &mut impl Store,
        app: &str,
        want: Want,
        why: &str,
    ) -> Result<Agent, Trouble> {
        say(&format!("app {app}: {why}"));
        let token = want.token;
        let ack = Ack { node: self.name.clone(), token, pause: 0, why: Some(why.to_owned()) };
        self.say_to(store, app, &ack)?;
        Ok(Agent::Failed { token })
    }

    /// What is said to a holder that has gone is said to nobody.
    fn say_to(&self, store: &mut impl Store, app: &str, ack: &Ack) -> Result<(), Trouble> {
        let (key, value) = (keys::ack(app, &ack.node), keys::of_ack(ack));
        store.put_while(&key, &value, (&keys::app(app), ack.token)).map(|_| ())
    }

    fn call(&self, call: &str, app: &str, others: &[Argument], limit: Duration) -> Answer {
        let mut arguments = vec![("app", OsString::from(app))];
        arguments.extend_from_slice(others);
        self.server.call(call, limit, &arguments)
    }
}

fn lasts(want: Want) -> Argument {
    ("for", format!("{}ms", want.lasts.as_millis()).into())
}

fn number(pause: u64) -> Argument {
    ("pause", pause.to_string().into())
}
