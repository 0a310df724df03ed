//! What a worker has to tell the state file, and who waits until it is told.

use core::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;

use crate::agreement::Told;
use crate::gate::time::Moment;
use crate::nginx::ffi::background::Work;
use crate::nginx::ffi::local::Local;

/// For how long a call waits for the file: for its lock, which others have while they write, and for
/// its disk.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// The worker's own.
pub static DESK: Local<Desk> = Local::new(Desk::new());

pub struct Desk {
    /// How often a call changed something, and how much of that has been written, or given up.
    changes: Cell<u64>,
    settled: Cell<u64>,
    /// What is to be written once that can be begun.
    wanted: Cell<Option<Told>>,
    /// Since when the file has kept somebody waiting.
    since: Cell<Moment>,
    writing: RefCell<Option<Writing>>,
    /// Whether the log says that the file does not say what is so.
    complained: Cell<bool>,
}

/// A write that goes on.
pub struct Writing {
    pub work: Work<io::Result<()>>,
    pub told: Told,
    /// The changes that it has.
    pub changes: u64,
}

impl Desk {
    const fn new() -> Self {
        Self {
            changes: Cell::new(0),
            settled: Cell::new(0),
            wanted: Cell::new(None),
            since: Cell::new(Moment::NEVER),
            writing: RefCell::new(None),
            complained: Cell::new(false),
        }
    }

    pub fn changes(&self) -> u64 {
        self.changes.get()
    }

    pub fn add_change(&self) {
        self.changes.set(self.changes.get() + 1);
    }

    /// Whether all up to this change has been written, or given up.
    pub fn is_settled(&self, changes: u64) -> bool {
        self.settled.get() >= changes
    }

    pub fn settle(&self, changes: u64) {
        self.settled.set(changes.max(self.settled.get()));
    }

    pub fn wanted(&self) -> Option<Told> {
        self.wanted.get()
    }

    /// It is going to be written now.
    pub fn take_wanted(&self) -> Told {
        self.wanted.take().unwrap_or(Told::Enough)
    }

    pub fn want(&self, told: Told) {
        if told == Told::Exactly || self.wanted.get().is_none() {
            self.wanted.set(Some(told));
        }
    }

    /// For how long the file has kept somebody waiting, who waits from now on if nobody did.
    pub fn wait(&self, now: Moment) -> Duration {
        if self.since.get().is_never() {
            self.since.set(now);
        }
        now.since(self.since.get())
    }

    pub fn stop_waiting(&self) {
        self.since.set(Moment::NEVER);
    }

    pub fn is_writing(&self) -> bool {
        self.writing.borrow().is_some()
    }

    pub fn begin(&self, writing: Writing) {
        *self.writing.borrow_mut() = Some(writing);
    }

    /// The write that went on, if it is over.
    pub fn take_if_over(&self) -> Option<Writing> {
        self.writing.borrow_mut().take_if(|writing| writing.work.is_over())
    }

    /// The write that goes on, over or not.
    pub fn take(&self) -> Option<Writing> {
        self.writing.borrow_mut().take()
    }

    /// Whether the log says so, from now on. Returns whether it did.
    pub fn complain(&self, now: bool) -> bool {
        self.complained.replace(now)
    }
}
