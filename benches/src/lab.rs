//! Where the measurements are made: what is measured, and what all rounds have in common.

use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use crate::cores::Cores;
use crate::helper::{Clients, Herd, Origin};
use crate::probe::Probe;
use crate::process::usage;
use crate::system::nginx::Connections;
use crate::system::{self, Kind, System};

/// The descriptors that a process can count on here, and with them a worker's connections. More than
/// that is not used where there is more, so that figures can be compared.
pub const FILES: u32 = 20_000;

/// How many clients a process has.
const HERD: u32 = 15_000;

pub struct Lab {
    pub nginx: PathBuf,
    pub module: Option<PathBuf>,
    pub command: Option<PathBuf>,
    /// Where the packages of the other tools are unpacked.
    pub tools: Option<PathBuf>,
    pub cores: Cores,
}

/// An origin and what stands in front of it, made anew for each round.
pub struct Site {
    // In this order, so that it ends before what it talks to.
    pub system: Box<dyn System>,
    pub origin: Origin,
    load: Option<String>,
}

impl Lab {
    pub fn site(&self, kind: Kind, workers: u32) -> Result<Site> {
        self.site_with(kind, workers, Connections::default())
    }

    pub fn site_with(&self, kind: Kind, workers: u32, connections: Connections) -> Result<Site> {
        let load = self.cores.of_load(workers);
        let origin = Origin::start(load.as_deref())?;
        let system = system::start(self, kind, workers, connections, origin.address)?;
        Ok(Site { system, origin, load })
    }

    pub fn nginx_version(&self) -> Result<String> {
        let said = Command::new(&self.nginx).arg("-v").output()?.stderr;
        Ok(String::from_utf8_lossy(&said).trim().trim_start_matches("nginx version: ").to_owned())
    }
}

impl Site {
    pub fn pause(&mut self) -> Result<()> {
        self.system.pause(&mut self.origin)
    }

    pub fn resume(&mut self) -> Result<()> {
        self.system.resume(&mut self.origin)
    }

    /// Clients whose requests are numbered from `first` on.
    pub fn clients(&self, first: u32, count: u32, body: Option<usize>) -> Result<Clients> {
        let targets = self.system.addresses();
        let herd = Herd { targets: &targets, first, count, path: "/r/", body };
        Clients::connect(self.load.as_deref(), &herd)
    }

    /// Any number of clients without bodies, over as many processes as it takes.
    pub fn crowd(&self, count: u32) -> Result<Vec<Clients>> {
        let herd = |first| self.clients(first, HERD.min(count - first), None);
        (0..count).step_by(HERD as usize).map(herd).collect()
    }

    /// Another client, with a connection to each worker.
    pub fn probe(&self) -> Result<Probe> {
        Probe::connect(self.system.probed(), self.system.workers().len())
    }

    /// Waits until the workers have nothing left to do, or go on like this.
    pub fn settle(&self) -> Result<()> {
        const STEP: Duration = Duration::from_millis(100);
        let mut before = usage(&self.system.workers())?;
        for _ in 0..10 {
            sleep(STEP);
            let after = usage(&self.system.workers())?;
            if (after - before).cpu_nanos < 1_000_000 {
                break;
            }
            before = after;
        }
        Ok(())
    }
}
