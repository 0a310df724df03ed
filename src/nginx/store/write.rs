//! Telling the state file what has changed, while the worker goes on.
//!
//! nginx's event loop waits neither for the file's lock nor for its disk. Where another process has the
//! lock, it is tried again by the timer; what waits for the disk is done in a thread, which has the lock
//! meanwhile. So one write follows the other, whoever makes it. Calls are answered behind that.

use core::iter;
use std::fs::File;
use std::io;
use std::time::Duration;

use nginx_sys::NGX_LOG_NOTICE;

use super::Store;
use super::desk::{DESK, PATIENCE, Writing};
use crate::agreement::{Told, draft};
use crate::gate::time::Moment;
use crate::nginx::ffi::{background, bells, clock};
use crate::nginx::host::Worker;
use crate::state_file::Saved;

/// How often the lock is tried that others have while they write the file.
const STEP: Duration = Duration::from_millis(2);

/// When a file that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// For how long a worker that ends waits for the lock.
const LAST_PATIENCE: Duration = Duration::from_millis(100);

impl Store {
    /// How often a call has changed something in this worker.
    pub fn changes() -> u64 {
        DESK.get().changes()
    }

    /// Whether the file has been told of the changes up to this, or the log says why not.
    pub fn is_settled(changes: u64) -> bool {
        DESK.get().is_settled(changes)
    }

    /// Takes up what another nginx wrote, makes a change, and begins to write it down. A change that
    /// cannot be written at once is newer than what the file says, until it is.
    pub fn change<T>(&self, worker: &Worker, change: impl FnOnce() -> T) -> T {
        let desk = DESK.get();
        desk.add_change();
        desk.want(Told::Exactly);
        self.conclude(worker);
        self.with(self.lock(), worker, change)
    }

    /// Does what has fallen due.
    pub fn keep_up(worker: &Worker) {
        let (desk, host, now) = (DESK.get(), &worker.host, clock::now());
        if host.save.get() <= now {
            host.save.set(Moment::NEVER);
            desk.want(Told::Exactly);
        }
        if host.retry.get() <= now {
            host.retry.set(Moment::NEVER);
            if !desk.is_writing() {
                desk.want(Told::Enough);
            }
        }
        if desk.is_writing() || desk.wanted().is_some() {
            if let Some(store) = Self::of(worker) {
                store.go_on(worker);
            }
        }
    }

    /// Takes up what another nginx wrote, or writes down what it does not know.
    pub(super) fn catch_up(&self, worker: &Worker) {
        DESK.get().want(Told::Enough);
        self.go_on(worker);
    }

    /// Writes down what there still is, as the worker ends.
    pub fn end(&self, worker: &Worker) {
        let desk = DESK.get();
        self.finish(worker, desk.take());
        if desk.wanted().is_none() && worker.host.save.get().is_never() {
            return;
        }
        desk.want(Told::Exactly);
        if let Ok(lock) = self.file.lock(LAST_PATIENCE) {
            self.with(Ok(Some(lock)), worker, || ());
            self.finish(worker, desk.take());
        }
    }

    fn go_on(&self, worker: &Worker) {
        let desk = DESK.get();
        if self.conclude(worker) && desk.wanted().is_some() {
            // Others have their turn at the lock first.
            worker.retry_at(clock::now().plus(STEP));
        } else if desk.is_writing() || desk.wanted().is_some() {
            self.with(self.lock(), worker, || ());
        }
    }

    /// The lock, if nobody has it.
    fn lock(&self) -> io::Result<Option<File>> {
        if DESK.get().is_writing() { Ok(None) } else { self.file.try_lock() }
    }

    fn with<T>(
        &self,
        lock: io::Result<Option<File>>,
        worker: &Worker,
        change: impl FnOnce() -> T,
    ) -> T {
        let known = match &lock {
            Ok(Some(_)) => self.take_up(worker),
            _ => Ok(None),
        };
        let result = change();
        let desk = DESK.get();
        match lock.and_then(|lock| Ok((lock, known?))) {
            Ok((Some(lock), known)) => self.write_down(worker, lock, known.as_ref()),
            Ok((None, _)) => self.wait(worker),
            Err(error) => self.fail(worker, desk.take_wanted(), desk.changes(), &error),
        }
        result
    }

    /// Begins to write the file anew, unless it says what it has to say already.
    fn write_down(&self, worker: &Worker, lock: File, known: Option<&Saved>) {
        let (desk, slot, file) = (DESK.get(), worker.slot, self.file.clone());
        let (told, changes) = (desk.take_wanted(), desk.changes());
        let Some(draft) = draft(worker, known, told) else {
            return self.succeed(worker, changes);
        };
        let write = move || {
            let written = draft.write(&file);
            drop(lock);
            written
        };
        let tell = move || bells::ring(iter::once(slot));
        match background::start(write, tell) {
            Ok(work) => {
                desk.begin(Writing { work, told, changes });
                self.wait(worker);
            }
            Err(error) => self.fail(worker, told, changes, &error),
        }
    }

    /// Waits for the lock or the disk. Calls are answered when they have waited for long enough.
    fn wait(&self, worker: &Worker) {
        let (desk, now) = (DESK.get(), clock::now());
        let waits = desk.wait(now);
        let left = PATIENCE.saturating_sub(waits);
        if left.is_zero() && !desk.is_settled(desk.changes()) {
            let why =
                if desk.is_writing() { "its disk is slow" } else { "another process has its lock" };
            self.complain_of_writing(&io::Error::new(io::ErrorKind::TimedOut, why));
            desk.settle(desk.changes());
        }
        let at = match (left.is_zero(), desk.is_writing()) {
            (true, _) => AGAIN,
            (false, true) => left,
            (false, false) => STEP,
        };
        worker.retry_at(now.plus(at));
    }

    /// Looks whether the write that went on has come to its end by now.
    fn conclude(&self, worker: &Worker) -> bool {
        self.finish(worker, DESK.get().take_if_over())
    }

    /// Whether there was one to come to its end.
    fn finish(&self, worker: &Worker, writing: Option<Writing>) -> bool {
        let Some(Writing { work, told, changes }) = writing else { return false };
        let defect = || io::Error::other("a defect of the module");
        match work.result().unwrap_or_else(|_| Err(defect())) {
            Ok(()) => self.succeed(worker, changes),
            Err(error) => self.fail(worker, told, changes, &error),
        }
        true
    }

    fn succeed(&self, worker: &Worker, changes: u64) {
        let desk = DESK.get();
        desk.settle(changes);
        desk.stop_waiting();
        if desk.complain(false) {
            self.say(NGX_LOG_NOTICE, "could be written again, and says what is so");
        }
        worker.retry_at(Moment::NEVER);
    }

    /// Says why the file could not be written, and tries again later: then without a word.
    fn fail(&self, worker: &Worker, told: Told, changes: u64, error: &io::Error) {
        let desk = DESK.get();
        if told == Told::Exactly {
            self.complain_of_writing(error);
        } else if error.kind() == io::ErrorKind::OutOfMemory && !desk.complain(true) {
            self.complain("cannot be followed", error);
        }
        desk.settle(changes);
        desk.stop_waiting();
        worker.retry_at(clock::now().plus(AGAIN));
    }

    fn complain_of_writing(&self, error: &io::Error) {
        DESK.get().complain(true);
        self.complain("cannot be written, so that a pause would not outlive nginx", error);
    }
}
