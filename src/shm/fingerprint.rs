//! Numbers that are the same for what goes on in the same way: for the simulation, which goes no way twice.
//! Left out is what nobody decides by, as totals are.

use std::hash::{DefaultHasher, Hash, Hasher};

use parking_lot::lock_api::RawMutex;

use super::layout::{App, Directory, Header, WorkerSlot};
use super::{Entry, Locked, Zone};

impl Entry {
    pub fn fingerprint(&self) -> impl Hash + use<> {
        let Self { lane, record, generation } = self;
        (std::ptr::from_ref(*lane) as usize, record.id, *generation)
    }
}

impl<R: RawMutex> Zone<R> {
    /// Of what is read without the lock.
    pub fn fingerprint(&self, hasher: &mut impl Hasher) {
        let Header { ended, last_abandoned, slots, .. } = self.header;
        (ended.get(), last_abandoned.get(), slots.get()).hash(hasher);
        for slot in self.slots() {
            let WorkerSlot { process, checked, exiting, beat, interval, unattributed } =
                &self.header.workers[slot];
            (process.get(), checked.get(), exiting.get()).hash(hasher);
            (beat.get(), interval.get(), unattributed.get()).hash(hasher);
        }
        for App { word, id, used, lanes, .. } in self.apps {
            (word.bits(), used.get(), id).hash(hasher);
            lanes.iter().for_each(|chunk| chunk.get().hash(hasher));
        }
        self.chunks.iter().flat_map(|chunk| &chunk.lanes).for_each(|lane| lane.fingerprint(hasher));
    }
}

impl<R: RawMutex> Locked<'_, R> {
    /// Of what is read with it.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let Directory { apps_used, chunks_used, entering, hand, buckets } = &*self.directory;
        (apps_used, chunks_used, entering, hand, buckets).hash(&mut hasher);
        for app in self.apps() {
            (self.name(app), self.gate(app).map(|gate| gate.without_totals())).hash(&mut hasher);
        }
        hasher.finish()
    }
}
