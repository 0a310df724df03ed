//! Shows a fleet, and resumes an app in it by hand.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr, stdin};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use super::decide::{Ack, Canary};
use super::keys::{self, Rates};
use super::share::{check_rate, shares};
use super::store::{self, Entry, Store, Trouble};
use crate::options::{FleetResume, FleetShow};
use crate::say::{nodes, print, printable, say};
use crate::status::{TRY_LATER, USAGE};
use crate::view::View;

const INTERVAL: Duration = Duration::from_secs(1);

pub fn status(options: FleetShow) -> Result<i32, String> {
    let store = store::open(&options.etcd)?;
    let fleet = Fleet::of(&*store, &options.app)?;
    if options.json {
        print(&format!("{}\n", fleet.json()));
    } else {
        print(&fleet.rows().iter().map(|row| format!("{row}\n")).collect::<String>());
    }
    Ok(0)
}

pub fn watch(options: FleetShow) -> Result<i32, String> {
    let store = store::open(&options.etcd)?;
    let mut view = View::default();
    loop {
        let fleet = Fleet::of(&*store, &options.app);
        match fleet {
            Ok(fleet) if options.json => print(&format!("{}\n", fleet.json())),
            Ok(fleet) => view.show(fleet.rows()),
            Err(trouble) if options.json => say(&trouble),
            Err(trouble) => view.show(vec![trouble]),
        }
        sleep(INTERVAL);
    }
}

/// The emergency exit: whoever holds the app is told.
pub fn resume(options: FleetResume) -> Result<i32, String> {
    let store = store::open(&options.etcd)?;
    let (app, key) = (printable(&options.app), keys::app(&options.app));
    let entries = store.list(&key)?;
    let Some(entry) = entries.into_iter().find(|entry| entry.key == key) else {
        say(&format!("the app {app} is not paused by anybody in this fleet"));
        return Ok(0);
    };
    let rate = options.per_second();
    let rates = rate.map(|rate| rates(&*store, &options.app, entry.made, rate)).transpose()?;
    let holder = keys::holder(&entry).unwrap_or("somebody else".to_owned());
    if !options.yes {
        if !stdin().is_terminal() {
            say("there is nobody to ask: give --yes to resume without a question");
            return Ok(USAGE);
        }
        if !is_confirmed(&format!("{holder} has paused {app}, and may count on it. Resume? [y/N] "))
        {
            say("nothing was done");
            return Ok(TRY_LATER);
        }
    }
    set_pace(&*store, &options.app, &entry, rates)?;
    let is_removed = store.remove(&key, entry.made)?;
    say(if is_removed {
        "all nodes that see the store resume now"
    } else {
        "that pause has just ended"
    });
    Ok(0)
}

/// The rate of each node, by what it said last.
fn rates(store: &dyn Store, app: &str, token: i64, rate: u32) -> Result<Rates, String> {
    let acks = store.list(&keys::acks(app))?;
    let acks = acks.iter().filter_map(|entry| keys::ack_of(entry).ok());
    let own = acks.filter(|ack| ack.token == token && ack.held > 0);
    let held: BTreeMap<_, _> = own.map(|ack| (ack.node, ack.held)).collect();
    let too_small = |problem| format!("{problem}. Nothing was done.");
    check_rate(rate, held.len()).map(|()| shares(rate, &held)).map_err(too_small)
}

/// Before the nodes see that they are to resume: they do so by these rates, or by none.
fn set_pace(
    store: &dyn Store,
    app: &str,
    paused: &Entry,
    rates: Option<Rates>,
) -> Result<(), Trouble> {
    let key = keys::pace(app);
    if let Some(rates) = rates {
        // It is there for as long as the nodes may need to see it.
        let value = keys::of_pace(paused.made, &rates);
        store.put_while(&key, &value, store.grant()?, (&paused.key, paused.made))?;
        return Ok(());
    }
    for entry in store.list(&key)?.iter().filter(|entry| entry.key == key) {
        store.remove(&key, entry.made)?;
    }
    Ok(())
}

