//! Which app is where: found by name, made when needed, forgotten when idle and room is needed.

use core::cell::{Cell, UnsafeCell};
use core::iter;
use core::sync::atomic::Ordering::SeqCst;
use core::sync::atomic::compiler_fence;

use parking_lot::lock_api::{MutexGuard, RawMutex};

use super::layout::{App, BUCKETS, CHUNK_LANES, Directory, NONE, Name};
use super::{AppId, Entry, Liveness, Zone};
use crate::gate::lane::{Count, Lane};
use crate::gate::time::Moment;
use crate::gate::{Gate, State};
use crate::shared::Shared32;

/// There is no room for another app, or for another worker's lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The zone while this process has its lock.
pub struct Locked<'z, R: RawMutex + 'static> {
    zone: &'z Zone<R>,
    pub(super) directory: MutexGuard<'z, R, Directory>,
}

impl<'z, R: RawMutex> Locked<'z, R> {
    pub(super) fn new(zone: &'z Zone<R>, directory: MutexGuard<'z, R, Directory>) -> Self {
        let locked = Self { zone, directory };
        #[cfg(test)]
        crate::shared::hooks::see_all(|| locked.fingerprint());
        locked
    }

    /// All apps that the zone knows.
    pub fn apps(&self) -> impl Iterator<Item = AppId> + use<R> {
        let torn = self.torn();
        (0..self.directory.apps_used).map(AppId).filter(move |app| Some(*app) != torn)
    }

    /// How many records and chunks have been handed out.
    pub fn in_use(&self) -> (usize, usize) {
        (self.directory.apps_used as usize, self.directory.chunks_used as usize)
    }

    pub fn name(&self, app: AppId) -> &[u8] {
        self.record(app).map_or(&[], |record| self.read(&record.name).as_bytes())
    }

    pub fn find(&self, name: &[u8]) -> Option<AppId> {
        let hash = hash(name);
        let is_named = |record: &App| {
            *self.read(&record.hash) == hash && self.read(&record.name).as_bytes() == name
        };
        self.chain(hash).find(|(_, record)| is_named(record)).map(|(app, _)| app)
    }

    /// The apps that are found by this hash, and others with them.
    fn chain(&self, hash: u32) -> impl Iterator<Item = (AppId, &App)> {
        let at = |index: u32| Some((AppId(index), self.zone.apps.get(index as usize)?));
        let first = self.directory.buckets.get(bucket(hash)).and_then(|first| at(*first));
        iter::successors(first, move |(_, record)| at(*self.read(&record.next)))
    }

    /// The record that a worker had begun to give a name when it died: nobody finds it by that.
    fn torn(&self) -> Option<AppId> {
        let app = AppId(self.directory.entering);
        let hash = *self.read(&self.record(app)?.hash);
        self.chain(hash).all(|(other, _)| other != app).then_some(app)
    }

    /// The app of this name, made if it is new. An idle one is forgotten for it if need be:
    /// `search` is how many are looked at for that. One that is new does not count as used before it
    /// comes again: so names that come once make room for each other.
    pub fn find_or_create(&mut self, name: &[u8], search: usize) -> Result<AppId, Full> {
        if let Some(app) = self.find(name) {
            self.record(app).iter().for_each(|record| record.used.set(1));
            return Ok(app);
        }
        let named = Name::new(name).ok_or(Full)?;
        let app = self.torn().or_else(|| self.unused());
        let app = app.or_else(|| self.forget_idle(search)).ok_or(Full)?;
        self.insert(app, named, hash(name));
        Ok(app)
    }

    /// The app with the lane of the worker in `slot`. An idle app gives up lanes of its own for it if
    /// need be: `search` is how many are looked at for that.
    pub fn entry(&mut self, app: AppId, slot: usize, search: usize) -> Result<Entry, Full> {
        let lane = self.lane(app, slot, search)?;
        let record = self.record(app).ok_or(Full)?;
        Ok(Entry { lane, record, generation: record.word.generation() })
    }

