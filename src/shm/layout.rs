//! What stands where in the zone.
//!
//! ```text
//! Header | App × apps | Chunk × chunks
//! ```
//!
//! The arrays are made once and never given back, so a reference into them stays valid as long as
//! the zone is mapped, whatever becomes of the app: an index with a generation is enough to tell
//! that an app's record has been given to another. There are no pointers in it but those of the
//! lock, which is nginx's own.

use core::cell::UnsafeCell;

use parking_lot::lock_api::{Mutex, RawMutex};

use crate::gate::lane::Lane;
use crate::gate::{Gate, State};
use crate::shared::{Shared32, Shared64};

/// The first bytes of a zone of ours.
pub const MAGIC: u64 = u64::from_le_bytes(*b"intermis");

/// Changes with every change of the layout.
pub const VERSION: u32 = 11;

/// As many processes as an nginx master can have (`NGX_MAX_PROCESSES`).
pub const SLOTS: usize = 1024;

/// Lanes that are handed out together: nginx fills its process slots from the lowest.
pub const CHUNK_LANES: usize = 16;

/// The longest name of an app, in bytes.
pub const MAX_NAME: usize = 255;

pub const BUCKETS: usize = 256;

/// No record, in the links between them.
pub const NONE: u32 = u32::MAX;

#[repr(C)]
pub struct Header<R: RawMutex> {
    pub magic: u64,
    pub version: u32,
    pub apps: u32,
    pub chunks: u32,
    /// Counts the configurations that nginx has run with this zone.
    pub cycle: Shared32,
    /// The last of those configurations whose workers were told to exit, with none to follow.
    pub ended: Shared32,
    /// Counts the changes that every worker must hear of.
    pub changes: Shared64,
    /// The serial number of the state file that the zone agrees with.
    pub serial: Shared64,
    /// 1 if a worker has ended that could not write to that file what had changed.
    pub unwritten: Shared32,
    /// How many requests were abandoned of those in [`WorkerSlot::unattributed`], and when the last
    /// one was, in microseconds.
    pub abandoned: Shared64,
    pub last_abandoned: Shared64,
    /// One more than the highest slot that a worker has been in.
    pub slots: Shared32,
    pub directory: Mutex<R, Directory>,
    pub workers: [WorkerSlot; SLOTS],
}

/// Which records are in use, under the lock.
#[repr(C)]
pub struct Directory {
    pub apps_used: u32,
    pub chunks_used: u32,
    /// The record that is being given a name, or [`NONE`].
    pub entering: u32,
    /// Where the search for an idle record goes on.
    pub hand: u32,
    pub buckets: [u32; BUCKETS],
}

/// What is known of the process in one of nginx's slots.
#[derive(Default)]
#[repr(C)]
pub struct WorkerSlot {
    /// A [`super::Process`], as bits. 0 if there is none.
    pub process: Shared64,
    /// When the process was last found to be the one that came here, in microseconds.
    pub checked: Shared64,
    /// 1 if it was told to exit, as soon as its requests are over.
    pub exiting: Shared32,
    /// When the worker last showed that it runs, in microseconds, while it holds requests.
    pub beat: Shared64,
    /// How often it does so at least, in milliseconds.
    pub interval: Shared32,
    /// Requests in flight that there was no room for in a lane of their app.
    pub unattributed: Shared32,
}

#[repr(C, align(64))]
pub struct App {
    pub word: Word,
    /// Its place among the records.
    pub id: u32,
    /// Set when it is used again, cleared when the search for an idle record passes.
    pub used: Shared32,
    /// The next record with the same hash, under the lock.
    pub next: UnsafeCell<u32>,
    pub hash: UnsafeCell<u32>,
    pub name: UnsafeCell<Name>,
    /// The chunks with this app's lanes: index + 1, 0 for none.
    pub lanes: [Shared32; SLOTS / CHUNK_LANES],
    pub gate: UnsafeCell<Gate>,
}

/// An app's name, in the zone.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Name {
    len: u8,
    bytes: [u8; MAX_NAME],
}

#[derive(Default)]
#[repr(C, align(64))]
pub struct Chunk {
    pub lanes: [Lane; CHUNK_LANES],
}

/// An app's state as it can be seen without the lock, together with the generation of its record:
/// a request that counted itself and finds the word as it was when it was given the record knows
/// both that the app is open and that the record is still the app's.
#[derive(Default)]
#[repr(transparent)]
pub struct Word(Shared64);

/// An app's record at a generation, which is its word without the state: which app it is, of those that had
/// the record one after the other, and how often its lanes have been moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Generation(u64);

impl Generation {
    /// The state takes the word's lowest byte, how often lanes moved the 28 bits above it.
    const ONE: u64 = 1 << 8;
    const APP: u64 = 1 << 36;

    fn with(self, state: State) -> u64 {
        self.0 | u64::from(state as u8)
    }

    pub fn is_of_app(self, other: Self) -> bool {
        self.0 / Self::APP == other.0 / Self::APP
    }

    fn with_other_lanes(self) -> Self {
        let app = self.0 & !(Self::APP - 1);
        Self(app | self.0.wrapping_add(Self::ONE) & (Self::APP - 1))
    }

    fn of_next_app(self) -> Self {
        Self((self.0 & !(Self::APP - 1)).wrapping_add(Self::APP))
    }
}

impl Word {
    #[cfg(test)]
    pub fn bits(&self) -> u64 {
        self.0.get()
    }

    pub fn state(&self) -> State {
        State::from_bits(self.0.get().to_le_bytes()[0])
    }

    pub fn generation(&self) -> Generation {
        Generation(self.0.get() & !(Generation::ONE - 1))
    }

    pub fn is(&self, generation: Generation, state: State) -> bool {
        self.0.get() == generation.with(state)
    }

    /// Shows `state`. Only under the lock.
    pub fn publish(&self, state: State) {
        self.0.set(self.generation().with(state));
    }

    /// Makes what is known of the record's lanes good no more. Only under the lock.
    pub fn renew(&self) {
        self.0.set(self.generation().with_other_lanes().0);
    }

    /// Makes the record another app's. Only under the lock.
    pub fn give_away(&self) {
        self.0.set(self.generation().of_next_app().0);
    }

    /// Takes [`Word::renew`] back. Only under the lock.
    pub fn restore(&self, generation: Generation) {
        self.0.set(generation.0);
    }
}

impl Name {
    pub const EMPTY: Self = Self { len: 0, bytes: [0; MAX_NAME] };

    /// `None` if it is too long.
    pub fn new(name: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_NAME];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        Some(Self { len: u8::try_from(name.len()).ok()?, bytes })
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}
