//! That an app is held at all nodes, and what is told of it. Nothing here waits for the store: what has to be told in
//! time is told in time, whatever the store does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::looker::{Ask, Heard, Looker, View, Wanted};
use crate::fleet::decide::{Ack, Aim, Moment, Want};
use crate::fleet::keeper::Keeper;
use crate::fleet::keys;
use crate::fleet::store::{NOTICE, Store, Trouble};
use crate::fleet::watcher::{News, Verdict, Watcher};
use crate::say::{nodes, progress, requests, say};
use crate::signals::{Event, Signals};
use crate::time::seconds;

/// How often a holder looks, if nothing changes.
pub const TICK: Duration = Duration::from_millis(500);
/// What an agent may need, beside the drain.
const FOR_AGENTS: Duration = Duration::from_secs(6);
/// What all agents may need to say what they did.
pub const FOR_ANSWERS: Duration = Duration::from_secs(10);

pub struct Hold {
    pub(super) keeper: Keeper,
    looker: Looker,
    pub(super) wanted: Wanted,
    begun: Instant,
    pub(super) watcher: Watcher,
    pub(super) view: View,
    asked: Instant,
    told: Told,
    /// What goes on when the nodes open too early.
    pub(super) goes_on: &'static str,
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
        let token = match store.create(&key, &keys::of_want(&holder, &want, None), keeper.lease) {
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
        let (view, told, asked) = (View::default(), Told::Nothing, begun);
        let wanted = Wanted { want, trial: None, rates: None };
        let goes_on = "The command goes on, and so does the traffic.";
        Ok(Self { keeper, looker, wanted, begun, watcher, view, asked, told, goes_on })
    }

    pub fn count(&self) -> usize {
        self.watcher.count()
    }

    pub(super) fn now(&self) -> Moment {
        self.begun.elapsed()
    }

    /// Asks for what is to be known, and sees to it that the nodes go on.
    pub(super) fn go_on(&mut self) {
        let is_held = matches!(self.wanted.want.aim, Aim::Hold | Aim::Try(_));
        if is_held && self.watcher.is_beat_due(self.now()) {
            self.beat();
        } else if self.asked.elapsed() >= TICK {
            self.ask(Ask::Look);
        }
    }

    pub(super) fn beat(&mut self) {
        self.wanted.want.beat = self.watcher.next_beat(self.now());
        self.write();
    }

    pub(super) fn write(&mut self) {
        self.ask(Ask::Write(self.wanted.clone()));
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
        self.wanted.want.drain + FOR_AGENTS
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
        let goes_on = self.goes_on;
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
        self.want(Aim::Resume);
        let mut is_known = false;
        let is_done = self.wait(signals, FOR_ANSWERS, |hold| {
            is_known |= hold.view.aim == Aim::Resume;
            hold.is_gone() || is_known && hold.watcher.unresumed(&hold.view.acks).is_empty()
        });
        let is_gone = self.is_gone();
        self.leave(is_done, is_gone)
    }

    pub(super) fn want(&mut self, aim: Aim) {
        self.wanted.want.aim = aim;
        self.write();
    }

    /// The pause is not this holder's any more.
    pub(super) fn is_gone(&self) -> bool {
        self.keeper.is_over() || self.view.is_own == Some(false)
    }

    /// Whether this came in time.
    pub(super) fn wait(
        &mut self,
        signals: &mut Signals<Heard>,
        time: Duration,
        mut has_come: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match signals.next(left.min(TICK)) {
                Some(Event::Done(heard)) => self.hear(heard),
                Some(_) => continue,
                None => {}
            }
            self.go_on();
            if has_come(self) {
                return true;
            } else if left.is_zero() {
                return false;
            }
        }
    }

    /// How many nodes say this of the pause, and how many requests they held then.
    pub(super) fn tally(&self, is_so: impl Fn(&Ack) -> bool) -> (usize, u64) {
        let token = self.wanted.want.token;
        let acks = self.view.acks.iter().filter(|ack| ack.token == token && is_so(ack));
        acks.fold((0, 0), |(count, held), ack| (count + 1, held + ack.held))
    }

    fn leave(self, is_done: bool, is_gone: bool) -> bool {
        let (count, held) = self.tally(|ack| ack.is_open);
        if is_gone {
            say("the pause was over already");
        } else if count > 0 {
            say(&format!("resumed at {}, {} held", nodes(count), requests(held)));
        }
        if !is_done {
            let lasts = self.wanted.want.lasts.as_secs();
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
    match entries.iter().find(|entry| entry.key == key).map(keys::holder) {
        Some(Err(problem)) => problem,
        Some(Ok(holder)) => format!(
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