fn is_confirmed(question: &str) -> bool {
    let _ = stderr().write_all(format!("intermission: {question}").as_bytes());
    let mut answer = String::new();
    let _ = stdin().read_line(&mut answer);
    matches!(answer.trim(), "y" | "Y" | "yes")
}

/// What is in the store.
struct Fleet {
    holder: Option<String>,
    nodes: Vec<Row>,
}

struct Row {
    name: String,
    state: &'static str,
    ack: Option<Ack>,
    /// Since when it has shown no sign of life.
    silent: Option<Duration>,
    note: Option<String>,
}

impl Fleet {
    fn of(store: &dyn Store, app: &str) -> Result<Self, Trouble> {
        let key = keys::app(app);
        let entries = store.list(&key)?;
        let own = entries.iter().find(|entry| entry.key == key);
        let holder = own.map(keys::holder).transpose()?;
        let mut acks = Vec::new();
        for entry in store.list(&keys::acks(app))? {
            acks.push(keys::ack_of(&entry)?);
        }
        let token = own.map(|entry| entry.made);
        acks.retain(|ack| Some(ack.token) == token);
        let mut nodes = Vec::new();
        for entry in store.list(keys::NODES)? {
            let name = keys::name(&entry);
            let at = acks.iter().position(|ack| ack.node == name);
            let ack = at.map(|at| acks.swap_remove(at));
            let silent = store.silent_for(entry.lease)?;
            let note = keys::check_node(&entry).err();
            nodes.push(Row { name, state: state_of(ack.as_ref(), token), ack, silent, note });
        }
        // Who has said something, and has left since.
        for ack in acks {
            let (name, state) = (ack.node.clone(), state_of(Some(&ack), token));
            let note = Some("its agent is gone".to_owned());
            nodes.push(Row { name, state, ack: Some(ack), silent: None, note });
        }
        Ok(Self { holder, nodes })
    }

    fn total(&self, part: impl Fn(&Ack) -> u64) -> u64 {
        self.nodes.iter().filter_map(|row| row.ack.as_ref()).map(part).sum()
    }

    fn rows(&self) -> Vec<String> {
        let mut rows: Vec<_> = self.nodes.iter().map(Row::line).collect();
        let (count, held) = (nodes(self.nodes.len()), self.total(|ack| ack.held));
        let in_flight = self.total(|ack| ack.in_flight);
        let holder = self.holder.as_ref();
        let holder = holder.map_or("not held".to_owned(), |holder| format!("held by {holder}"));
        rows.push(format!("total: {count}, {held} held, {in_flight} in flight; {holder}"));
        rows
    }

    fn json(&self) -> Value {
        let nodes: Vec<_> = self.nodes.iter().map(Row::json).collect();
        json!({ "holder": self.holder, "nodes": nodes, "held": self.total(|ack| ack.held),
            "in_flight": self.total(|ack| ack.in_flight) })
    }
}

fn state_of(ack: Option<&Ack>, token: Option<i64>) -> &'static str {
    match (ack, token) {
        (None, None) => "open",
        (None, Some(_)) => "not acknowledged",
        (Some(ack), _) if ack.why.is_some() => "failed",
        (Some(ack), _) if ack.is_open => "resumed",
        (Some(ack), _) if ack.canary == Canary::Out => "canary",
        (Some(ack), _) if ack.is_quiet => "paused",
        (Some(_), _) => "draining",
    }
}

impl Row {
    fn line(&self) -> String {
        let mut line = format!("{}: {}", printable(&self.name), self.state);
        if let Some(ack) = &self.ack {
            line += &format!(", {} held, {} in flight", ack.held, ack.in_flight);
            line += &ack.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        }
        if let Some(silent) = self.silent {
            line += &format!(", last seen {} s ago", silent.as_secs());
        }
        line + &self.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default()
    }

    fn json(&self) -> Value {
        let ack = self.ack.clone().unwrap_or_default();
        json!({ "node": self.name, "state": self.state, "acknowledged": self.ack.is_some(),
            "held": ack.held, "in_flight": ack.in_flight, "failed": ack.why, "note": self.note,
            "last_seen_s": self.silent.map(|silent| silent.as_secs()) })
    }
}
