//! The zone: what the workers share, and what is done to it under its lock.
//!
//! A worker can be killed at any moment, also while it has the lock (the master then opens it), so
//! the sections are short, each field makes sense by itself, and what makes a change visible is
//! written last.

mod directory;
#[cfg(test)]
mod fingerprint;
mod layout;
#[cfg(test)]
mod tests;
mod workers;

use core::mem::{align_of, size_of};
use core::ptr::{NonNull, addr_of_mut};
use core::slice;
use core::time::Duration;

use parking_lot::lock_api::{Mutex, RawMutex};

use crate::gate::State;
use crate::gate::lane::{Count, Lane, Survey};
use crate::gate::time::Moment;
use crate::shared::{Shared32, Shared64};
pub use directory::{Full, Locked};
use layout::{
    App, BUCKETS, CHUNK_LANES, Chunk, Directory, Generation, Header, MAGIC, NONE, Name, VERSION,
    WorkerSlot,
};
pub use layout::{MAX_NAME, SLOTS};
pub use workers::{Liveness, Process, WATCH_INTERVAL, Watch, parent_in, start_of};

/// An app's place in the zone. Which app that is can change; an [`Entry`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppId(u32);

impl AppId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// An app in the zone, with one worker's lane: enough to let a request through without the lock.
#[derive(Clone, Copy)]
pub struct Entry {
    pub lane: &'static Lane,
    record: &'static App,
    generation: Generation,
}

impl Entry {
    pub fn app(&self) -> AppId {
        AppId(self.record.id)
    }

    /// Lets a request through if the app is open: counts it first and looks at the state then, so
    /// that whoever pauses either is seen or sees it. Without the lock; `false` sends the request
    /// the slow way.
    #[inline]
    pub fn pass(&self) -> bool {
        self.lane.add(Count::InFlight);
        if self.record.word.is(self.generation, State::Open) {
            if self.record.used.get() == 0 {
                self.record.used.set(1);
            }
            return true;
        }
        self.lane.sub(Count::InFlight);
        false
    }

    /// Whether the other one is of the same app, whose lanes may have been moved in between.
    #[inline]
    pub fn is_of_same_app(&self, other: &Self) -> bool {
        core::ptr::eq(self.record, other.record) && self.generation.is_of_app(other.generation)
    }

    /// Whether the record is still the app's, though its lanes may have been moved.
    pub fn is_apps(&self) -> bool {
        self.record.word.generation().is_of_app(self.generation)
    }

    /// Whether the app is open, seen without the lock.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.record.word.state() == State::Open
    }
}

/// The zone as mapped into this process.
pub struct Zone<R: RawMutex + 'static> {
    header: &'static Header<R>,
    apps: &'static [App],
    chunks: &'static [Chunk],
}

// SAFETY: what the references lead to is shared between processes to begin with: atomics, and cells
// that are only touched under the lock.
unsafe impl<R: RawMutex + Sync> Sync for Zone<R> {}
// SAFETY: as above.
unsafe impl<R: RawMutex + Sync> Send for Zone<R> {}

impl<R: RawMutex> Clone for Zone<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: RawMutex> Copy for Zone<R> {}

/// How much of the zone is in use, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub size: usize,
    pub used: usize,
}

/// Why memory cannot serve as a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Or it does not begin where a page does.
    TooSmall,
    /// Made by another version of the module.
    Foreign,
}

/// How many apps, each with the lanes of `chunks_per_app` chunks, fit into `size` bytes.
fn capacity<R: RawMutex>(size: usize, chunks_per_app: usize) -> Option<u32> {
    let slack = align_of::<App>() + align_of::<Chunk>();
    let room = size.checked_sub(size_of::<Header<R>>() + slack)?;
    let apps = room / (size_of::<App>() + chunks_per_app * size_of::<Chunk>());
    u32::try_from(apps).ok().filter(|apps| *apps > 0)
}

