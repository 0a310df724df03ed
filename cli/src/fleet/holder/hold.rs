//! That an app is held at all nodes, and what is told of it. Nothing here waits for the store: what has to be told in
//! time is told in time, whatever the store does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::looker::{Ask, Heard, Looker, View};
use crate::fleet::decide::{Moment, Want};
use crate::fleet::keeper::Keeper;
use crate::fleet::keys;
use crate::fleet::store::{NOTICE, Store, Trouble};
use crate::fleet::watcher::{News, Verdict, Watcher};
use crate::say::{progress, requests, say};
use crate::signals::{Event, Signals};
use crate::time::seconds;

/// How often a holder looks, if nothing changes.
pub const TICK: Duration = Duration::from_millis(500);
/// What an agent may need, beside the drain.
const FOR_AGENTS: Duration = Duration::from_secs(6);
const FOR_RESUME: Duration = Duration::from_secs(10);

pub struct Hold {
    keeper: Keeper,
    looker: Looker,
    want: Want,
    begun: Instant,
    watcher: Watcher,
    view: View,
    asked: Instant,
    told: Told,
}

/// How bad it is, as far as the holder was told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Trouble,
    Notice,
    /// The pause is not this holder's any more, or may not be.
    Over,
}

impl Hold {
    pub fn begin(
        store: &Arc<dyn Store>,
        app: &str,
        holder: String,
        want: Want,
        signals: &Signals<Heard>,
    ) -> Result<Self, Trouble> {
        let keeper = Keeper::begin(store)?;
        let key = keys::app(app);
        let begun = Instant::now();
        let token = match store.create(&key, &keys::of_want(&holder, &want), keeper.lease) {
            Ok(Some(token)) => token,
            // If it is made all the same, and late, that goes with the lease.
            nothing => {
                let _ = keeper.end();
                nothing?;
                return Err(taken(&**store, app, &key));
            }
        };
        let want = Want { token, ..want };
        let looker = Looker::begin(store, app, holder, (token, keeper.lease), signals.sender())?;
        let watcher = Watcher::new(token, want.lasts, Duration::ZERO);
        let (view, told) = (View::default(), Told::Nothing);
        Ok(Self { keeper, looker, want, begun, watcher, view, asked: begun, told })
    }

    pub fn count(&self) -> usize {
        self.watcher.count()
    }

    fn now(&self) -> Moment {
        self.begun.elapsed()
    }

    /// Asks for what is to be known, and sees to it that the nodes go on.
    fn go_on(&mut self) {
        if !self.want.is_over && self.watcher.is_beat_due(self.now()) {
            self.want.beat = self.watcher.next_beat(self.now());
            self.ask(Ask::Want(self.want));
        } else if self.asked.elapsed() >= TICK {
            self.ask(Ask::Look);
        }
    }

    fn ask(&mut self, ask: Ask) {
        self.asked = Instant::now();
        self.looker.ask(ask);
    }

    /// Takes in what the store has.
    pub fn hear(&mut self, heard: Heard) {
        match heard {
            Ok(view) => self.view = view.after(&self.view),
            Err(trouble) => self.view.trouble = Some(trouble),
        }
    }

    /// Whether all are paused and quiet, and how long that took; or why it cannot be.
    pub fn look_for_all(&mut self) -> Result<Option<String>, String> {
        self.go_on();
        let now = self.now();
        if self.keeper.left() <= NOTICE {
            let trouble = self.view.trouble.clone().or(self.keeper.trouble()).unwrap_or_default();
            return Err(trouble);
        } else if self.keeper.is_over() || self.view.is_own == Some(false) {
            return Err("another call has ended the pause (intermission fleet resume)".to_owned());
        } else if let Some(problem) = &self.view.foreign {
            return Err(problem.clone());
        } else if self.view.is_own.is_none() {
            return Ok(None);
        }
        match self.watcher.judge(&self.view.nodes, &self.view.acks, now) {
            Verdict::Ready => Ok(Some(seconds(millis(now)))),
            Verdict::Nobody => Err("no node is left in the fleet".to_owned()),
            Verdict::Failed { node, why } => Err(format!("node {node}: {why}")),
            Verdict::Waiting(nodes) if now >= self.patience() => Err(format!(
                "no answer in time from node {}: is its agent up, and its nginx?",
                nodes.join(", ")
            )),
            Verdict::Waiting(nodes) => {
                if now > Duration::from_secs(1) {
                    let line = format!("waiting for node {}", nodes.join(", "));
                    progress(&line, now.as_secs());
                }
                Ok(None)
            }
        }
    }

    fn patience(&self) -> Duration {
        self.want.drain + FOR_AGENTS
    }

