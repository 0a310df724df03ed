//! Small cases, and every way in which they can go: two workers, two requests and a call, with a choice of
//! who goes on wherever workers meet (`races`), and of when time passes.
//!
//! Where two steps come to the same in either order, only one order is gone: whoever could have gone on before the
//! other did so, and has been tried, sleeps until the other does something that matters to it (sleep sets: Godefroid,
//! Partial-Order Methods for the Verification of Concurrent Systems, 1996). All states are seen all the same.
//!
//! A coroutine cannot be copied, so each way is played from the start along its list of choices, depth
//! first. It ends where it comes to what was seen before: the same zone, the same requests, and workers that
//! know the same. In the middle of an event a worker is the same if all is that it has read since that
//! began. Nothing depends on totals, and of the ledger's steps only their order matters.

mod cases;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use super::crew::{Crew, Member, Trace};
use super::fiber::RACES;
use super::host::Event;
use super::plan::Plan;
use super::races::{Races, Touched, touched_in};
use super::run::Run;
use cases::{Case, cases, smallest};

/// How many states of a case are gone through at most; 0 for all of them.
const STATES: &str = "INTERMISSION_SIM_STATES";

/// Takes a few seconds.
const DEFAULT_STATES: u64 = 2000;

/// How many states the cases may have in which all ways are gone once more, with nobody asleep.
const COMPARED: usize = 1000;

/// Only the cases whose names contain this.
const CASE: &str = "INTERMISSION_SIM_CASE";

/// How often time passes in a way, to the next timer, while nobody has anything to do.
const NAPS: usize = 2;

/// One step of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// A worker goes on.
    Run(usize),
    /// Time passes, to the next timer.
    Nap,
}

/// A step, and how that comes out which is left to chance meanwhile.
#[derive(Clone, Debug)]
struct Choice {
    act: Act,
    coins: Vec<bool>,
}

impl From<Act> for Choice {
    fn from(act: Act) -> Self {
        Self { act, coins: Vec::new() }
    }
}

/// A step that was made, and what came of it.
#[derive(Clone, Debug)]
struct Made {
    choice: Choice,
    trace: Trace,
}

/// Steps that were made, and another one behind them.
#[derive(Clone, Debug, Default)]
struct Path {
    made: Vec<Made>,
    next: Option<Choice>,
    asleep: Asleep,
}

/// Workers that need not go on yet, and what their next steps have to do with.
type Asleep = Vec<(usize, Touched)>;

/// Workers, one bit for each.
type Workers = u8;

/// What was found of a case.
#[derive(Default)]
struct Found {
    /// Whether who has been tried may sleep.
    sleeps: bool,
    /// Which states, and who has been asleep there whenever one was come to.
    seen: HashMap<u64, Workers>,
    ends: HashSet<u64>,
    /// Ways that have not been gone yet.
    left: Vec<Path>,
}

impl Found {
    fn nothing(sleeps: bool) -> Self {
        Self { sleeps, left: vec![Path::default()], ..Self::default() }
    }

    fn is_whole(&self) -> bool {
        self.left.is_empty()
    }

    /// A way has come to a state; who can go on there that did not before.
    fn come_to(&mut self, state: u64, acts: Vec<Act>, asleep: &Asleep) -> Vec<Act> {
        let asleep = asleep.iter().fold(0, |all, (worker, _)| all | bit(*worker));
        let awake = match self.seen.entry(state) {
            Entry::Vacant(new) => {
                new.insert(asleep);
                !asleep
            }
            Entry::Occupied(mut known) => {
                let before = known.insert(known.get() & asleep);
                before & !asleep
            }
        };
        let is_awake = |act: &Act| match act {
            Act::Run(worker) => awake & bit(*worker) != 0,
            Act::Nap => awake != 0,
        };
        acts.into_iter().filter(is_awake).collect()
    }
}

/// What was found of the cases of one kind.
#[derive(Default)]
struct Sum {
    cases: usize,
    whole: usize,
    states: usize,
    took: Duration,
}

impl Sum {
    fn add(&mut self, found: &Found, took: Duration) {
        self.cases += 1;
        self.whole += usize::from(found.is_whole());
        self.states += found.seen.len();
        self.took += took;
    }
}

/// A way that is gone.
struct Way<'c> {
    case: &'c Case,
    run: Run,
    made: Vec<Made>,
    naps: usize,
    asleep: Asleep,
}