impl<R: RawMutex> Zone<R> {
    /// Lays a zone out in `memory`, for about `workers` workers at a time, twice as many during a
    /// reload. The memory begins where a page does.
    pub fn create(memory: &'static mut [u8], workers: usize, lock: R) -> Result<Self, Unfit> {
        let chunks_per_app = (2 * workers).div_ceil(CHUNK_LANES).clamp(1, SLOTS / CHUNK_LANES);
        let apps = capacity::<R>(memory.len(), chunks_per_app).ok_or(Unfit::TooSmall)?;
        let chunks = apps.saturating_mul(u32::try_from(chunks_per_app).unwrap_or(1));
        let memory = NonNull::from(memory).cast::<u8>();
        let header = memory.cast::<Header<R>>().as_ptr();
        if !header.is_aligned() {
            return Err(Unfit::TooSmall);
        }
        // SAFETY: the capacity was reckoned so that all of it fits into the memory, which is nobody
        // else's. The magic number comes last: a zone that has it is whole.
        unsafe {
            addr_of_mut!((*header).version).write(VERSION);
            addr_of_mut!((*header).apps).write(apps);
            addr_of_mut!((*header).chunks).write(chunks);
            addr_of_mut!((*header).cycle).write(Shared32::new(0));
            addr_of_mut!((*header).ended).write(Shared32::new(0));
            addr_of_mut!((*header).changes).write(Shared64::new(0));
            addr_of_mut!((*header).serial).write(Shared64::new(0));
            addr_of_mut!((*header).unwritten).write(Shared32::new(0));
            addr_of_mut!((*header).abandoned).write(Shared64::new(0));
            let never = Moment::NEVER.as_micros();
            addr_of_mut!((*header).last_abandoned).write(Shared64::new(never));
            addr_of_mut!((*header).slots).write(Shared32::new(0));
            addr_of_mut!((*header).directory).write(Mutex::from_raw(lock, Directory::new()));
            let workers = addr_of_mut!((*header).workers).cast::<WorkerSlot>();
            for slot in 0..SLOTS {
                workers.add(slot).write(WorkerSlot::default());
            }
            let (first_app, first_chunk) = arrays::<R>(memory, apps);
            for id in 0..apps {
                first_app.add(id as usize).write(App { id, ..App::default() });
            }
            for index in 0..chunks as usize {
                first_chunk.add(index).write(Chunk::default());
            }
            addr_of_mut!((*header).magic).write(MAGIC);
            Self::attach(memory)
        }
    }

    /// Takes up a zone that is there already.
    ///
    /// # Safety
    ///
    /// `memory` is valid as long as the process runs, and if it begins with the magic number and
    /// the version of a zone, then [`Zone::create`] made it with the same kind of lock.
    pub unsafe fn attach(memory: NonNull<u8>) -> Result<Self, Unfit> {
        // SAFETY: the caller's promise; a page is larger than the fields that are looked at first. A zone
        // of this version has its arrays where they are looked for, and never moves them.
        unsafe {
            let header = memory.cast::<Header<R>>().as_ref();
            if header.magic != MAGIC || header.version != VERSION {
                return Err(Unfit::Foreign);
            }
            let (first_app, first_chunk) = arrays::<R>(memory, header.apps);
            Ok(Self {
                header,
                apps: slice::from_raw_parts(first_app, header.apps as usize),
                chunks: slice::from_raw_parts(first_chunk, header.chunks as usize),
            })
        }
    }

    /// How many apps fit in.
    pub fn capacity(&self) -> usize {
        self.apps.len()
    }

    /// How many bytes there are for apps, and how many of them are in use.
    pub fn memory(&self) -> Memory {
        let locked = self.lock();
        let (apps, chunks) = locked.in_use();
        let bytes = |apps, chunks| apps * size_of::<App>() + chunks * size_of::<Chunk>();
        Memory { size: bytes(self.apps.len(), self.chunks.len()), used: bytes(apps, chunks) }
    }