    /// Counts a request that goes through the worker in `slot`, and for which its app has no lane.
    /// Under the lock: whoever pauses that app, as there is room by then, sees it.
    pub fn pass_unattributed(&self, slot: usize) {
        if let Some(worker) = self.zone.header.workers.get(slot) {
            worker.unattributed.add(1);
        }
    }

    pub fn gate(&self, app: AppId) -> Option<&Gate> {
        self.record(app).map(|record| self.read(&record.gate))
    }

    /// Does something to an app's gate, and shows its state to those who look without the lock.
    pub fn update<T>(&mut self, app: AppId, action: impl FnOnce(&mut Gate) -> T) -> Option<T> {
        let record = self.zone.apps.get(app.index())?;
        let gate = self.change(&record.gate);
        let result = action(gate);
        if record.word.state() != gate.state() {
            record.word.publish(gate.state());
        }
        Some(result)
    }

    /// Accounts for what workers leave behind in an app that have died, seen by the worker in slot
    /// `me`: who was held there has been cut off, and the backend may be at work for who was not.
    pub fn bury(&mut self, app: AppId, me: usize, liveness: &Liveness) {
        let zone = self.zone;
        for (slot, lane) in zone.lanes(app).filter(|(slot, _)| *slot != me) {
            let worker = zone.header.workers.get(slot);
            if !lane.is_quiet() && !worker.is_some_and(|worker| worker.lives(liveness)) {
                self.empty(app, lane, liveness.now);
            }
        }
    }

    /// Empties the lane of a worker that is no more.
    pub(super) fn empty(&mut self, app: AppId, lane: &Lane, now: Moment) {
        let (held, in_flight) = (lane.get(Count::Held), lane.get(Count::InFlight));
        lane.clear();
        self.update(app, |gate| {
            gate.totals.aborted += u64::from(held);
            gate.abandon(in_flight, now);
        });
    }

