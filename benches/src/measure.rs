//! The measurements, each in rounds that stand on their own.

pub mod abort;
pub mod fleet;
pub mod hold;
pub mod idle;
pub mod others;
pub mod outage;
pub mod pace;
pub mod release;

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::helper::Clients;
use crate::lab::Site;

/// How long a queue may take to build up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends the requests so that their numbers are the order in which they reach the gate: each waits
/// until the one before it is held, or, where that cannot be known, for a moment.
fn queue_up(site: &mut Site, clients: &mut Clients, count: u32) -> Result<()> {
    if site.system.held()?.is_none() {
        clients.send_spaced(200)?;
        until_held(site, count)?;
    } else {
        for index in 0..count {
            clients.send_one(index)?;
            until_held(site, index + 1)?;
        }
    }
    site.settle()
}

/// Until it holds as many as that, or, where that cannot be known, for a moment.
fn until_held(site: &mut Site, count: u32) -> Result<()> {
    if site.system.held()?.is_none() {
        sleep(Duration::from_secs(1));
        return Ok(());
    }
    let start = Instant::now();
    let mut step = Duration::ZERO;
    while let Some(held) = site.system.held()?.filter(|held| *held != count) {
        ensure!(start.elapsed() < PATIENCE, "{held} of {count} requests are held");
        sleep(step);
        step = (step + Duration::from_micros(20)).min(Duration::from_millis(10));
    }
    Ok(())
}

/// Says what is being done, as some of it takes a while.
fn tell(what: &str) {
    eprintln!("    {what}");
}
