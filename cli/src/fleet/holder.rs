//! The holder: has an app paused at all nodes, runs a command, and has it resumed.

use std::time::{Duration, Instant};

use super::decide::{Ack, Verdict, judge, lost};
use super::etcd::Etcd;
use super::keys;
use super::store::{KEEP, Store, Trouble};
use crate::options::Run;
use crate::run::command::{self, Command};
use crate::say::{printable_os, say};
use crate::signals::{Event, Signals};
use crate::status::TRY_LATER;

pub fn run(options: Run, app: &str) -> Result<i32, String> {
    let mut words = options.command.into_iter();
    let name = words.next().unwrap_or_default();
    if let Err((status, problem)) = command::check(&name) {
        say(&format!("{problem}. Nothing was paused."));
        return Ok(status);
    }
    let mut signals = Signals::<()>::heed()?;
    let mut store = Etcd::connect(&options.etcd)?;
    let holder = format!("process {}", std::process::id());
    let want = keys::of_want(&holder, options.lasts.length, options.drain.length);
    let key = keys::app(app);
    if store.list(keys::NODES)?.is_empty() {
        return Err("no node is part of the fleet: start an agent beside each nginx".to_owned());
    }
    let Some(token) = store.create(&key, &want)? else {
        return Err(format!(
            "the app {app} is paused already, by another holder: wait for its end"
        ));
    };
    let mut hold = Hold { store, app, token, paused: Vec::new() };
    let patience = options.drain.length + KEEP * 2;
    let status = match hold.wait_for_all(&mut signals, patience) {
        Ok(()) => {
            say(&format!(
                "paused at {} nodes, and quiet: running {}",
                hold.paused.len(),
                printable_os(&name)
            ));
            match Command::start(&name, words) {
                Ok(mut command) => hold.wait_for(&mut command, &mut signals),
                Err((status, problem)) => {
                    say(&problem);
                    status
                }
            }
        }
        Err(problem) => {
            say(&problem);
            TRY_LATER
        }
    };
    hold.store.remove(&key, token)?;
    say("resumed");
    Ok(status)
}

struct Hold<'a> {
    store: Etcd,
    app: &'a str,
    token: i64,
    paused: Vec<String>,
}

impl Hold<'_> {
    fn acks(&mut self) -> Result<Vec<Ack>, Trouble> {
        self.store.list(&keys::acks(self.app))?.iter().map(keys::ack_of).collect()
    }

    fn wait_for_all(
        &mut self,
        signals: &mut Signals<()>,
        patience: Duration,
    ) -> Result<(), String> {
        let until = Instant::now() + patience;
        loop {
            if !self.store.keep()? {
                return Err("the store took this process for lost".to_owned());
            }
            let nodes = self.store.list(keys::NODES)?;
            let nodes = nodes.iter().map(keys::check_node).collect::<Result<Vec<_>, _>>()?;
            match judge(&nodes, &self.acks()?, self.token) {
                Verdict::Ready => {
                    self.paused = nodes;
                    return Ok(());
                }
                Verdict::Nobody => return Err("no node is left".to_owned()),
                Verdict::Failed { node, why } => return Err(format!("node {node}: {why}")),
                Verdict::Waiting(nodes) if Instant::now() >= until => {
                    return Err(format!("no answer from node {} in time", nodes.join(", ")));
                }
                Verdict::Waiting(_) => {}
            }
            if signals.is_interrupted() {
                return Err("interrupted".to_owned());
            }
            self.store.wait(KEEP);
        }
    }

    fn wait_for(&mut self, command: &mut Command, signals: &mut Signals<()>) -> i32 {
        loop {
            match command.status() {
                Ok(None) => {}
                Ok(Some(status)) => return crate::run::as_number(status),
                Err(error) => {
                    say(&format!("the command cannot be waited for: {error}"));
                    return TRY_LATER;
                }
            }
            match signals.next(KEEP) {
                Some(Event::Signal(caught)) => command.pass_on(caught),
                Some(_) => {}
                None => self.look(),
            }
        }
    }

    /// Tells of nodes that are lost.
    fn look(&mut self) {
        if let Err(trouble) = self.store.keep() {
            say(&format!("{trouble}. The nodes stay paused until their deadlines."));
            return;
        }
        let Ok(acks) = self.acks() else { return };
        for node in lost(&self.paused, &acks, self.token) {
            say(&format!("node {node} is lost: it opens with its deadline"));
            self.paused.retain(|paused| *paused != node);
        }
    }
}
