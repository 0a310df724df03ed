//! How much is measured.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Plan {
    /// Repetitions of what takes a second or two.
    pub rounds: usize,
    /// Repetitions where the noise is near what is looked for.
    pub fine_rounds: usize,
    /// How long one side of a throughput or latency round lasts.
    pub slice: Duration,
    /// How long holding is watched.
    pub window: Duration,
    pub held: Vec<u32>,
    pub workers: Vec<u32>,
    /// How many the other tools hold.
    pub held_by_others: u32,
    pub rounds_of_others: usize,
}

impl Plan {
    pub fn full() -> Self {
        Self {
            rounds: 5,
            fine_rounds: 20,
            slice: Duration::from_secs(2),
            window: Duration::from_secs(5),
            held: vec![1_000, 5_000, 15_000],
            workers: vec![1, 2, 4],
            held_by_others: 5_000,
            rounds_of_others: 3,
        }
    }

    pub fn quick() -> Self {
        Self {
            rounds: 3,
            fine_rounds: 6,
            slice: Duration::from_secs(1),
            window: Duration::from_secs(3),
            held: vec![5_000],
            workers: vec![1, 2],
            held_by_others: 1_000,
            rounds_of_others: 1,
        }
    }
}
