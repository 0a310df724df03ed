//! How the zone is asked for, made, and taken over from one configuration to the next.

use core::ptr::{self, NonNull};
use std::path::Path;

use crate::gate::State;
use crate::nginx::conf::MainConf;
use crate::nginx::ffi::configuring::Configuring;
use crate::nginx::ffi::cycle::Cycle;
use crate::nginx::ffi::globals;
use crate::nginx::ffi::memory::{Memory, Owner, Slab};
use crate::nginx::store;
use crate::nginx::zone::{Zone, ZoneLock, attached};
use crate::shm::Unfit;

const NAME: &str = "intermission";

pub const DEFAULT_SIZE: usize = 1024 * 1024;

pub fn add_zone(cf: &mut Configuring<'_>, size: usize) -> Option<()> {
    let owner = ptr::from_mut(MainConf::of(cf)?);
    // SAFETY: a main configuration is part of the configuration that is read, and not changed behind
    // that; all memory is asked for here.
    let memory = unsafe { Memory::new(cf.add_memory(NAME, size, owner)?.as_ptr()) };
    MainConf::of(cf)?.set_memory(memory);
    Some(())
}

/// Nothing is destroyed here, as the new configuration may fail.
impl Owner for MainConf {
    fn init(&self, before: Option<&Self>, memory: Memory<'static>) -> Result<(), String> {
        let slab = memory.slab().ok_or_else(|| too_small(memory))?;
        let file = self.state_file.as_deref();
        if let Some(known) = attached(memory) {
            let zone = known.map_err(|_| foreign())?;
            let former = before.and_then(|before| before.state_file.as_deref());
            if let Some(file) = file.filter(|file| Some(*file) != former) {
                store::supersede(file, &zone);
            }
            return Ok(());
        }
        let running = Cycle::in_running(|cycle| Some(cycle.memory(NAME)?.size())).flatten();
        if let Some(old) = running.filter(|old| *old != memory.size()) {
            return Err(resized(old, memory.size()));
        }
        make_zone(memory, slab, file)
    }
}

fn make_zone(memory: Memory<'_>, slab: Slab<'static>, file: Option<&Path>) -> Result<(), String> {
    let room = slab.take_all().ok_or_else(|| too_small(memory))?;
    let place = NonNull::from(&mut *room).cast();
    let zone = Zone::create(room, worker_processes(), ZoneLock::of(slab));
    let zone = zone.map_err(|unfit| match unfit {
        Unfit::TooSmall => too_small(memory),
        Unfit::Foreign => foreign(),
    })?;
    if let Some(file) = file {
        store::load(file, &zone, memory.log())?;
    }
    slab.set_data(place);
    Ok(())
}

fn foreign() -> String {
    "intermission: the running nginx uses another version of this module; restart it, or upgrade \
     its binary (USR2), to change the version"
        .to_owned()
}

fn resized(old: usize, new: usize) -> String {
    format!(
        "\"intermission_zone\" cannot change from {old} to {new} bytes while nginx runs, as held \
         requests would be lost; restart it, or upgrade its binary (USR2)"
    )
}

fn too_small(memory: Memory<'_>) -> String {
    format!(
        "\"intermission_zone\" of {} bytes is too small to work: expected at least 64k",
        memory.size()
    )
}

/// Whether anything would be lost with the zone of the configuration that nginx runs with at the moment.
pub fn is_running_paused() -> bool {
    let look = |cycle: Cycle<'_>| cycle.memory(NAME).is_some_and(|memory| is_paused(memory));
    Cycle::in_running(look).unwrap_or(false)
}

fn is_paused(memory: Memory<'_>) -> bool {
    let zone = attached(memory).and_then(Result::ok);
    zone.is_some_and(|zone| zone.lock().apps().any(|app| zone.state(app) != State::Open))
}

/// How many workers there may be: as many as nginx runs with, or as there are cores if that is more.
/// When nginx starts, its configuration does not say yet; and while zones are initialised, that of the
/// running cycle may still be the old one.
fn worker_processes() -> usize {
    let configured = Cycle::in_running(|cycle| cycle.worker_processes()).flatten().unwrap_or(0);
    configured.max(globals::ncpu()).max(1)
}