impl Case {
    /// Goes all ways, or so many that they have that many states. Begins again whenever it shows that workers
    /// meet where that was not known.
    fn explore(&self, races: Races, sleeps: bool, limit: usize) -> Found {
        RACES.set(Some(races));
        let mut found = Found::nothing(sleeps);
        while found.seen.len() < limit {
            let Some(path) = found.left.pop() else { break };
            self.follow(path, &mut found);
            if RACES.with_borrow_mut(|races| races.as_mut().is_some_and(Races::take_found)) {
                found = Found::nothing(sleeps);
            }
        }
        RACES.set(None);
        found
    }

    /// Goes a way to its end, or to what was seen before; notes which others lead off from it.
    fn follow(&self, path: Path, found: &mut Found) {
        let (run, asleep) = (self.begin(), path.asleep);
        let mut way = Way { case: self, run, made: Vec::new(), naps: 0, asleep };
        for made in path.made {
            way.repeat(made);
        }
        if let Some(choice) = path.next {
            way.go(choice, found);
        }
        loop {
            let (state, acts) = (way.fingerprint(), way.acts());
            if !found.seen.contains_key(&state) {
                way.run.check();
                if acts.is_empty() {
                    found.ends.insert(state);
                    anywhere(|| way.run.settle());
                }
            }
            let mut acts = found.come_to(state, acts, &way.asleep);
            let Some(first) = acts.pop() else { break };
            let (steps, asleep) = (way.made.len(), way.asleep.clone());
            let tried = way.go(Choice::from(first), found).filter(|_| found.sleeps);
            for other in acts {
                let made = way.made[..steps].to_vec();
                let asleep = asleep.iter().cloned().chain(tried.clone()).collect();
                found.left.push(Path { made, next: Some(Choice::from(other)), asleep });
            }
        }
        way.run.crew.disband();
    }

    /// All is as before the choices begin.
    fn begin(&self) -> Run {
        let mut run = Run::of(Plan { outages: self.outage, ..Plan::quiet(2) });
        anywhere(|| {
            run.come_to_rest();
            for (worker, event) in &self.before {
                run.send(*worker, event);
                run.come_to_rest();
            }
        });
        run.world.set_down(0, self.outage);
        for (worker, event) in &self.then {
            run.send(*worker, event);
        }
        run.crew.sees_all = true;
        run
    }
}

fn bit(worker: usize) -> Workers {
    1 << worker
}

/// Does something in which it does not matter where workers meet.
fn anywhere(action: impl FnOnce()) {
    let races = RACES.take();
    action();
    RACES.set(races);
}

impl Way<'_> {
    /// What can happen next.
    fn acts(&self) -> Vec<Act> {
        let crew = &self.run.crew;
        let acts: Vec<Act> = crew.ready().into_iter().map(Act::Run).collect();
        let sleeps = |(worker, _): &(usize, Touched)| acts.contains(&Act::Run(*worker));
        assert!(self.asleep.iter().all(sleeps), "who sleeps cannot go on");
        if acts.is_empty() && self.naps < NAPS && !crew.next_timer().is_never() {
            return vec![Act::Nap];
        }
        acts
    }

    /// Makes a choice, and notes the ways in which what was left to chance comes out otherwise. Who has gone
    /// on can sleep wherever another one does instead, unless chance had a part in it.
    fn go(&mut self, choice: Choice, found: &mut Found) -> Option<(usize, Touched)> {
        self.run.world.rng.decide(&choice.coins);
        let touched = touched_in(|| self.run.advance(choice.act));
        let coins = self.run.world.rng.take_asked();
        for at in choice.coins.len()..coins.len() {
            let other = Choice { coins: [&coins[..at], &[true]].concat(), ..choice };
            let (made, asleep) = (self.made.clone(), self.asleep.clone());
            found.left.push(Path { made, next: Some(other), asleep });
        }
        self.asleep.retain(|(_, sleeper)| !sleeper.meets(&touched));
        let first = match choice.act {
            Act::Run(worker) if coins.is_empty() => Some((worker, touched)),
            _ => None,
        };
        let trace = match choice.act {
            Act::Run(worker) => self.run.crew.members[worker].trace(),
            Act::Nap => Trace::default(),
        };
        self.add(Made { choice: Choice { coins, ..choice }, trace });
        first
    }

    /// Makes a step that was made before.
    fn repeat(&mut self, made: Made) {
        self.run.world.rng.decide(&made.choice.coins);
        match made.choice.act {
            Act::Run(worker) => anywhere(|| self.run.repeat(worker, &made.trace)),
            Act::Nap => self.run.advance(Act::Nap),
        }
        self.run.world.rng.take_asked();
        self.add(made);
    }

    fn add(&mut self, made: Made) {
        self.naps += usize::from(made.choice.act == Act::Nap);
        self.made.push(made);
    }

    /// The same number for what goes on in the same way.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.naps.hash(&mut hasher);
        let run = &self.run;
        run.world.fingerprint(&mut hasher);
        let hosts = run.crew.members.iter().map(|member| &member.worker.host);
        let (begun, surveyed): (Vec<u64>, Vec<u64>) =
            hosts.map(|host| (host.begun.get(), host.surveyed.get())).unzip();
        run.world.ledger.borrow().fingerprint(&begun, &surveyed, &mut hasher);
        for member in &run.crew.members {
            member.fingerprint().hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// Tells which way it was that fails.
impl Drop for Way<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let acts: Vec<Act> = self.made.iter().map(|made| made.choice.act).collect();
            eprintln!("the case that fails: {}: {acts:?}", self.case.name);
        }
    }
}

