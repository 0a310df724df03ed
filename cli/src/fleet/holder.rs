//! The holder: has an app paused at all nodes, runs a command, and has it resumed.

mod hold;
mod looker;
mod release;

use std::time::Duration;

use self::hold::{Hold, TICK};
use self::looker::Heard;
use super::agent::hostname;
use super::decide::{Aim, Want};
use super::keys;
use super::share::check_rate;
use super::store::{self, Store};
use crate::options::{Fleet, OnLoss, Run};
use crate::run::{as_number, command, command::Command};
use crate::say::{nodes, printable_os, say};
use crate::signals::{Caught, Event, Signals, end_by};
use crate::status::{STILL_PAUSED, TRY_LATER};

/// The exit status, or what keeps it from being begun.
pub fn run(options: Run, fleet: &Fleet) -> Result<i32, String> {
    let mut words = options.command.into_iter();
    let name = words.next().unwrap_or_default();
    if let Err((status, problem)) = command::check(&name) {
        say(&format!("{problem}. Nothing was paused."));
        return Ok(status);
    }
    let mut signals = Signals::<Heard>::heed()?;
    let nothing = |trouble| format!("{trouble}. Nothing was paused.");
    let store = store::open(&fleet.etcd).map_err(nothing)?;
    check_nodes(&*store, fleet.nodes, fleet.pace.rate).map_err(nothing)?;
    let settle = options.settle.map_or(Duration::ZERO, |settle| settle.length);
    let (lasts, drain) = (options.lasts.length, options.drain.length);
    let want = Want { token: 0, lasts, drain, settle, beat: 0, aim: Aim::Hold };
    let holder = format!("{}, process {}", hostname(), std::process::id());
    let mut hold = Hold::begin(&store, &fleet.app, holder, want, &signals).map_err(nothing)?;

    let mut has_run = false;
    let status = match wait_for_all(&mut hold, &mut signals) {
        Ok(waited) => {
            let (count, shown) = (nodes(hold.count()), printable_os(&name));
            say(&format!("paused at {count}, and quiet after {waited}: running {shown}"));
            match Command::start(&name, words) {
                Ok(mut command) => {
                    has_run = true;
                    wait_for(&mut command, &mut hold, &mut signals, fleet.on_loss)
                }
                Err((status, problem)) => {
                    say(&problem);
                    status
                }
            }
        }
        Err(problem) => {
            say(&format!("{problem}. Nothing was run."));
            TRY_LATER
        }
    };
    let is_resumed = hold.release(fleet.pace, has_run, &mut signals);
    Ok(leave(status, has_run, is_resumed, &mut signals))
}

/// Whether there are nodes, all of which this command understands.
fn check_nodes(store: &dyn Store, expected: Option<u32>, rate: Option<u32>) -> Result<(), String> {
    let stored = store.list(keys::NODES)?;
    let names = stored.iter().map(keys::check_node).collect::<Result<Vec<_>, _>>()?;
    match (names.len(), expected) {
        (0, _) => Err("no node is part of the fleet: start an agent beside each nginx".to_owned()),
        (count, Some(expected)) if u32::try_from(count) != Ok(expected) => Err(format!(
            "the fleet has {}, and not {expected} (--nodes): {}",
            nodes(count),
            names.join(", ")
        )),
        (count, _) => rate.map_or(Ok(()), |rate| check_rate(rate, count)),
    }
}

/// Until all are paused and quiet: how long that took, or why it cannot be.
fn wait_for_all(hold: &mut Hold, signals: &mut Signals<Heard>) -> Result<String, String> {
    loop {
        if let Some(waited) = hold.look_for_all()? {
            return Ok(waited);
        }
        let mut event = signals.next(TICK);
        while let Some(now) = event {
            if let Event::Done(heard) = now {
                hold.hear(heard);
            }
            event = signals.next(Duration::ZERO);
        }
        if signals.caught.is_some() {
            return Err("interrupted".to_owned());
        }
    }
}

/// Waits for the end of the command: its exit status. Meanwhile the nodes are looked after, and signals passed on.
fn wait_for(
    command: &mut Command,
    hold: &mut Hold,
    signals: &mut Signals<Heard>,
    on_loss: OnLoss,
) -> i32 {
    let mut is_stopped = false;
    loop {
        match command.status() {
            Ok(None) => {}
            Ok(Some(status)) => return as_number(status),
            Err(error) => {
                say(&format!("the command cannot be waited for: {error}"));
                return TRY_LATER;
            }
        }
        if hold.look() && on_loss == OnLoss::Stop && !is_stopped {
            is_stopped = true;
            say("stopping the command (--on-loss stop)");
            let signal = nix::sys::signal::Signal::SIGTERM;
            command.pass_on(Caught { signal, is_typed: false });
        }
        let mut event = signals.next(TICK);
        while let Some(now) = event {
            match now {
                Event::Signal(caught) => command.pass_on(caught),
                Event::Child => break,
                Event::Done(heard) => hold.hear(heard),
            }
            event = signals.next(Duration::ZERO);
        }
    }
}

/// The exit status, if this does not end by the signal that came.
fn leave(status: i32, has_run: bool, is_resumed: bool, signals: &mut Signals<Heard>) -> i32 {
    if has_run && !is_resumed {
        say(&format!("the command ended with {status}"));
        return STILL_PAUSED;
    }
    let is_interrupted = signals.is_interrupted();
    let Some(caught) = signals.caught.filter(|_| is_interrupted) else { return status };
    let as_status = 128 + caught.signal as i32;
    if !has_run || status == as_status {
        end_by(caught.signal);
        return as_status;
    }
    status
}
