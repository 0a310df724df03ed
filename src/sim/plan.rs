//! What may happen in one run: each has some kinds of moves and lacks others, so that rare ones
//! are not drowned by the frequent.

use std::time::Duration;

use super::rng::Rng;
use crate::gate::policy::Policy;

#[derive(Clone, Debug)]
pub struct Plan {
    pub moves: u64,
    pub workers: usize,
    /// The first process slot that is used: others than the lowest need more lanes.
    pub first_slot: usize,
    /// Slots from one worker to the next: with 16 each needs lanes of its own, and they run out.
    pub slots_apart: usize,
    /// `intermission_interval` where the requests come in, in milliseconds.
    pub intervals: [u64; 2],
    /// Apps that are paused and resumed.
    pub apps: usize,
    /// Requests come with names of apps that nobody ever paused.
    pub made_up_names: bool,
    /// How many requests come at once at most.
    pub crowd: u64,
    pub max_held: u32,
    pub timeouts: bool,
    pub uploads: bool,
    pub bypasses: bool,
    pub rates: bool,
    pub concurrency: bool,
    pub canaries: bool,
    pub deadlines: bool,
    pub drains: bool,
    pub maintenance: bool,
    pub reloads: bool,
    /// Now and then all requests come to their end, so that apps are idle and give up their lanes.
    pub lulls: bool,
    /// In the end all workers are told to quit.
    pub quits: bool,
    /// In the end the backend answers nothing any more.
    pub hangs: bool,
    pub crashes: bool,
    pub stops: bool,
    pub lost_rings: bool,
    /// Requests go on to other apps' gates.
    pub redirects: bool,
    /// Backends go down and come back.
    pub outages: bool,
    /// The longest that a request waits for its backend, and how often that is probed.
    pub patience: Duration,
    pub probes: Duration,
    /// The first of those who are held is the probe.
    pub first_probes: bool,
    /// What broke off on its way to a backend is asked again, once.
    pub replays: bool,
    /// Another nginx comes and goes.
    pub upgrades: bool,
    /// Now and then there are no connections to hold one more request.
    pub short: bool,
    /// For how many requests there are connections that are let go.
    pub connections: usize,
    /// At how many accesses to what others see, at most, a worker stops; 0: where it meets others.
    pub grain: u64,
}

impl Plan {
    /// Faults happen in a `rough` run.
    pub fn new(rng: &Rng, rough: bool) -> Self {
        // Apps take each other's lanes all the time.
        let lanes_move = !rough && rng.chance(20);
        let hangs = rng.chance(25);
        Self {
            moves: 200 + rng.below(600),
            workers: if lanes_move { 4 } else { 1 + rng.index(4) },
            first_slot: rng.one_of(&[0, 0, 0, 13]),
            // Not where workers die: see `Locked::spare_chunk`.
            slots_apart: match rng.one_of(&[1, 1, 1, 16]) {
                _ if lanes_move => 16,
                _ if rough => 1,
                apart => apart,
            },
            intervals: [250, rng.one_of(&[20, 250, 250, 2000])],
            apps: 1 + rng.index(2),
            made_up_names: lanes_move || rng.chance(30),
            crowd: rng.one_of(&[4, 4, 10, 90]),
            max_held: rng.one_of(&[0, 0, 0, 1, 7]),
            timeouts: rng.chance(40),
            uploads: lanes_move || rng.chance(30),
            bypasses: rng.chance(30),
            rates: rng.chance(40),
            concurrency: rng.chance(40),
            canaries: rng.chance(40),
            deadlines: rng.chance(40),
            drains: rng.chance(40),
            maintenance: rng.chance(30),
            reloads: rng.chance(25),
            lulls: lanes_move,
            quits: rng.chance(15),
            hangs,
            crashes: rough && rng.chance(60),
            stops: rough && rng.chance(60),
            lost_rings: rough && rng.chance(40),
            redirects: rng.chance(30),
            outages: rng.chance(30),
            patience: Duration::from_millis(rng.one_of(&[100, 1500, 30_000])),
            probes: Duration::from_millis(rng.one_of(&[20, 250, 2000])),
            first_probes: rng.chance(25),
            replays: rng.chance(30),
            upgrades: rng.chance(20),
            short: rng.chance(15),
            // Not where nobody ever gives one back.
            connections: if hangs { 1000 } else { rng.one_of(&[1000, 1000, 3]) },
            grain: rng.one_of(&[2, 10, 60]),
        }
    }

    /// Nothing happens by itself, and a worker stops where it meets others.
    pub fn quiet(workers: usize) -> Self {
        Self {
            moves: 0,
            workers,
            first_slot: 0,
            slots_apart: 1,
            intervals: [250, 250],
            apps: 1,
            made_up_names: false,
            crowd: 1,
            max_held: 0,
            timeouts: false,
            uploads: false,
            bypasses: false,
            rates: false,
            concurrency: false,
            canaries: false,
            deadlines: false,
            drains: false,
            maintenance: false,
            reloads: false,
            lulls: false,
            quits: false,
            hangs: false,
            crashes: false,
            stops: false,
            lost_rings: false,
            redirects: false,
            outages: false,
            patience: Duration::from_secs(30),
            probes: Duration::from_millis(250),
            first_probes: false,
            replays: false,
            upgrades: false,
            short: false,
            connections: 1000,
            grain: 0,
        }
    }

    /// How many times as long a run is as one in which a worker does all that it does for an event in
    /// some ten goes.
    pub fn pace(&self) -> u64 {
        60_u64.div_ceil(self.grain.max(1)).min(12)
    }

    pub fn longest_interval(&self) -> Duration {
        Duration::from_millis(self.intervals[0].max(self.intervals[1]))
    }

    pub fn policy(&self, rng: &Rng) -> Policy {
        let rate = if self.rates { rng.one_of(&[0, 50, 700, 3000, 100_000]) } else { 0 };
        let least = Policy::least_burst(rate);
        Policy {
            rate,
            burst: if rate > 0 { rng.one_of(&[0, least, least + 3, 1000]) } else { 0 },
            concurrency: if self.concurrency { rng.one_of(&[0, 1, 2, 5]) } else { 0 },
            timeout_ms: rng.one_of(&[30, 400, 5000]),
        }
    }
}
