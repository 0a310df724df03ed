//! How an app is resumed at all nodes: behind a canary at one of them, and at a rate that is shared out.

use std::time::Duration;

use super::hold::{FOR_ANSWERS, Hold};
use super::looker::Heard;
use crate::call::CANARY_LIMIT;
use crate::fleet::decide::{Aim, Canary};
use crate::fleet::keys::Rates;
use crate::fleet::share::shares;
use crate::options::FleetPace;
use crate::say::{nodes, requests, say};
use crate::signals::Signals;

/// What nodes may need to say what they hold. What they said before is good enough then.
const FOR_COUNT: Duration = Duration::from_millis(2500);

impl Hold {
    /// Whether all nodes have said that they have resumed. No signal can hurry it.
    pub fn release(mut self, pace: FleetPace, has_run: bool, signals: &mut Signals<Heard>) -> bool {
        self.goes_on = "The traffic goes on.";
        let mut rate = pace.rate;
        // Before the command nothing was changed that a canary could find out.
        if let Some(count) = pace.canary.filter(|_| has_run) {
            if let Some((node, Canary::Bad(why))) = self.try_canary(count, &mut rate, signals) {
                say(&format!("the canary at node {node} was not good: {why}"));
                self.watcher.end_trial(&node, &self.view.acks);
                if !self.is_ended_by_another() {
                    return self.leave_paused(signals);
                }
            }
        }
        if let Some(rate) = rate.filter(|_| !self.is_gone()) {
            if has_run {
                self.count_held(signals);
            }
            self.wanted.rates = Some(self.shared(rate, 0));
        }
        self.end(signals)
    }

    /// Which node has tried it, and what came of it. What that node may take of the rate is not there for the others.
    fn try_canary(
        &mut self,
        count: u32,
        rate: &mut Option<u32>,
        signals: &mut Signals<Heard>,
    ) -> Option<(String, Canary)> {
        self.count_held(signals);
        let node = self.watcher.fittest(&self.view.acks).filter(|_| !self.is_gone())?;
        if let Some(rate) = rate {
            // Whoever holds none may do so by the time of the others' turn.
            let own = self.shared(*rate, 1).remove(&node).unwrap_or(1);
            self.wanted.rates = Some(Rates::from([(node.clone(), own)]));
            *rate = rate.saturating_sub(own);
        }
        let requests = requests(u64::from(count));
        say(&format!("resuming: waiting for the canary ({requests}) at node {node}"));
        self.watcher.begin_trial(&node);
        self.wanted.trial = Some((node.clone(), count));
        self.want(Aim::Hold);
        let mut verdict = None;
        let has_begun = self.wait(signals, FOR_ANSWERS, |hold| {
            hold.look();
            verdict = hold.verdict(&node);
            verdict.is_some() || !hold.watcher.is_unbegun(&node, &hold.view.acks)
        });
        if has_begun && verdict.is_none() {
            self.wait(signals, CANARY_LIMIT, |hold| {
                hold.look();
                verdict = hold.verdict(&node);
                verdict.is_some()
            });
        }
        self.wanted.trial = None;
        let late =
            if has_begun { "there is no verdict in time" } else { "it has not begun in time" };
        Some((node, verdict.unwrap_or(Canary::Bad(late.to_owned()))))
    }

    fn verdict(&self, node: &str) -> Option<Canary> {
        let bad = |why: &str| Some(Canary::Bad(why.to_owned()));
        if self.is_ended_by_another() {
            return bad("another call has ended the pause (intermission fleet resume)");
        } else if self.keeper.left().is_zero() {
            return bad("the store took this process for lost");
        }
        self.watcher.verdict(node, &self.view.nodes, &self.view.acks)
    }

    /// That is known as long as the lease lasts: with it the pause ends as well.
    fn is_ended_by_another(&self) -> bool {
        self.view.is_own == Some(false) && !self.keeper.left().is_zero()
    }

    /// Has all nodes say what they hold.
    fn count_held(&mut self, signals: &mut Signals<Heard>) {
        if !self.is_gone() {
            self.beat();
            self.wait(signals, FOR_COUNT, |hold| {
                hold.is_gone() || hold.watcher.uncounted(&hold.view.acks).is_empty()
            });
        }
    }

    /// The rate of each node, as if it held so many at least.
    fn shared(&self, rate: u32, least: u64) -> Rates {
        let held = self.watcher.held(&self.view.acks);
        shares(rate, &held.into_iter().map(|(node, held)| (node, held.max(least))).collect())
    }

    /// After a bad canary: the pauses stay until their deadlines, and nobody looks after them.
    fn leave_paused(mut self, signals: &mut Signals<Heard>) -> bool {
        self.want(Aim::Leave);
        let has_come = self.wait(signals, FOR_ANSWERS, |hold| {
            hold.is_gone() || hold.watcher.unleft(&hold.view.acks).is_empty()
        });
        let (count, held) = self.tally(|ack| ack.is_left);
        if count > 0 {
            let lasts = self.wanted.want.lasts.as_secs();
            say(&format!(
                "still paused at {}, {} held: that ends by itself, after {lasts}s at most. When the backend \
                 is mended, at each node: intermission disable --url URL",
                nodes(count),
                requests(held)
            ));
        }
        if !has_come {
            let nodes = self.watcher.unleft(&self.view.acks).join(", ");
            say(&format!("node {nodes} DID NOT SAY THAT IT STAYS PAUSED: it may have resumed"));
        } else if let Err(trouble) = self.keeper.end() {
            say(&trouble);
        }
        false
    }
}
