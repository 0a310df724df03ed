//! Keeps the apps' states in a file, and follows the file when another nginx writes it.
//!
//! What is written and when, and what two nginxes, as there are during a binary upgrade, do with each other's changes, is
//! the agreement's. Each worker watches the directory.

mod file;
mod restore;

use std::fs::File;
use std::io;
use std::iter;
use std::time::Duration;

use nginx_sys::{NGX_LOG_ERR, NGX_LOG_NOTICE, ngx_log_t};

use self::file::{StateFile, quoted};
pub use self::restore::{load, supersede};
use crate::agreement::{self, Clock, Desk, Draft, Office, Report, World, Writing};
use crate::gate::lane::Survey;
use crate::gate::time::Moment;
use crate::gate::{Cause, Change};
use crate::nginx::ffi::background::{self, Work};
use crate::nginx::ffi::client::Connection;
use crate::nginx::ffi::watched::Watched;
use crate::nginx::ffi::{bells, clock, inotify};
use crate::nginx::host::{Worker, log_change};
use crate::nginx::zone::{Zone, ZoneLock};
use crate::shm::AppId;
use crate::state_file::Saved;

/// For how long a worker that ends waits for the lock.
const LAST_PATIENCE: Duration = Duration::from_millis(100);

/// What keeps the state, for a worker.
pub struct Store<'w> {
    worker: &'w Worker,
    file: StateFile,
}

impl<'w> Store<'w> {
    /// The worker's.
    pub fn of(worker: &'w Worker) -> Option<Self> {
        let file = StateFile::new(worker.host.state_file.clone()?);
        Some(Self { worker, file })
    }

    /// Begins to follow the file: what is newer there is taken up, what is newer here is written.
    pub fn begin(&self) {
        agreement::catch_up(self);
        if let Err(error) = inotify::watch::<Directory>(self.file.directory()) {
            self.complain("cannot be watched", &error);
        }
    }

    /// Makes a change that the file has to know of. It is told whether all is known here that another nginx
    /// has called for.
    pub fn change<T>(&self, change: impl FnOnce(bool) -> T) -> T {
        agreement::change(self, change)
    }

    /// Does what has fallen due.
    pub fn keep_up(worker: &'w Worker) {
        if worker.host.desk.has_work(&worker.zone, clock::now()) {
            Self::of(worker).iter().for_each(agreement::keep_up);
        }
    }

    /// Writes down what there still is, as the worker ends.
    pub fn end(&self) {
        agreement::end(self);
    }

    fn complain(&self, what: &str, error: &io::Error) {
        self.say(NGX_LOG_ERR, &format!("{what}: {error}"));
    }

    fn say(&self, level: u32, line: &str) {
        say(&self.file, ngx::log::ngx_cycle_log().as_ptr(), level, line);
    }
}

fn say(file: &StateFile, log: *mut ngx_log_t, level: u32, line: &str) {
    ngx::ngx_log_error!(level, log, "intermission: state file {} {line}", file.shown());
}

/// The clocks of this machine.
pub struct Clocks;

impl Clock for Clocks {
    fn now() -> Moment {
        clock::now()
    }

    fn unix_ms(moment: Moment) -> u64 {
        clock::unix_ms(moment)
    }

    fn moment_of_unix_ms(unix_ms: u64) -> Moment {
        clock::moment_of_unix_ms(unix_ms)
    }
}

impl World for Store<'_> {
    type Lock = ZoneLock;
    type Clock = Clocks;

    fn zone(&self) -> Zone {
        self.worker.zone
    }

    fn survey(&self, app: AppId) -> Survey {
        self.worker.survey(app)
    }

    fn notify(&self) {
        self.worker.notify();
    }

    fn followed(&self, name: &[u8], change: &Change, held: u32) {
        log_change(name, change, held, Cause::StateFile.name());
    }
}

impl Office for Store<'_> {
    type FileLock = File;
    type Writing = Work<io::Result<()>>;

    fn desk(&self) -> &Desk<Self::Writing> {
        &self.worker.host.desk
    }

    fn try_lock(&self) -> io::Result<Option<File>> {
        self.file.try_lock()
    }

    fn lock(&self) -> io::Result<File> {
        self.file.lock(LAST_PATIENCE)
    }

    fn read(&self) -> Result<Option<Saved>, String> {
        self.file.read()
    }

    fn put_aside(&self, problem: String) {
        let problem = io::Error::other(problem);
        match self.file.put_aside() {
            Ok(()) => self.complain("cannot be used, and is put aside", &problem),
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                let bad = quoted(&self.file.bad());
                self.complain(&format!("cannot be used, nor put aside as {bad}"), &problem);
            }
            // Writing fails as well then, and says so.
            Err(_) => {}
        }
    }

    fn write(&self, draft: Draft<ZoneLock>, lock: File) -> io::Result<Self::Writing> {
        let (slot, file) = (self.worker.slot, self.file.clone());
        let write = move || {
            let written = draft.write(&file);
            drop(lock);
            written
        };
        background::start(write, move || bells::ring(iter::once(slot)))
    }

    fn arm(&self) {
        self.worker.arm(clock::now());
    }

    fn report(&self, report: Report<'_>) {
        match report {
            Report::NotWritten(error) => {
                self.complain("cannot be written, so that a pause would not outlive nginx", error);
            }
            Report::NotFollowed(error) => self.complain("cannot be followed", error),
            Report::Written => {
                self.say(NGX_LOG_NOTICE, "could be written again, and says what is so");
            }
        }
    }
}

impl Writing for Work<io::Result<()>> {
    fn is_over(&self) -> bool {
        Self::is_over(self)
    }

    fn result(self) -> io::Result<()> {
        let defect = |_| Err(io::Error::other("a defect of the module"));
        Self::result(self).unwrap_or_else(defect)
    }
}

/// That of the state file.
struct Directory;

impl Watched for Directory {
    fn happens(watch: Connection<'_>) {
        let Some(worker) = Worker::here() else { return };
        let Some(store) = Store::of(worker) else { return };
        if inotify::was_replaced(watch, store.file.name()) {
            agreement::follow(&store);
        }
    }
}
