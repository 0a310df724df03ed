//! What a holder makes of what the nodes say, and when: no input, no output.
//!
//! A holder cannot see a node's deadline, nor compare clocks with it. So it counts its beats, and knows when it sent
//! which. A node that has acknowledged a beat has renewed its pause after that beat was sent, and so stays paused until
//! `sent + for` at least, by the holder's own clock. Of whom nothing is heard for half of that, it is told that it is
//! lost, while it is still paused.

use std::collections::BTreeMap;
use std::time::Duration;

use super::decide::{Ack, Canary, Moment};

pub struct Watcher {
    token: i64,
    lasts: Duration,
    /// When each beat was sent.
    sent: Vec<Moment>,
    nodes: BTreeMap<String, Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It has not said yet that it is paused.
    Joining {
        since: Moment,
    },
    Paused {
        pause: u64,
    },
    Lost {
        pause: u64,
    },
    /// It is not paused, or not known to be.
    Gone,
    /// It lets some go first, as a canary.
    Trying,
}

/// Whether all nodes have done what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ready,
    Waiting(Vec<String>),
    Failed { node: String, why: String },
    Nobody,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Joining(String),
    Joined(String),
    /// It is still paused for so long, at least.
    Lost {
        node: String,
        why: String,
        left: Duration,
    },
    Back(String),
    Open {
        node: String,
        why: String,
    },
}

impl News {
    /// Whether not all that count are paused, or will stay so.
    pub fn is_bad(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Open { .. })
    }
}

impl Watcher {
    pub fn new(token: i64, lasts: Duration, first_beat: Moment) -> Self {
        Self { token, lasts, sent: vec![first_beat], nodes: BTreeMap::new() }
    }

    pub fn beat(&self) -> u64 {
        self.sent.len() as u64 - 1
    }

    /// The next beat, which is about to be sent.
    pub fn next_beat(&mut self, now: Moment) -> u64 {
        self.sent.push(now);
        self.beat()
    }

    pub fn is_beat_due(&self, now: Moment) -> bool {
        self.sent.last().is_none_or(|sent| now.saturating_sub(*sent) >= self.lasts / 5)
    }

    /// For how long the node is paused at least.
    fn left(&self, ack: &Ack, now: Moment) -> Duration {
        let sent = usize::try_from(ack.beat).ok().and_then(|beat| self.sent.get(beat));
        sent.map_or(Duration::ZERO, |sent| (*sent + self.lasts).saturating_sub(now))
    }

    fn is_heard(&self, ack: &Ack, now: Moment) -> bool {
        self.left(ack, now) > self.lasts / 2
    }

