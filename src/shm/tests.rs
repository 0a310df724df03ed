//! The zone, tried in memory of the test's own.

mod directory;
mod random;
mod threads;
mod workers;
mod zone;

use parking_lot::RawMutex as Lock;

use super::*;
use crate::gate::policy::Policy;

const SLOT: usize = 3;

const NOW: Moment = Moment::from_micros(9_000_000);

const LEASE: Duration = Duration::from_secs(1);

const STARTED: u32 = 7;

impl Entry {
    /// A request that went through is over.
    fn leave(&self) {
        self.lane.sub(Count::InFlight);
    }
}

fn create(memory: &'static mut [u8], workers: usize) -> Result<Zone<Lock>, Unfit> {
    Zone::create(memory, workers, <Lock as RawMutex>::INIT)
}

/// The smallest size into which so many apps fit.
fn size_for(apps: u32) -> usize {
    let fits = |size: &usize| capacity::<Lock>(*size, 1).is_some_and(|fit| fit >= apps);
    (0..).step_by(8).find(fits).expect("there is one")
}

fn zone(apps: u32) -> Zone<Lock> {
    let size = size_for(apps);
    let zone = create(memory(size), 1).expect("it is large enough");
    assert_eq!(zone.capacity(), apps as usize);
    zone
}

/// An app that has just been used, with the lane of one worker.
fn entry(zone: &Zone<Lock>, name: &str) -> Entry {
    let mut locked = zone.lock();
    let app = locked.find_or_create(name.as_bytes(), 0).expect("there is room");
    locked.entry(app, SLOT, 0).expect("there is room")
}

/// As [`entry`], where the name is new and room has to be made for it.
fn crowd_in(zone: &Zone<Lock>, name: &str) -> Result<Entry, Full> {
    let mut locked = zone.lock();
    assert_eq!(locked.find(name.as_bytes()), None);
    let app = locked.find_or_create(name.as_bytes(), usize::MAX)?;
    locked.entry(app, SLOT, 0)
}

fn pause(zone: &Zone<Lock>, app: AppId) {
    zone.lock().update(app, |gate| gate.enable(NOW, Moment::NEVER, Policy::default()));
}

fn resume(zone: &Zone<Lock>, app: AppId) {
    let nobody = Survey::default();
    zone.lock().update(app, |gate| gate.disable(NOW, Policy::default(), 0, &nobody));
}

fn knows(zone: &Zone<Lock>, name: &str) -> bool {
    zone.lock().find(name.as_bytes()).is_some()
}

/// Processes with even numbers exist.
fn even(pid: u32) -> bool {
    pid % 2 == 0
}

fn process(pid: u32) -> Process {
    Process { pid, started: STARTED }
}

fn liveness(now: Moment) -> Liveness {
    Liveness { now, lease: LEASE, exists: even, started: |_| Some(STARTED) }
}
