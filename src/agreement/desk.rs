//! A worker's desk: what it has to tell the state file, what is being written, and who waits for that.
//!
//! No event loop waits for the file's lock or for its disk. Where another process has the lock, it is
//! tried again by the timer; what waits for the disk is done beside the worker, and has the lock meanwhile.
//! So one write follows the other, whoever makes it. Calls are answered behind that.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;

use parking_lot::lock_api::RawMutex;

use super::apps::Told;
use super::{Clock, Draft, World, draft, take_up};
use crate::gate::time::Moment;
use crate::shm::Zone;
use crate::state_file::Saved;

/// For how long a call waits for the file: for its lock, which others have while they write, and for
/// its disk.
const PATIENCE: Duration = Duration::from_secs(3);

/// What changes by itself is written so much later, so that one write does for all that changes together.
const SAVE_AFTER: Duration = Duration::from_millis(100);

/// How often the lock is tried that others have while they write the file.
const STEP: Duration = Duration::from_millis(2);

/// When a file that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The state file, and what a worker's process does for its desk.
pub trait Office: World {
    /// The lock of the file, which is given back with this.
    type FileLock;
    type Writing: Writing;

    fn desk(&self) -> &Desk<Self::Writing>;

    /// The lock, if nobody has it.
    fn try_lock(&self) -> io::Result<Option<Self::FileLock>>;

    /// The lock, once nobody has it. The worker ends, and waits.
    fn lock(&self) -> io::Result<Self::FileLock>;

    /// What the file says; `None` if it is not there. Fails with what is wrong with it.
    fn read(&self) -> Result<Option<Saved>, String>;

    /// The file is of no use.
    fn put_aside(&self, problem: String);

    /// Begins to write the file beside the worker, and has the desk look when that is over.
    fn write(&self, draft: Draft<Self::Lock>, lock: Self::FileLock) -> io::Result<Self::Writing>;

    /// What [`Desk::due`] says has changed.
    fn arm(&self);

    fn report(&self, report: Report<'_>);
}

/// The file is being written.
pub trait Writing {
    fn is_over(&self) -> bool;