    pub fn lock(&self) -> Locked<'_, R> {
        Locked::new(self, self.header.directory.lock())
    }

    /// An app's state, seen without the lock.
    #[inline]
    pub fn state(&self, app: AppId) -> State {
        self.apps.get(app.index()).map_or(State::Open, |app| app.word.state())
    }

    /// The lanes of an app, with the slots of the workers they belong to.
    pub fn lanes(&self, app: AppId) -> impl Iterator<Item = (usize, &'static Lane)> {
        let chunks = self.chunks;
        let indexes = self.apps.get(app.index()).map_or(&[][..], |app| &app.lanes[..]);
        indexes.iter().enumerate().flat_map(move |(number, index)| {
            let chunk = (index.get() as usize).checked_sub(1).and_then(|at| chunks.get(at));
            let lanes = chunk.map_or(&[][..], |chunk| &chunk.lanes[..]);
            lanes.iter().enumerate().map(move |(lane, found)| (number * CHUNK_LANES + lane, found))
        })
    }

    /// Adds up an app's lanes, for the worker in slot `me`: those of living workers count, and
    /// those of workers that have shown that they run keep their turn. What is counted for none may be
    /// the app's, so it is in flight here as well.
    pub fn survey(&self, app: AppId, me: usize, liveness: &Liveness) -> Survey {
        let mut survey = Survey::default();
        for (slot, lane) in self.lanes(app) {
            let Some(worker) = self.header.workers.get(slot) else { continue };
            if slot == me {
                survey.count(lane);
            } else if worker.lives(liveness) {
                survey.count(lane);
                if worker.keeps_its_turn(liveness) {
                    survey.queue(lane);
                }
            }
        }
        survey.in_flight = survey.in_flight.saturating_add(self.unattributed(me, liveness));
        survey
    }

    /// How many requests are in flight that could be any app's.
    pub fn unattributed(&self, me: usize, liveness: &Liveness) -> u32 {
        let counts = self.workers().enumerate().filter_map(|(slot, worker)| {
            let unattributed = worker.unattributed.get();
            (unattributed > 0 && (slot == me || worker.lives(liveness))).then_some(unattributed)
        });
        counts.fold(0, u32::saturating_add)
    }

    /// A request that was counted for none is over.
    pub fn leave_unattributed(&self, slot: usize) {
        if let Some(worker) = self.header.workers.get(slot) {
            worker.unattributed.sub(1);
        }
    }

    /// Requests that were counted for no app are over, though the backend's answers are not complete.
    pub fn abandon_unattributed(&self, count: u32, now: Moment) {
        if count > 0 {
            self.header.abandoned.add(u64::from(count));
            self.header.last_abandoned.set(now.as_micros());
        }
    }

    /// How many those were, which can be any app's, and when the last one was.
    pub fn abandoned_unattributed(&self) -> (u64, Moment) {
        let header = self.header;
        let last = Moment::from_micros(header.last_abandoned.get());
        (header.abandoned.get(), last)
    }

    /// Says that something changed that every worker must look at.
    pub fn note_change(&self) {
        self.header.changes.add(1);
    }

    /// How often something did.
    pub fn changes(&self) -> u64 {
        self.header.changes.get()
    }

    /// The serial number of the state file that the zone agrees with.
    pub fn serial(&self) -> u64 {
        self.header.serial.get()
    }

    pub fn set_serial(&self, serial: u64) {
        self.header.serial.set(serial);
    }

    /// Leaves it to the other workers to write to the state file what has changed.
    pub fn leave_unwritten(&self) {
        self.header.unwritten.set(1);
    }

    /// Whether a worker has left that, and nobody has taken it over.
    pub fn is_unwritten(&self) -> bool {
        self.header.unwritten.get() != 0
    }

    /// Whether this worker is the one to take it over.
    pub fn take_unwritten(&self) -> bool {
        self.is_unwritten() && self.header.unwritten.swap(0) != 0
    }

    /// The number of the configuration that nginx runs with, counted since the zone was made.
    pub fn cycle(&self) -> u32 {
        self.header.cycle.get()
    }

    pub fn next_cycle(&self) -> u32 {
        self.header.cycle.add(1) + 1
    }

    /// The worker in `slot` starts: what its predecessor left there is over, and what that held has
    /// been cut off.
    pub fn enter(&self, slot: usize, process: Process, now: Moment) {
        let mut locked = self.lock();
        for app in locked.apps() {
            if let Some((_, lane)) = self.lanes(app).find(|(at, _)| *at == slot) {
                locked.empty(app, lane, now);
            }
        }
        if let Some(worker) = self.header.workers.get(slot) {
            self.header.slots.raise(u32::try_from(slot + 1).unwrap_or(u32::MAX));
            worker.exiting.set(0);
            self.abandon_unattributed(worker.unattributed.swap(0), now);
            worker.beat(now, Duration::ZERO);
            worker.enter(process);
        }
    }

    /// The worker in `slot` ends.
    pub fn leave(&self, slot: usize) {
        if let Some(worker) = self.header.workers.get(slot) {
            worker.leave();
        }
    }

    /// The worker in `slot`, of the configuration `cycle`, was told to exit; whether that is news.
    pub fn exits(&self, slot: usize, cycle: u32) -> bool {
        if cycle == self.cycle() {
            self.header.ended.set(cycle);
        }
        let worker = self.header.workers.get(slot);
        worker.is_some_and(|worker| worker.exiting.swap(1) == 0)
    }

    /// Whether all workers were told to exit and no others are about to come: a reload starts the
    /// new ones before it tells the old ones. If none of the newest lived to be told, as the master
    /// replaces nobody once it was told to quit, that shows on the caller's `watch` only.
    pub fn has_ended(&self, liveness: &Liveness, watch: &Watch) -> bool {
        let alone = !self.workers().any(|worker| worker.stays(liveness));
        let abandoned = watch.look(liveness.now, alone);
        abandoned || (alone && self.header.ended.get() == self.cycle())
    }

    /// The worker in `slot` shows that it runs, as it will again within `interval`.
    pub fn beat(&self, slot: usize, now: Moment, interval: Duration) {
        if let Some(worker) = self.header.workers.get(slot) {
            worker.beat(now, interval);
        }
    }

    fn workers(&self) -> impl Iterator<Item = &'static WorkerSlot> {
        self.header.workers.iter().take(self.header.slots.get() as usize)
    }

    /// The slots that workers are in.
    pub fn slots(&self) -> impl Iterator<Item = usize> {
        let workers = self.workers().enumerate();
        workers.filter(|(_, worker)| worker.is_taken()).map(|(slot, _)| slot)
    }
}

