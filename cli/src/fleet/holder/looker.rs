//! Looks at the store for a holder, beside: a question may take a while.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::fleet::decide::{Ack, Aim, Want};
use crate::fleet::keys::{self, Rates, Trial};
use crate::fleet::store::{Lease, Store, Trouble};
use crate::signals::{Event, keep_away};

const LONGEST_REST: Duration = Duration::from_millis(100);

pub enum Ask {
    Look,
    /// Write this, and look.
    Write(Wanted),
}

/// What a holder wants of the nodes.
#[derive(Clone)]
pub struct Wanted {
    pub want: Want,
    /// Which node is to let some go first.
    pub trial: Option<Trial>,
    /// At which rates they are to resume, if at any.
    pub rates: Option<Rates>,
}

/// What a look has brought.
pub type Heard = Result<View, Trouble>;

/// What the store has, or had when it could last be asked.
#[derive(Default)]
pub struct View {
    pub nodes: Vec<String>,
    pub acks: Vec<Ack>,
    /// The app's key is still the one that this holder made.
    pub is_own: Option<bool>,
    /// What it says that the pause is to come to.
    pub aim: Aim,
    /// A value that nobody here understands.
    pub foreign: Option<String>,
    pub trouble: Option<Trouble>,
}

impl View {
    /// The same, in which no node takes back what it had said before.
    pub fn after(mut self, before: &Self) -> Self {
        for ack in &mut self.acks {
            let said = before.acks.iter().find(|said| said.node == ack.node);
            if let Some(said) = said.filter(|said| ack.is_before(said)) {
                *ack = said.clone();
            }
        }
        self
    }
}

pub struct Looker {
    asks: Sender<Ask>,
}

struct Looking {
    store: Arc<dyn Store>,
    app: String,
    holder: String,
    token: i64,
    lease: Lease,
}

impl Looker {
    pub fn begin(
        store: &Arc<dyn Store>,
        app: &str,
        holder: String,
        (token, lease): (i64, Lease),
        heard: Sender<Event<Heard>>,
    ) -> Result<Self, Trouble> {
        let (asks, asked) = channel();
        let looking = Looking { store: store.clone(), app: app.to_owned(), holder, token, lease };
        thread::Builder::new()
            .spawn(move || {
                keep_away();
                looking.run(&asked, &heard);
            })
            .map_err(|error| format!("no thread can be started: {error}"))?;
        let watching = asks.clone();
        store.watch(keys::NODES, Box::new(move || drop(watching.send(Ask::Look))));
        for prefix in [keys::acks(app), keys::app(app)] {
            let watching = asks.clone();
            store.watch(&prefix, Box::new(move || drop(watching.send(Ask::Look))));
        }
        Ok(Self { asks })
    }

    pub fn ask(&self, ask: Ask) {
        // Without the thread nothing is heard, and that is told.
        let _ = self.asks.send(ask);
    }
}

impl Looking {
    /// Many questions at once are one. What could not be written is, with the next.
    fn run(&self, asked: &Receiver<Ask>, heard: &Sender<Event<Heard>>) {
        let mut unwritten = None;
        while let Ok(first) = asked.recv() {
            for ask in std::iter::once(first).chain(asked.try_iter()) {
                if let Ask::Write(new) = ask {
                    unwritten = Some(new);
                }
            }
            let begun = Instant::now();
            if heard.send(Event::Done(self.look(&mut unwritten))).is_err() {
                return;
            }
            // Many nodes say something at about the same time: half of it is not spent on looking at the others.
            thread::sleep(begun.elapsed().min(LONGEST_REST));
        }
    }

    fn look(&self, unwritten: &mut Option<Wanted>) -> Heard {
        let key = keys::app(&self.app);
        if let Some(Wanted { want, trial, rates }) = unwritten {
            let put = |key_of: &str, value: &str| {
                self.store.put_while(key_of, value, self.lease, (&key, self.token))
            };
            // First the rates: who sees that it is to resume sees them as well.
            if let Some(rates) = rates {
                put(&keys::pace(&self.app), &keys::of_pace(self.token, rates))?;
            }
            put(&key, &keys::of_want(&self.holder, want, trial.as_ref()))?;
            *unwritten = None;
        }
        let mut view = View::default();
        let acks = keys::acks(&self.app);
        let mut found = self.store.lists(&[&key, &acks, keys::NODES])?.into_iter();
        let mut next = || found.next().unwrap_or_default();
        let own = next().into_iter().find(|entry| entry.key == key && entry.made == self.token);
        view.is_own = Some(own.is_some());
        let want = own.and_then(|entry| keys::want(&entry, "").ok());
        view.aim = want.map(|want| want.aim).unwrap_or_default();
        for entry in next() {
            match keys::ack_of(&entry) {
                Ok(ack) => view.acks.push(ack),
                Err(problem) => view.foreign = Some(problem),
            }
        }
        for entry in next() {
            match keys::check_node(&entry) {
                Ok(node) => view.nodes.push(node),
                Err(problem) => view.foreign = Some(problem),
            }
        }
        Ok(view)
    }
}
