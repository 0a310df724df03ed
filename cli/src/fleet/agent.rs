//! The agent beside an nginx: it does there what is wanted in the store, and says what it did.

mod node;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use self::node::Node;
use super::keeper::Keeper;
use super::keys;
use super::store::{self, KEEP, LEASE, Lease, Store, Trouble};
use crate::address::Address;
use crate::options::Agent as Options;
use crate::say::say;
use crate::signals::{Event, Signals};

/// Runs until it is told to end. Whatever becomes of the store meanwhile, it remembers what it has paused.
pub fn agent(options: Options) -> Result<i32, String> {
    let mut signals = Signals::<()>::heed()?;
    let store = store::open(&options.etcd)?;
    let membership = Membership::new(store.clone(), &options.node, &options.url);
    let mut keeper = Some(membership.begin()?);
    say(&format!("node {} is part of the fleet", options.node));
    let sender = signals.sender();
    store.watch(keys::APPS, Box::new(move || drop(sender.send(Event::Done(())))));
    let mut node = Node::new(options.node, options.url, store, signals.sender());
    let mut said = None;
    loop {
        if keeper.as_ref().is_none_or(Keeper::is_over) {
            keeper = told(membership.begin(), &mut said);
        }
        let is_busy = told(node.look(), &mut said);
        let is_heard = keeper.as_ref().is_some_and(Keeper::is_heard) && is_busy.is_some();
        if is_heard && said.take().is_some() {
            say("the store is back");
        }
        let time = if is_busy == Some(true) { Duration::ZERO } else { node.rest().min(KEEP) };
        let mut event = signals.next(time);
        while let Some(Event::Done(()) | Event::Child) = event {
            event = signals.next(Duration::ZERO);
        }
        if signals.caught.is_some() {
            break;
        }
        let is_other = |keeper: &Keeper| node.registered.is_some_and(|lease| lease != keeper.lease);
        if keeper.as_ref().is_some_and(is_other) {
            return Err(format!("another agent is node {} now: this one ends", membership.name));
        }
    }
    // What is paused stays so until its deadline, and an agent that is started anew takes it up.
    if let Some(trouble) = keeper.and_then(|keeper| keeper.end().err()) {
        say(&trouble);
    }
    say("the node has left the fleet");
    Ok(0)
}

/// Says what is in the way, once.
fn told<T>(result: Result<T, Trouble>, said: &mut Option<Trouble>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(trouble) => {
            if said.is_none() {
                say(&format!("{trouble}. What is paused stays so until its deadline."));
                *said = Some(trouble);
            }
            None
        }
    }
}

/// That this node is part of the fleet.
struct Membership {
    store: Arc<dyn Store>,
    name: String,
    key: String,
    place: (String, String),
}

impl Membership {
    fn new(store: Arc<dyn Store>, name: &str, url: &Address) -> Self {
        let place = (hostname(), url.to_string());
        Self { store, name: name.to_owned(), key: keys::node(name), place }
    }

    fn begin(&self) -> Result<Keeper, Trouble> {
        let keeper = Keeper::begin(&self.store)?;
        let value = keys::of_node(&self.place.0, &self.place.1);
        while self.store.create(&self.key, &value, keeper.lease)?.is_none() {
            self.take_over(&value, keeper.lease)?;
        }
        Ok(keeper)
    }

    /// An agent before this one, for the same nginx, may have been killed a moment ago. There is no moment without a
    /// node, in which a holder would take it for lost.
    fn take_over(&self, value: &str, lease: Lease) -> Result<(), Trouble> {
        for entry in self.store.list(&self.key)?.iter().filter(|entry| entry.key == self.key) {
            let (host, url) = keys::place_of_node(entry)?;
            if (&host, &url) != (&self.place.0, &self.place.1) {
                let (node, seconds) = (&self.name, LEASE.as_secs());
                return Err(format!(
                    "there is a node {node} already, at {host}, {url}: give this one another name \
                     (--node), or wait {seconds}s if that one has just ended"
                ));
            }
            self.store.put_while(&self.key, value, lease, (&self.key, entry.made))?;
        }
        Ok(())
    }
}

pub fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