/// Memory for a zone of a test's, which stays as long as the process.
#[cfg(test)]
pub fn memory(size: usize) -> &'static mut [u8] {
    let room = Vec::leak(vec![0; size + PAGE]);
    let skipped = room.as_ptr().align_offset(PAGE);
    &mut room[skipped..skipped + size]
}

#[cfg(test)]
const PAGE: usize = 4096;

/// Where the arrays of a zone with room for `apps` begin.
///
/// # Safety
///
/// `memory` holds a header and as many records.
unsafe fn arrays<R: RawMutex>(memory: NonNull<u8>, apps: u32) -> (*mut App, *mut Chunk) {
    let offset = size_of::<Header<R>>().next_multiple_of(align_of::<App>());
    // SAFETY: the caller's promise; the chunks follow the records, and both are aligned to a cache line.
    unsafe {
        let first_app = memory.as_ptr().add(offset).cast::<App>();
        (first_app, first_app.add(apps as usize).cast::<Chunk>())
    }
}

impl Directory {
    fn new() -> Self {
        Self { apps_used: 0, chunks_used: 0, entering: NONE, hand: 0, buckets: [NONE; BUCKETS] }
    }
}

impl Default for App {
    fn default() -> Self {
        Self {
            id: 0,
            word: Default::default(),
            used: Shared32::new(0),
            next: NONE.into(),
            hash: 0.into(),
            name: Name::EMPTY.into(),
            lanes: [const { Shared32::new(0) }; SLOTS / CHUNK_LANES],
            gate: Default::default(),
        }
    }
}