impl Run {
    fn send(&self, worker: usize, event: &Event) {
        Crew::send(&self.crew.members[worker].worker, event.clone());
    }

    fn advance(&mut self, act: Act) {
        self.world.ledger.borrow_mut().step += 1;
        match act {
            Act::Run(worker) => self.crew.run(worker),
            Act::Nap => self.crew.pass_time(self.crew.next_timer().since(self.world.now())),
        }
    }

    fn repeat(&mut self, worker: usize, trace: &Trace) {
        self.world.ledger.borrow_mut().step += 1;
        self.crew.repeat(worker, trace);
    }

    /// One after the other does all that it has to do.
    fn come_to_rest(&mut self) {
        while let Some(worker) = self.crew.ready().first() {
            self.advance(Act::Run(*worker));
        }
    }
}

/// How many states there may be.
fn limit() -> usize {
    match super::number(STATES).unwrap_or(DEFAULT_STATES) {
        0 => usize::MAX,
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    }
}

#[test]
fn keeps_its_promises_in_whatever_way_small_cases_go() {
    let only = std::env::var(CASE).unwrap_or_default();
    let mut sums = BTreeMap::<&str, Sum>::new();
    for case in cases().iter().filter(|case| case.name.contains(&only)) {
        let begun = Instant::now();
        let found = case.explore(Races::default(), true, limit());
        let took = begun.elapsed();
        let (states, ends) = (found.seen.len(), found.ends.len());
        let whole = if found.is_whole() { "all" } else { "the first" };
        println!("{}: {whole} {states} states, {ends} ends, {took:.1?}", case.name);
        assert!(ends > 0 || !found.is_whole(), "{}: no way leads to an end", case.name);
        sums.entry(case.kind).or_default().add(&found, took);
    }
    for (kind, Sum { cases, whole, states, took }) in &sums {
        println!("{kind}: {cases} cases, {whole} of them whole, {states} states, {took:.1?}");
    }
}

/// Where workers do not meet there is no need to stop.
#[test]
fn goes_to_the_same_ends_as_if_workers_stopped_at_each_access() {
    let explore = |races| smallest().explore(races, true, usize::MAX);
    let (few, all) = (explore(Races::default()), explore(Races::everywhere()));
    println!("{} states instead of {}", few.seen.len(), all.seen.len());
    assert!(few.seen.len() < all.seen.len() / 2);
    assert_eq!(few.ends, all.ends);
}

/// Who sleeps would have come to no other state.
#[test]
fn sees_all_states_though_workers_sleep() {
    let mut compared = 0;
    for case in cases().iter().chain([&smallest()]) {
        let all = case.explore(Races::default(), false, COMPARED);
        if all.is_whole() {
            let found = case.explore(Races::default(), true, usize::MAX);
            let states = |found: &Found| found.seen.keys().copied().collect::<BTreeSet<_>>();
            assert!(states(&found) == states(&all), "{}", case.name);
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared} were compared");
}