    fn record(&self, app: AppId) -> Option<&'static App> {
        self.zone.apps.get(app.index())
    }

    fn read<'a, T>(&'a self, cell: &'a UnsafeCell<T>) -> &'a T {
        // SAFETY: the cells of the records are only written through an exclusive borrow of the
        // guard, and this process has the lock as long as the shared borrow lives.
        unsafe { &*cell.get() }
    }

    fn change<'a, T>(&'a mut self, cell: &'a UnsafeCell<T>) -> &'a mut T {
        // SAFETY: the cell is only touched under the lock, which this process has, and the exclusive
        // borrow of the guard keeps this the only reference in it.
        unsafe { &mut *cell.get() }
    }

    fn write<T>(&mut self, cell: &UnsafeCell<T>, value: T) {
        *self.change(cell) = value;
    }

    fn lane(&mut self, app: AppId, slot: usize, search: usize) -> Result<&'static Lane, Full> {
        let index = self.record(app).and_then(|record| record.lanes.get(slot / CHUNK_LANES));
        let index = index.ok_or(Full)?;
        if index.get() == 0 {
            let chunk = self.unused_chunk().or_else(|| self.spare_chunk(app, search));
            index.set(chunk.ok_or(Full)?);
        }
        let chunk = self.zone.chunks.get(index.get() as usize - 1).ok_or(Full)?;
        chunk.lanes.get(slot % CHUNK_LANES).ok_or(Full)
    }

    fn unused(&self) -> Option<AppId> {
        let next = AppId(self.directory.apps_used);
        self.record(next).map(|_| next)
    }

    /// A chunk, as the records name it.
    fn unused_chunk(&mut self) -> Option<u32> {
        let next = self.directory.chunks_used;
        self.zone.chunks.get(next as usize)?;
        self.directory.chunks_used = next + 1;
        Some(next + 1)
    }

    /// Takes a chunk from an idle app, which gets another when a request of it comes. All lanes in it
    /// are as new.
    ///
    /// It may go to workers of other slots, so that a lane has another owner. One who looks just then
    /// whether the first app is open has counted a request there, and takes it back. If the new owner
    /// dies, and is buried, between these two accesses, the lane counts one too few until it is emptied the
    /// next time. That takes slots 16 apart, a full zone, and a death within nanoseconds; to keep chunks
    /// for their slots would cost the room for holding, so that is how it is.
    fn spare_chunk(&mut self, app: AppId, search: usize) -> Option<u32> {
        let has_lanes = |index: &Shared32| index.get() != 0;
        let idle = self.find_idle(search, |_, other, record| {
            other != app && record.lanes.iter().any(has_lanes)
        })?;
        let index = self.record(idle)?.lanes.iter().rfind(|index| has_lanes(index))?;

        Some(index.swap(0))
    }

    fn insert(&mut self, app: AppId, name: Name, hash: u32) {
        let Some(record) = self.record(app) else { return };
        self.set_entering(app);
        self.directory.apps_used = self.directory.apps_used.max(app.0 + 1);
        let next = self.directory.buckets.get(bucket(hash)).copied().unwrap_or(NONE);
        self.write(&record.name, name);
        self.write(&record.hash, hash);
        self.write(&record.gate, Gate::default());
        self.write(&record.next, next);
        record.used.set(0);
        if let Some(first) = self.directory.buckets.get_mut(bucket(hash)) {
            *first = app.0;
        }
        self.set_entering(AppId(NONE));
    }

    /// This record is being given a name; none is if that is [`NONE`]. The compiler keeps it where it stands,
    /// between what comes before and behind it.
    fn set_entering(&mut self, app: AppId) {
        compiler_fence(SeqCst);
        self.directory.entering = app.0;
        compiler_fence(SeqCst);
    }

    /// Takes an app out that nothing is known of but its totals: rather none of which the state file is still
    /// to be told that it is open, or another nginx could have it paused again.
    fn forget_idle(&mut self, search: usize) -> Option<AppId> {
        let spared = Cell::new(false);
        let is_told = |locked: &Self, _, record: &App| {
            let is_news = locked.read(&record.gate).is_newer_than_file();
            spared.set(spared.get() || is_news);
            !is_news
        };
        let app = match self.find_idle(search, is_told) {
            None if spared.get() => self.find_idle(search, |_, _, _| true),
            found => found,
        }?;
        let record = self.record(app)?;
        self.set_entering(app);
        record.word.give_away();
        self.unlink(app, record);
        Some(app)
    }

    /// Finds an app that is open and idle, the least recently used ones first (by a clock: what was
    /// used since the hand last passed is spared once). Its entries are good no more.
    fn find_idle(
        &mut self,
        search: usize,
        suits: impl Fn(&Self, AppId, &App) -> bool,
    ) -> Option<AppId> {
        // Twice round: the first time may only take back that the records were used.
        for _ in 0..search.min(2 * self.zone.apps.len()) {
            let app = AppId(self.directory.hand);
            self.directory.hand = (self.directory.hand + 1) % self.directory.apps_used.max(1);
            let record = self.record(app)?;
            let found = suits(&*self, app, record) && record.used.swap(0) == 0;
            if found && self.is_idle(app, record) {
                return Some(app);
            }
        }
        None
    }

    /// Whether an app is open and idle: if so, whoever passes with an entry that it has kept finds
    /// that this is good no more.
    fn is_idle(&self, app: AppId, record: &App) -> bool {
        if self.read(&record.gate).state() != State::Open {
            return false;
        }
        let before = record.word.generation();
        record.word.renew();
        let idle = self.zone.lanes(app).all(|(_, lane)| lane.is_quiet());
        if !idle {
            record.word.restore(before);
        }
        idle
    }

    fn unlink(&mut self, app: AppId, record: &App) {
        let after = *self.read(&record.next);
        let bucket = bucket(*self.read(&record.hash));
        let Some(first) = self.directory.buckets.get_mut(bucket) else { return };
        if *first == app.0 {
            *first = after;
            return;
        }
        let mut at = *first;
        while let Some(record) = self.zone.apps.get(at as usize) {
            at = *self.read(&record.next);
            if at == app.0 {
                self.write(&record.next, after);
                return;
            }
        }
    }
}

fn bucket(hash: u32) -> usize {
    hash as usize % BUCKETS
}

/// FNV-1a (Fowler, Noll, Vo). Names that collide on purpose make a chain as long as the zone has
/// records, no longer.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
