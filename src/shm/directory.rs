//! Which app is where: found by name, made when needed, forgotten when idle and room is needed.

use core::cell::UnsafeCell;
use core::sync::atomic::Ordering::SeqCst;

use parking_lot::lock_api::{MutexGuard, RawMutex};

use super::layout::{App, BUCKETS, CHUNK_LANES, Directory, NONE, Name};
use super::{AppId, Entry, Zone};
use crate::gate::lane::{Count, Lane};
use crate::gate::{Gate, State};

/// There is no room for another app, or for another worker's lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The zone while this process has its lock.
pub struct Locked<'z, R: RawMutex + 'static> {
    zone: &'z Zone<R>,
    directory: MutexGuard<'z, R, Directory>,
}

impl<'z, R: RawMutex> Locked<'z, R> {
    pub(super) fn new(zone: &'z Zone<R>, directory: MutexGuard<'z, R, Directory>) -> Self {
        Self { zone, directory }
    }

    /// All apps that the zone knows.
    pub fn apps(&self) -> impl Iterator<Item = AppId> + use<R> {
        (0..self.directory.apps_used).map(AppId)
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
        let mut next = *self.directory.buckets.get(bucket(hash))?;
        while let Some(record) = self.zone.apps.get(next as usize) {
            if *self.read(&record.hash) == hash && self.read(&record.name).as_bytes() == name {
                return Some(AppId(next));
            }
            next = *self.read(&record.next);
        }
        None
    }

    /// The app of this name, made if it is new. An idle one is forgotten for it if need be:
    /// `search` is how many are looked at for that.
    pub fn find_or_create(&mut self, name: &[u8], search: usize) -> Result<AppId, Full> {
        if let Some(app) = self.find(name) {
            return Ok(app);
        }
        let named = Name::new(name).ok_or(Full)?;
        let app = self.unused().or_else(|| self.forget_idle(search)).ok_or(Full)?;
        self.insert(app, named, hash(name));
        Ok(app)
    }

    /// The app with the lane of the worker in `slot`.
    pub fn entry(&mut self, app: AppId, slot: usize) -> Result<Entry, Full> {
        let lane = self.lane(app, slot)?;
        let record = self.record(app).ok_or(Full)?;
        Ok(Entry { lane, record, generation: record.word.generation() })
    }

    /// Counts a request that goes through the worker in `slot`, and for which its app has no lane.
    /// Under the lock: whoever pauses that app, as there is room by then, sees it.
    pub fn pass_apart(&self, slot: usize) {
        if let Some(worker) = self.zone.header.workers.get(slot) {
            worker.apart.fetch_add(1, SeqCst);
        }
    }

    pub fn gate(&self, app: AppId) -> Option<&Gate> {
        self.record(app).map(|record| self.read(&record.gate))
    }

    /// Does something to an app's gate, and shows its state to those who look without the lock.
    pub fn update<T>(&mut self, app: AppId, action: impl FnOnce(&mut Gate) -> T) -> Option<T> {
        let record = self.zone.apps.get(app.index())?;
        // SAFETY: the cell is only touched under the lock, which this process has, and the
        // exclusive borrow of the guard keeps it the only reference in it.
        let gate = unsafe { &mut *record.gate.get() };
        let result = action(gate);
        if record.word.state() != gate.state() {
            record.word.publish(gate.state());
        }
        Some(result)
    }

    fn record(&self, app: AppId) -> Option<&'static App> {
        self.zone.apps.get(app.index())
    }

    fn read<'a, T>(&'a self, cell: &'a UnsafeCell<T>) -> &'a T {
        // SAFETY: the cells of the records are only written through an exclusive borrow of the
        // guard, and this process has the lock as long as the shared borrow lives.
        unsafe { &*cell.get() }
    }

    fn write<T>(&mut self, cell: &UnsafeCell<T>, value: T) {
        // SAFETY: as in `update`.
        unsafe { *cell.get() = value };
    }

    fn lane(&mut self, app: AppId, slot: usize) -> Result<&'static Lane, Full> {
        let index = self.record(app).and_then(|record| record.lanes.get(slot / CHUNK_LANES));
        let index = index.ok_or(Full)?;
        if index.load(SeqCst) == 0 {
            let next = self.directory.chunks_used;
            self.zone.chunks.get(next as usize).ok_or(Full)?;
            self.directory.chunks_used = next + 1;
            index.store(next + 1, SeqCst);
        }
        let chunk = self.zone.chunks.get(index.load(SeqCst) as usize - 1).ok_or(Full)?;
        chunk.lanes.get(slot % CHUNK_LANES).ok_or(Full)
    }

    fn unused(&mut self) -> Option<AppId> {
        let next = self.directory.apps_used;
        self.zone.apps.get(next as usize)?;
        self.directory.apps_used = next + 1;
        Some(AppId(next))
    }

    fn insert(&mut self, app: AppId, name: Name, hash: u32) {
        let Some(record) = self.record(app) else { return };
        let next = self.directory.buckets.get(bucket(hash)).copied().unwrap_or(NONE);
        self.write(&record.name, name);
        self.write(&record.hash, hash);
        self.write(&record.gate, Gate::default());
        self.write(&record.next, next);
        record.used.store(1, SeqCst);
        if let Some(first) = self.directory.buckets.get_mut(bucket(hash)) {
            *first = app.0;
        }
    }

    /// Takes an app out that nothing is known of but its totals, the least recently used ones
    /// first (by a clock: what was used since the hand last passed is spared once).
    fn forget_idle(&mut self, search: usize) -> Option<AppId> {
        // Twice round: the first time may only take back that the records were used.
        for _ in 0..search.min(2 * self.zone.apps.len()) {
            let app = AppId(self.directory.hand);
            self.directory.hand = (self.directory.hand + 1) % self.directory.apps_used.max(1);
            let record = self.record(app)?;
            if record.used.swap(0, SeqCst) == 0 && self.take_if_idle(app, record) {
                return Some(app);
            }
        }
        None
    }

    fn take_if_idle(&mut self, app: AppId, record: &App) -> bool {
        if self.read(&record.gate).state() != State::Open {
            return false;
        }
        let before = record.word.generation();
        record.word.renew();
        let busy = self.zone.lanes(app).any(|(_, lane)| {
            let counts = [Count::InFlight, Count::Upgraded, Count::Held, Count::Waiting];
            counts.iter().any(|count| lane.get(*count) > 0)
        });
        if busy {
            record.word.restore(before);
            return false;
        }
        self.unlink(app, record);
        true
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
