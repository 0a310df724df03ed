//! What processes cost, as the kernel counts it.

use std::fs;
use std::ops::Sub;

use anyhow::{Context, Result};

/// CPU time and context switches so far, over all threads of some processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu_nanos: u64,
    pub switches: u64,
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            cpu_nanos: self.cpu_nanos - before.cpu_nanos,
            switches: self.switches - before.switches,
        }
    }
}

pub fn usage(pids: &[u32]) -> Result<Usage> {
    let mut sum = Usage::default();
    for pid in pids {
        let threads = fs::read_dir(format!("/proc/{pid}/task"));
        for thread in threads.with_context(|| format!("process {pid} has gone"))? {
            let thread = thread?.path();
            // A thread may have ended since.
            let Ok(times) = fs::read_to_string(thread.join("schedstat")) else { continue };
            let nanos = times.split(' ').next().context("an empty schedstat")?;
            sum.cpu_nanos += nanos.parse::<u64>()?;
            let Ok(status) = fs::read_to_string(thread.join("status")) else { continue };
            sum.switches += field(&status, "voluntary_ctxt_switches:")?;
            sum.switches += field(&status, "nonvoluntary_ctxt_switches:")?;
        }
    }
    Ok(sum)
}

/// Bytes that the processes take, what they share counted once. Without what they map of files, as
/// their share of a library changes whenever some other process loads it, too.
pub fn memory(pids: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
        let rollup = rollup.with_context(|| format!("process {pid} has gone"))?;
        sum += (field(&rollup, "Pss_Anon:")? + field(&rollup, "Pss_Shmem:")?) * 1024;
    }
    Ok(sum)
}

pub fn children(pid: u32) -> Result<Vec<u32>> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    list.split_whitespace().map(|child| Ok(child.parse()?)).collect()
}

fn field(text: &str, name: &str) -> Result<u64> {
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    let value = found.and_then(|value| value.split_whitespace().next());
    Ok(value.with_context(|| format!("no {name} where it should be"))?.parse()?)
}
