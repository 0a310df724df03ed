//! How much is measured.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Plan {
    /// Repetitions of what takes a second or two.
    pub rounds: usize,
    /// Repetitions of what is the same each time, nearly.
    pub steady_rounds: usize,
    /// With how many workers that is done at most.
    pub profiled_workers: u32,
    /// Repetitions where the noise is near what is looked for.
    pub fine_rounds: usize,
    /// How long one side of a throughput or latency round lasts.
    pub slice: Duration,
    /// How long holding is watched.
    pub window: Duration,
    pub held: Vec<u32>,
    /// More than one origin could take at once.
    pub held_only: Vec<u32>,
    pub workers: Vec<u32>,
    /// With how many workers another client is watched while many are released.
    pub watched_workers: Vec<u32>,
    /// How many the other tools hold.
    pub held_by_others: u32,
    /// How many kinds of clients leave them.
    pub cases_of_others: usize,
    /// How many nginxes there are in a fleet, few and many.
    pub nodes: [usize; 2],
    /// Repetitions of what takes several seconds.
    pub long_rounds: usize,
}

impl Plan {
    pub fn full() -> Self {
        Self {
            rounds: 5,
            steady_rounds: 5,
            profiled_workers: 2,
            fine_rounds: 20,
            slice: Duration::from_secs(2),
            window: Duration::from_secs(5),
            held: vec![1_000, 5_000, 15_000],
            held_only: vec![50_000],
            workers: vec![1, 2, 4],
            watched_workers: vec![1, 2],
            held_by_others: 5_000,
            cases_of_others: 3,
            nodes: [10, 100],
            long_rounds: 3,
        }
    }

    pub fn quick() -> Self {
        Self {
            rounds: 3,
            steady_rounds: 1,
            profiled_workers: 1,
            fine_rounds: 5,
            slice: Duration::from_secs(1),
            window: Duration::from_secs(2),
            held: vec![5_000],
            held_only: vec![],
            workers: vec![1, 2],
            watched_workers: vec![1],
            held_by_others: 500,
            cases_of_others: 1,
            nodes: [2, 10],
            long_rounds: 1,
        }
    }
}