    /// What came of it. Waits for the end.
    fn result(self) -> io::Result<()>;
}

/// What is worth a line in the log.
#[derive(Clone, Copy, Debug)]
pub enum Report<'e> {
    /// The file does not say what was called for.
    NotWritten(&'e io::Error),
    /// What another nginx wrote could not be taken up.
    NotFollowed(&'e io::Error),
    /// The file says what is so, for the first time since one of those.
    Written,
}

pub struct Desk<W> {
    /// How often a call changed something, and how much of that has been written, or given up.
    changes: Cell<u64>,
    settled: Cell<u64>,
    /// What is to be written once that can be begun.
    wanted: Cell<Option<Told>>,
    /// When what changed by itself is written: what the file says until then means the same, or is safe.
    save: Cell<Moment>,
    /// When the file, which could not be written yet, is tried again.
    retry: Cell<Moment>,
    /// Since when the file has kept somebody waiting.
    since: Cell<Moment>,
    work: RefCell<Option<Work<W>>>,
    /// Whether the log says that the file does not say what is so.
    complained: Cell<bool>,
}

/// A write that goes on.
struct Work<W> {
    writing: W,
    told: Told,
    /// The changes that it has.
    changes: u64,
}

impl<W> Desk<W> {
    pub const fn new() -> Self {
        Self {
            changes: Cell::new(0),
            settled: Cell::new(0),
            wanted: Cell::new(None),
            save: Cell::new(Moment::NEVER),
            retry: Cell::new(Moment::NEVER),
            since: Cell::new(Moment::NEVER),
            work: RefCell::new(None),
            complained: Cell::new(false),
        }
    }

    /// How often a call has changed something in this worker.
    pub fn changes(&self) -> u64 {
        self.changes.get()
    }

    /// Whether the file has been told of the changes up to this, or the log says why not.
    pub fn is_settled(&self, changes: u64) -> bool {
        self.settled.get() >= changes
    }

    /// When there is something to do that time brings.
    pub fn due(&self) -> Moment {
        self.retry.get().min(self.save.get())
    }

    /// Something has changed by itself.
    pub fn note_change(&self, now: Moment) {
        self.save.set(self.save.get().min(now.plus(SAVE_AFTER)));
    }

    fn settle(&self, changes: u64) {
        self.settled.set(changes.max(self.settled.get()));
    }

    fn want(&self, told: Told) {
        if told == Told::Exactly || self.wanted.get().is_none() {
            self.wanted.set(Some(told));
        }
    }

    fn take_wanted(&self) -> Told {
        self.wanted.take().unwrap_or(Told::Enough)
    }

    fn is_writing(&self) -> bool {
        self.work.borrow().is_some()
    }

    /// Whether something has fallen due, is to be told, or is being told: or was left by a worker that has ended.
    pub fn has_work<R: RawMutex>(&self, zone: &Zone<R>, now: Moment) -> bool {
        let wants = self.is_writing() || self.wanted.get().is_some();
        wants || self.due() <= now || zone.is_unwritten()
    }

    /// For how long the file has kept somebody waiting, who waits from now on if nobody did.
    fn wait(&self, now: Moment) -> Duration {
        if self.since.get().is_never() {
            self.since.set(now);
        }
        now.since(self.since.get())
    }

    fn stop_waiting(&self) {
        self.since.set(Moment::NEVER);
    }
}

/// Takes up what another nginx wrote, makes a change, and begins to write it down. A change that
/// cannot be written at once is newer than what the file says, until it is. `change` is told whether all is
/// known here that another nginx has called for.
pub fn change<O: Office, T>(office: &O, change: impl FnOnce(bool) -> T) -> T {
    let desk = office.desk();
    desk.changes.set(desk.changes() + 1);
    desk.want(Told::Exactly);
    conclude(office);
    let lock = if desk.is_writing() { Ok(None) } else { office.try_lock() };
    with(office, lock, change)
}

/// Takes up what another nginx wrote, or writes down what it does not know.
pub fn catch_up<O: Office>(office: &O) {
    office.desk().want(Told::Enough);
    go_on(office);
}

/// The file was replaced: looks whether another nginx did that.
pub fn follow<O: Office>(office: &O) {
    let newer = |saved: &Saved| saved.serial > office.zone().serial();
    if matches!(office.read(), Ok(Some(saved)) if newer(&saved)) {
        catch_up(office);
    }
}

/// Does what has fallen due.
pub fn keep_up<O: Office>(office: &O) {
    let (desk, now) = (office.desk(), O::Clock::now());
    if take_due(&desk.save, now) || office.zone().take_unwritten() {
        desk.want(Told::Exactly);
    }
    if take_due(&desk.retry, now) && !desk.is_writing() {
        desk.want(Told::Enough);
    }
    go_on(office);
}

/// Writes down what there still is, as the worker ends, or leaves it to the others. They are to look behind that.
pub fn end<O: Office>(office: &O) {
    let desk = office.desk();
    finish(office, desk.work.take());
    if desk.wanted.get().is_some() || !desk.save.get().is_never() {
        desk.want(Told::Exactly);
        if let Ok(lock) = office.lock() {
            with(office, Ok(Some(lock)), |_| ());
            finish(office, desk.work.take());
        }
    }
    if desk.wanted.get().is_some() || !desk.retry.get().is_never() {
        office.zone().leave_unwritten();
    }
}

fn go_on<O: Office>(office: &O) {
    let desk = office.desk();
    if conclude(office) && desk.wanted.get().is_some() {
        // Others have their turn at the lock first.
        retry_at(office, O::Clock::now().plus(STEP));
    } else if desk.is_writing() {
        wait(office);
    } else if desk.wanted.get().is_some() {
        with(office, office.try_lock(), |_| ());
    }
}

fn with<O: Office, T>(
    office: &O,
    lock: io::Result<Option<O::FileLock>>,
    change: impl FnOnce(bool) -> T,
) -> T {
    let locked = match lock {
        Ok(Some(lock)) => read(office).map(|known| Some((lock, known))),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    let result = change(matches!(locked, Ok(Some(_))));
    let desk = office.desk();
    match locked {
        Ok(Some((lock, known))) => write_down(office, lock, known.as_ref()),
        Ok(None) => wait(office),
        Err(error) => fail(office, desk.take_wanted(), desk.changes(), &error),
    }
    result
}

/// Takes up what another nginx wrote; returns what the file says.
fn read<O: Office>(office: &O) -> io::Result<Option<Saved>> {
    match office.read() {
        Ok(Some(saved)) => {
            take_up(office, &saved)?;
            Ok(Some(saved))
        }
        Ok(None) => Ok(None),
        Err(problem) => {
            office.put_aside(problem);
            Ok(None)
        }
    }
}

/// Begins to write the file anew, unless it says what it has to say already.
fn write_down<O: Office>(office: &O, lock: O::FileLock, known: Option<&Saved>) {
    let desk = office.desk();
    let (told, changes) = (desk.take_wanted(), desk.changes());
    let Some(draft) = draft(office, known, told) else {
        return succeed(office, changes);
    };
    match office.write(draft, lock) {
        Ok(writing) => {
            *desk.work.borrow_mut() = Some(Work { writing, told, changes });
            wait(office);
        }
        Err(error) => fail(office, told, changes, &error),
    }
}

/// Waits for the lock or the disk. Calls are answered when they have waited for long enough.
fn wait<O: Office>(office: &O) {
    let (desk, now) = (office.desk(), O::Clock::now());
    let left = PATIENCE.saturating_sub(desk.wait(now));
    if left.is_zero() && !desk.is_settled(desk.changes()) {
        let why =
            if desk.is_writing() { "its disk is slow" } else { "another process has its lock" };
        complain(office, &io::Error::new(io::ErrorKind::TimedOut, why));
        desk.settle(desk.changes());
    }
    let at = match (left.is_zero(), desk.is_writing()) {
        (true, _) => AGAIN,
        (false, true) => left,
        (false, false) => STEP,
    };
    retry_at(office, now.plus(at));
}

/// Looks whether the write that went on has come to its end by now.
fn conclude<O: Office>(office: &O) -> bool {
    let over = office.desk().work.borrow_mut().take_if(|work| work.writing.is_over());
    finish(office, over)
}

/// Whether there was one to come to its end.
fn finish<O: Office>(office: &O, work: Option<Work<O::Writing>>) -> bool {
    let Some(Work { writing, told, changes }) = work else { return false };
    match writing.result() {
        Ok(()) => succeed(office, changes),
        Err(error) => fail(office, told, changes, &error),
    }
    true
}

fn succeed<O: Office>(office: &O, changes: u64) {
    let desk = office.desk();
    desk.settle(changes);
    desk.stop_waiting();
    if desk.complained.take() {
        office.report(Report::Written);
    }
    retry_at(office, Moment::NEVER);
}

/// Says why the file could not be written, and tries again later: then without a word.
fn fail<O: Office>(office: &O, told: Told, changes: u64, error: &io::Error) {
    let desk = office.desk();
    if told == Told::Exactly {
        complain(office, error);
    } else if error.kind() == io::ErrorKind::OutOfMemory && !desk.complained.replace(true) {
        office.report(Report::NotFollowed(error));
    }
    desk.settle(changes);
    desk.stop_waiting();
    retry_at(office, O::Clock::now().plus(AGAIN));
}

fn complain<O: Office>(office: &O, error: &io::Error) {
    office.desk().complained.set(true);
    office.report(Report::NotWritten(error));
}

fn retry_at<O: Office>(office: &O, at: Moment) {
    office.desk().retry.set(at);
    office.arm();
}

/// Whether that time has come: then it is over.
fn take_due(at: &Cell<Moment>, now: Moment) -> bool {
    let is_due = at.get() <= now;
    if is_due {
        at.set(Moment::NEVER);
    }
    is_due
}
