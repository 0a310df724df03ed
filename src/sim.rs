//! A simulation of several workers at one gate: requests come and go, workers are killed, stopped
//! and replaced, operators change their minds, all of it by chance and in any order; the promises
//! are checked after each step.
//!
//! The zone, the gate and the workers are the real ones: `worker` runs here as it does in nginx. Before
//! it touches what others see, another worker may run instead, and it may die there (`fiber`). What
//! truly happens is written down in a `ledger` that none of them sees.
//!
//! A run is given by its seed. `INTERMISSION_SIM_SEED=n` plays one run and tells what happens,
//! `INTERMISSION_SIM_RUNS=n` plays that many. Small cases are gone through in all ways (`small`).

mod backend;
mod calls;
mod checks;
mod crew;
mod fiber;
mod host;
mod ledger;
mod life;
mod nginxes;
mod plan;
mod races;
mod request;
mod rng;
mod run;
mod small;
mod world;

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use run::Run;

const SEED: &str = "INTERMISSION_SIM_SEED";
const RUNS: &str = "INTERMISSION_SIM_RUNS";

/// Takes a few seconds.
const DEFAULT_RUNS: u64 = 300;

/// Whether a run has failed: one is enough.
static FAILED: AtomicBool = AtomicBool::new(false);

/// Tells how to repeat a run that fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            FAILED.store(true, Ordering::Relaxed);
            eprintln!("to repeat it: {SEED}={} cargo test sim -- --nocapture", self.0);
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn play(seed: u64, told: bool) -> u64 {
    let _seed = Seed(seed);
    Run::new(seed, told).play()
}

/// Plays the runs whose seeds are `rough` (faults happen in them) or not.
fn play_all(rough: u64) {
    if let Some(seed) = number(SEED) {
        if seed % 2 == rough {
            play(seed, true);
        }
        return;
    }
    let runs = number(RUNS).unwrap_or(DEFAULT_RUNS);
    for seed in (0..runs).filter(|seed| seed % 2 == rough) {
        if FAILED.load(Ordering::Relaxed) {
            return;
        }
        play(seed, false);
    }
}

#[test]
fn keeps_its_promises_when_nothing_breaks() {
    play_all(0);
}

#[test]
fn keeps_its_promises_when_workers_are_killed_and_stopped() {
    play_all(1);
}

#[test]
fn repeats_a_run_exactly() {
    for seed in 0..2 {
        assert_eq!(play(seed, false), play(seed, false));
    }
}