    fn own<'a>(&self, node: &str, acks: &'a [Ack]) -> Option<&'a Ack> {
        acks.iter().find(|ack| ack.node == node && ack.token == self.token)
    }

    /// Whether all nodes have done what is wanted. If so, they are looked after from now on.
    pub fn judge(&mut self, nodes: &[String], acks: &[Ack], now: Moment) -> Verdict {
        let own = || acks.iter().filter(|ack| ack.token == self.token);
        if let Some((ack, why)) = own().find_map(|ack| Some((ack, ack.why.clone()?))) {
            return Verdict::Failed { node: ack.node.clone(), why };
        }
        let is_paused = |ack: &Ack| ack.is_quiet && self.is_heard(ack, now);
        let is_missing = |node: &&String| !self.own(node, acks).is_some_and(is_paused);
        // A node that has gone meanwhile may be paused: it counts as long as its acknowledgement is there.
        let gone = own().map(|ack| &ack.node).filter(|node| !nodes.contains(node));
        let missing: Vec<_> = nodes.iter().chain(gone).filter(is_missing).cloned().collect();
        if nodes.is_empty() {
            return Verdict::Nobody;
        } else if !missing.is_empty() {
            return Verdict::Waiting(missing);
        }
        self.nodes =
            own().map(|ack| (ack.node.clone(), Seen::Paused { pause: ack.pause })).collect();
        Verdict::Ready
    }

    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Looks at all nodes, and at those that have joined: what has changed.
    pub fn look(
        &mut self,
        nodes: &[String],
        acks: &[Ack],
        patience: Duration,
        now: Moment,
    ) -> Vec<News> {
        let mut news = Vec::new();
        for node in
            nodes.iter().filter(|node| !self.nodes.contains_key(*node)).cloned().collect::<Vec<_>>()
        {
            news.push(News::Joining(node.clone()));
            self.nodes.insert(node, Seen::Joining { since: now });
        }
        let known: Vec<_> = self.nodes.iter().map(|(node, seen)| (node.clone(), *seen)).collect();
        for (node, seen) in known {
            let ack = self.own(&node, acks);
            let is_there = nodes.contains(&node);
            if let Some((next, new)) = self.see(&node, seen, ack, (is_there, patience, now)) {
                self.nodes.insert(node, next);
                news.push(new);
            }
        }
        news
    }

    fn see(
        &self,
        node: &str,
        seen: Seen,
        ack: Option<&Ack>,
        (is_there, patience, now): (bool, Duration, Moment),
    ) -> Option<(Seen, News)> {
        let name = node.to_owned();
        let open =
            |why: &str| Some((Seen::Gone, News::Open { node: name.clone(), why: why.to_owned() }));
        if !matches!(seen, Seen::Gone | Seen::Trying) {
            if let Some(why) = ack.and_then(|ack| ack.why.as_deref()) {
                return open(why);
            }
        }
        let left = ack.map_or(Duration::ZERO, |ack| self.left(ack, now));
        let pause_now = ack.map_or(0, |ack| ack.pause);
        let is_heard = ack.is_some_and(|ack| self.is_heard(ack, now));
        match seen {
            Seen::Paused { pause } if !is_heard || !is_there => {
                let why = if is_there {
                    "it does not answer"
                } else {
                    "its agent has ended, or does not reach the store"
                };
                let why = why.to_owned();
                Some((Seen::Lost { pause }, News::Lost { node: name, why, left }))
            }
            Seen::Lost { pause } if is_heard && is_there && pause == pause_now => {
                Some((Seen::Paused { pause }, News::Back(name)))
            }
            Seen::Lost { .. } if left.is_zero() => {
                open("its deadline has come, as far as is known")
            }
            Seen::Joining { .. } if is_heard && ack.is_some_and(|ack| ack.is_quiet) => {
                Some((Seen::Paused { pause: pause_now }, News::Joined(name)))
            }
            Seen::Joining { since } if now.saturating_sub(since) > patience => {
                open("it has joined, and was not paused in time")
            }
            _ => None,
        }
    }

    /// The nodes that are to say that they have resumed, and do not yet.
    pub fn unresumed(&self, acks: &[Ack]) -> Vec<String> {
        self.without(acks, |ack| ack.is_open || ack.why.is_some())
    }

    /// The nodes that are to say that they stay paused, and do not yet.
    pub fn unleft(&self, acks: &[Ack]) -> Vec<String> {
        self.without(acks, |ack| ack.is_left || ack.is_open || ack.why.is_some())
    }

    /// The nodes that are to say what they hold by now, and do not yet.
    pub fn uncounted(&self, acks: &[Ack]) -> Vec<String> {
        self.without(acks, |ack| ack.beat >= self.beat() || ack.is_open || ack.why.is_some())
    }

    /// The nodes that are or may be paused, and have not said this.
    fn without(&self, acks: &[Ack], has_said: impl Fn(&Ack) -> bool) -> Vec<String> {
        let counts = |seen: &Seen| matches!(seen, Seen::Paused { .. } | Seen::Lost { .. });
        let has_said = |node: &str| self.own(node, acks).is_some_and(&has_said);
        let left = self.nodes.iter().filter(|(node, seen)| counts(seen) && !has_said(node));
        left.map(|(node, _)| node.clone()).collect()
    }

    /// What each node holds that is known to be paused, as far as it has said so.
    pub fn held(&self, acks: &[Ack]) -> BTreeMap<String, u64> {
        let is_paused = |ack: &&Ack| ack.token == self.token && !ack.is_open && ack.why.is_none();
        let paused = acks.iter().filter(is_paused).filter(|ack| !self.is_trying(&ack.node));
        paused.map(|ack| (ack.node.clone(), ack.held)).collect()
    }

    /// Who is to try a canary: of those that can be asked the one that holds the most, as it has the most to try, and
    /// its verdict comes first.
    pub fn fittest(&self, acks: &[Ack]) -> Option<String> {
        let is_there = |node: &str| matches!(self.nodes.get(node), Some(Seen::Paused { .. }));
        let held = self.held(acks).into_iter().filter(|(node, _)| is_there(node));
        held.rev().max_by_key(|(_, held)| *held).map(|(node, _)| node)
    }

    /// From now on that node is not looked after: it is not paused like the others.
    pub fn begin_trial(&mut self, node: &str) {
        self.nodes.insert(node.to_owned(), Seen::Trying);
    }

    /// It was not good: if that has brought the pause back, the node is paused like the others.
    pub fn end_trial(&mut self, node: &str, acks: &[Ack]) {
        let is_back = |ack: &&Ack| matches!(ack.canary, Canary::Bad(_)) && ack.pause > 0;
        let back = self.own(node, acks).filter(is_back);
        let seen = back.map_or(Seen::Gone, |ack| Seen::Paused { pause: ack.pause });
        self.nodes.insert(node.to_owned(), seen);
    }

    fn is_trying(&self, node: &str) -> bool {
        self.nodes.get(node) == Some(&Seen::Trying)
    }

    /// What came of that, if it is known by now.
    pub fn verdict(&self, node: &str, nodes: &[String], acks: &[Ack]) -> Option<Canary> {
        let bad = |why: &str| Some(Canary::Bad(why.to_owned()));
        let ack = self.own(node, acks);
        match ack.map(|ack| (&ack.canary, &ack.why)) {
            Some((canary @ (Canary::Good | Canary::Bad(_)), _)) => Some(canary.clone()),
            Some((_, Some(why))) => bad(why),
            _ if !nodes.iter().any(|name| name == node) => bad(
                "its agent has ended, or does not reach the store, so nobody knows what came of it",
            ),
            _ => None,
        }
    }

    /// Whether it has not even said that it has begun.
    pub fn is_unbegun(&self, node: &str, acks: &[Ack]) -> bool {
        self.own(node, acks).is_none_or(|ack| ack.canary == Canary::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = seconds(20);

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn ack(node: &str, token: i64, beat: u64) -> Ack {
        Ack { node: node.to_owned(), token, beat, pause: 1, is_quiet: true, ..Ack::default() }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn watcher() -> Watcher {
        Watcher::new(3, seconds(30), seconds(0))
    }

    fn ready() -> Watcher {
        let mut watcher = watcher();
        let acks = [ack("a", 3, 0), ack("b", 3, 0)];
        assert_eq!(watcher.judge(&names(&["a", "b"]), &acks, seconds(1)), Verdict::Ready);
        watcher
    }

    #[test]
    fn a_holder_waits_for_all_and_believes_nobody_else() {
        let nodes = names(&["a", "b"]);
        let waiting = Verdict::Waiting(names(&["b"]));
        let loud = Ack { is_quiet: false, ..ack("b", 3, 0) };
        let failed = Ack { why: Some("no".to_owned()), ..ack("b", 3, 0) };
        let judged = |nodes: &[String], acks: &[Ack], now| watcher().judge(nodes, acks, now);
        assert_eq!(judged(&[], &[], seconds(1)), Verdict::Nobody);
        for other in [vec![], vec![ack("b", 2, 0)], vec![loud], vec![ack("b", 3, 1)]] {
            let acks: Vec<_> = [ack("a", 3, 0)].into_iter().chain(other).collect();
            assert_eq!(judged(&nodes, &acks, seconds(1)), waiting, "{acks:?}");
        }
        let all = [ack("a", 3, 0), ack("b", 3, 0)];
        assert_eq!(judged(&nodes, &all, seconds(1)), Verdict::Ready);
        // What was said long ago does not hold for long enough.
        assert_eq!(judged(&nodes, &all, seconds(15)), Verdict::Waiting(nodes.clone()));
        let failure = Verdict::Failed { node: "b".to_owned(), why: "no".to_owned() };
        assert_eq!(judged(&nodes, &[ack("a", 3, 0), failed], seconds(1)), failure);
    }

    #[test]
    fn a_node_is_lost_while_it_is_still_paused() {
        let (mut watcher, nodes) = (ready(), names(&["a", "b"]));
        assert_eq!(watcher.next_beat(seconds(6)), 1);
        let acks = [ack("a", 3, 1), ack("b", 3, 0)];
        assert_eq!(watcher.look(&nodes, &acks, PATIENCE, seconds(14)), []);
        let lost = |left| News::Lost {
            node: "b".to_owned(),
            why: "it does not answer".to_owned(),
            left: seconds(left),
        };
        assert_eq!(watcher.look(&nodes, &acks, PATIENCE, seconds(15)), [lost(15)]);
        assert_eq!(watcher.look(&nodes, &acks, PATIENCE, seconds(16)), []);
        let back = [ack("a", 3, 1), ack("b", 3, 1)];
        assert_eq!(
            watcher.look(&nodes, &back, PATIENCE, seconds(17)),
            [News::Back("b".to_owned())]
        );
        // Without its agent.
        let alone = names(&["a"]);
        let news = watcher.look(&alone, &back, PATIENCE, seconds(18));
        assert!(matches!(&news[..], [News::Lost { left, .. }] if *left == seconds(18)), "{news:?}");
        // Another pause than before is none that has lasted.
        let other = [ack("a", 3, 1), Ack { pause: 2, ..ack("b", 3, 1) }];
        assert_eq!(watcher.look(&nodes, &other, PATIENCE, seconds(19)), []);
        let news = watcher.look(&nodes, &acks, PATIENCE, seconds(30));
        assert!(matches!(&news[..], [News::Lost { .. }, News::Open { .. }]), "{news:?}");
        assert_eq!(watcher.unresumed(&[ack("b", 3, 0)]), names(&["a"]));
    }

    #[test]
    fn a_node_that_joins_is_told_of_until_it_is_paused() {
        let (mut watcher, nodes) = (ready(), names(&["a", "b", "c"]));
        let mut acks = vec![ack("a", 3, 0), ack("b", 3, 0)];
        let joining = [News::Joining("c".to_owned())];
        assert_eq!(watcher.look(&nodes, &acks, PATIENCE, seconds(2)), joining);
        assert_eq!(watcher.look(&nodes, &acks, PATIENCE, seconds(3)), []);
        acks.push(ack("c", 3, 0));
        assert_eq!(
            watcher.look(&nodes, &acks, PATIENCE, seconds(4)),
            [News::Joined("c".to_owned())]
        );
        acks.pop();
        acks.push(Ack { why: Some("gone".to_owned()), ..ack("c", 3, 0) });
        let open = [News::Open { node: "c".to_owned(), why: "gone".to_owned() }];
        assert_eq!(watcher.look(&nodes, &acks, PATIENCE, seconds(5)), open);
        assert_eq!(watcher.look(&nodes, &acks, PATIENCE, seconds(6)), []);
        assert_eq!(watcher.unresumed(&acks), names(&["a", "b"]));
    }
}