    /// Tells what has changed: whether it is bad, as not all nodes are, or stay, paused.
    pub fn look(&mut self) -> bool {
        self.go_on();
        let (now, patience) = (self.now(), self.patience());
        let news = self.watcher.look(&self.view.nodes, &self.view.acks, patience, now);
        for new in &news {
            say(&line_of(new));
        }
        let told = self.judged();
        if told != self.told
            && (told > self.told || told == Told::Nothing)
            && self.told != Told::Over
        {
            self.tell(told);
        }
        news.iter().any(News::is_bad) || self.told >= Told::Notice
    }

    /// How it is with the store, which alone knows whose the pause is.
    fn judged(&self) -> Told {
        let left = self.keeper.left();
        if self.keeper.is_over() || self.view.is_own == Some(false) || left.is_zero() {
            Told::Over
        } else if left <= NOTICE {
            Told::Notice
        } else if !self.keeper.is_heard() {
            Told::Trouble
        } else {
            Told::Nothing
        }
    }

    fn tell(&mut self, told: Told) {
        let why = self.keeper.trouble().or(self.view.trouble.clone()).unwrap_or_default();
        let left = seconds(millis(self.keeper.left()));
        let goes_on = "The command goes on, and so does the traffic.";
        match told {
            Told::Nothing => say("the store is back, and the pause goes on"),
            Told::Trouble | Told::Notice => {
                say(&format!("{why}. If that lasts, nodes may open in {left}."));
            }
            Told::Over if self.view.is_own == Some(false) && !self.keeper.is_over() => {
                say(&format!(
                    "another call has ended the pause (intermission fleet resume). {goes_on}"
                ));
            }
            Told::Over => {
                say(&format!("the store took this process for lost: nodes open. {goes_on}"))
            }
        }
        self.told = told;
    }

    /// Has the app resumed at all nodes: whether all have said so. No signal can hurry it.
    pub fn end(mut self, signals: &mut Signals<Heard>) -> bool {
        self.want.is_over = true;
        let until = Instant::now() + FOR_RESUME;
        self.ask(Ask::Want(self.want));
        let mut is_known = false;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match signals.next(left.min(TICK)) {
                Some(Event::Done(heard)) => {
                    is_known |= heard.as_ref().is_ok_and(|view| view.is_over);
                    self.hear(heard);
                }
                Some(_) => continue,
                None => self.go_on(),
            }
            let is_gone = self.keeper.is_over() || self.view.is_own == Some(false);
            let is_done = is_gone || is_known && self.watcher.unresumed(&self.view.acks).is_empty();
            if is_done || left.is_zero() {
                return self.leave(is_done, is_gone);
            }
        }
    }

    fn leave(self, is_done: bool, is_gone: bool) -> bool {
        let acks = self.view.acks.iter().filter(|ack| ack.token == self.want.token && ack.is_open);
        let (count, held) = acks.fold((0, 0), |(count, held), ack| (count + 1, held + ack.held));
        if is_gone {
            say("the pause was over already");
        } else if count > 0 {
            say(&format!("resumed at {count} nodes, {} held", requests(held)));
        }
        if !is_done {
            let lasts = self.want.lasts.as_secs();
            let nodes = self.watcher.unresumed(&self.view.acks).join(", ");
            say(&format!(
                "node {nodes} DID NOT SAY THAT IT HAS RESUMED: it does by itself, within {lasts}s at most"
            ));
        }
        // It ends by itself as well, only later.
        if let Err(trouble) = self.keeper.end() {
            if !is_gone {
                say(&trouble);
            }
        }
        is_done
    }
}

/// Who has the app.
fn taken(store: &dyn Store, app: &str, key: &str) -> String {
    let entries = store.list(key).unwrap_or_default();
    match entries.iter().find(|entry| entry.key == key).map(keys::want) {
        Some(Err(problem)) => problem,
        Some(Ok((holder, _))) => format!(
            "the app {app} is paused already, by another holder ({holder}): wait for its end, or see \
             intermission fleet status"
        ),
        None => format!("the app {app} was paused by another holder until now: try again"),
    }
}

fn line_of(news: &News) -> String {
    match news {
        News::Joining(node) => format!("node {node} has joined: it is not paused yet"),
        News::Joined(node) => format!("node {node} is paused as well"),
        News::Back(node) => format!("node {node} is back, and was paused all the time"),
        News::Lost { node, why, left } => {
            let left = seconds(millis(*left));
            format!(
                "node {node} is lost: {why}. It stays paused for {left} at least, and then opens."
            )
        }
        News::Open { node, why } => format!("node {node} is not paused: {why}"),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
