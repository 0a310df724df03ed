//! Who runs on which core. Where there are more cores than workers, each worker has one of its own
//! and the load shares the rest; elsewhere the scheduler decides.

use std::thread::available_parallelism;

use anyhow::Result;

#[derive(Clone, Copy)]
pub struct Cores {
    pub count: u32,
}

impl Cores {
    pub fn of_this_machine() -> Result<Self> {
        Ok(Self { count: u32::try_from(available_parallelism()?.get())? })
    }

    /// The list for `taskset` on which the load runs.
    pub fn of_load(self, workers: u32) -> Option<String> {
        (workers < self.count).then(|| format!("{workers}-{}", self.count - 1))
    }

    /// The list for `taskset` on which a program with that many threads runs.
    pub fn of_workers(self, workers: u32) -> Option<String> {
        (workers < self.count).then(|| format!("0-{}", workers - 1))
    }

    /// The same for `worker_cpu_affinity`: a mask for each worker.
    pub fn masks(self, workers: u32) -> Option<String> {
        let mask = |worker: u32| format!(" {:b}", 1_u64 << worker);
        (workers < self.count).then(|| (0..workers).map(mask).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Cores;

    #[test]
    fn workers_and_load_share_no_core() {
        let cores = Cores { count: 4 };
        assert_eq!(cores.masks(2).as_deref(), Some(" 1 10"));
        assert_eq!(cores.of_workers(2).as_deref(), Some("0-1"));
        assert_eq!(cores.of_load(2).as_deref(), Some("2-3"));
        assert_eq!(cores.of_load(4), None);
    }
}
