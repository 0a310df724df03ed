//! How two nginxes agree about their apps, as there are two during a binary upgrade: each writes down in the state
//! file what has changed, and takes up what is newer there.
//!
//! Who changes the state of an app by a call first takes the file's lock and takes up what is newer there. Then it
//! makes the change, and writes the file before it gives the lock back. Where somebody else has the lock, or the
//! file cannot be written, the change is made all the same: it is newer than what the file says, until that is told.
//!
//! This part does no input or output, so that the simulation can run it.

mod apps;
mod desk;
#[cfg(test)]
mod tests;

use std::io;

use parking_lot::lock_api::RawMutex;

pub use apps::restore;
use apps::{Decision, Told};
pub use desk::{Desk, Office, Report, Writing, catch_up, change, end, follow, keep_up};

use crate::gate::Change;
use crate::gate::lane::Survey;
use crate::gate::time::Moment;
use crate::shm::{AppId, Zone};
use crate::state_file::Saved;

/// A clock for decisions, and what its moments are by the clock on the wall.
pub trait Clock {
    fn now() -> Moment;

    /// In milliseconds since 1970.
    fn unix_ms(moment: Moment) -> u64;

    fn moment_of_unix_ms(unix_ms: u64) -> Moment;
}

/// One of the nginxes, as one of its workers sees it.
pub trait World {
    type Lock: RawMutex + 'static;
    type Clock: Clock;

    fn zone(&self) -> Zone<Self::Lock>;

    fn survey(&self, app: AppId) -> Survey;

    /// Lets every worker look at the zone.
    fn notify(&self);

    /// An app was changed as another nginx has decided; so many are held.
    fn followed(&self, name: &[u8], change: &Change, held: u32);
}

/// The state file, for who has its lock.
pub trait Medium {
    /// Writes down what the file is to say, beside it.
    fn prepare(&self, saved: &Saved) -> io::Result<()>;

    /// Puts what was prepared in the place of the file.
    fn replace(&self) -> io::Result<()>;

    /// Waits until the disk knows of that.
    fn sync(&self) -> io::Result<()>;
}

/// What a file that is written anew will say.
pub struct Draft<R: RawMutex + 'static> {
    zone: Zone<R>,
    saved: Saved,
    decisions: Vec<Decision>,
}

/// Takes up what another nginx wrote. Without room for all of it, nothing may be written, or the other would
/// take what is missing there for resumed.
fn take_up<W: World>(world: &W, saved: &Saved) -> io::Result<()> {
    if saved.serial > world.zone().serial() {
        // In this order: a worker that dies in between leaves it to the next.
        apps::adopt(world, saved)?;
        world.zone().set_serial(saved.serial);
    }
    Ok(())
}

/// What the file has to say that says something `known` so far; `None` if it need not be written.
fn draft<W: World>(world: &W, known: Option<&Saved>, told: Told) -> Option<Draft<W::Lock>> {
    let zone = world.zone();
    let (apps, decisions) = apps::snapshot(world);
    if known.map_or(apps.is_empty(), |known| apps::is_same(&known.apps, &apps, told)) {
        decisions.iter().for_each(|decision| decision.is_told(&zone));
        return None;
    }
    Some(Draft { zone, saved: Saved { serial: zone.serial() + 1, apps }, decisions })
}

impl<R: RawMutex> Draft<R> {
    /// Writes the file.
    pub fn write(&self, file: &impl Medium) -> io::Result<()> {
        file.prepare(&self.saved)?;
        file.replace()?;
        // Not before: if this process died in between, what another nginx writes next would pass for this.
        self.zone.set_serial(self.saved.serial);
        self.decisions.iter().for_each(|decision| decision.is_told(&self.zone));
        file.sync()
    }
}
