//! Keeps the apps' states in a file, and follows the file when another nginx writes it.
//!
//! Whoever changes a state by a call first takes the lock (a file beside it), takes up what is newer in
//! the file, changes the state and writes the file; where somebody has the lock, the state is changed
//! first. What changes by itself is written a little later, for all apps at once. So two nginxes, as there are during a binary upgrade, agree about it. Each
//! worker watches the directory.

mod desk;
mod file;
mod write;

use std::io;
use std::path::PathBuf;

use nginx_sys::{NGX_LOG_ERR, NGX_LOG_NOTICE, ngx_log_t};

use self::file::{StateFile, quoted};
use crate::agreement::{self, Clock, World};
use crate::control::args::shown;
use crate::gate::lane::Survey;
use crate::gate::time::Moment;
use crate::gate::{Cause, Change};
use crate::nginx::ffi::client::Connection;
use crate::nginx::ffi::watched::Watched;
use crate::nginx::ffi::{clock, inotify};
use crate::nginx::host::{Worker, log_change};
use crate::nginx::zone::{Zone, ZoneLock};
use crate::shm::{AppId, Full};
use crate::state_file::{Saved, SavedApp};

/// What keeps the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    file: StateFile,
}

impl Store {
    /// The path is absolute.
    pub fn new(path: PathBuf) -> Self {
        Self { file: StateFile::new(path) }
    }

    /// The worker's.
    pub fn of(worker: &Worker) -> Option<Self> {
        worker.host.state_file.clone().map(Self::new)
    }

    /// Restores what a former nginx left, into a zone that is new.
    pub fn load(&self, zone: &Zone, log: *mut ngx_log_t) -> Result<(), String> {
        let say = |level: u32, line: &str| {
            ngx::ngx_log_error!(
                level,
                log,
                "intermission: state file {} {line}",
                self.file.shown()
            );
        };
        match self.file.read() {
            Ok(None) => say(NGX_LOG_NOTICE, "is not there yet: all apps are open"),
            Err(problem) => {
                let line = format!("{problem}: all apps are open, also those that were paused");
                say(NGX_LOG_ERR, &line);
            }
            Ok(Some(saved)) => {
                for app in &saved.apps {
                    say(NGX_LOG_NOTICE, &self.load_app(zone, app)?);
                }
                zone.set_serial(saved.serial);
            }
        }
        Ok(())
    }

    /// The file becomes that of an nginx that runs: what it says is of an earlier day.
    pub fn supersede(&self, zone: &Zone) {
        if let Ok(Some(saved)) = self.file.read() {
            zone.set_serial(zone.serial().max(saved.serial));
        }
    }

    /// Restores an app, and says so.
    fn load_app(&self, zone: &Zone, saved: &SavedApp) -> Result<String, String> {
        let (name, was) = (shown(&saved.name), saved.state.name());
        match agreement::restore::<Clocks, _>(zone, saved) {
            Ok(true) => Ok(format!("says that app \"{name}\" is {was}")),
            Ok(false) => Ok(format!("says that app \"{name}\" was {was}: by now it is open")),
            Err(Full) => Err(format!(
                "intermission: state file {} has more apps than the zone has room for: enlarge \
                 intermission_zone",
                self.file.shown()
            )),
        }
    }

    /// Begins to follow the file: what is newer there is taken up, what is newer here is written.
    pub fn begin(&self, worker: &Worker) {
        self.catch_up(worker);
        if let Err(error) = inotify::watch::<Directory>(self.file.directory()) {
            self.complain("cannot be watched", &error);
        }
    }

    /// Looks whether another nginx wrote the file.
    fn follow(&self, worker: &Worker) {
        let newer = |saved: &Saved| saved.serial > worker.zone.serial();
        if matches!(self.file.read(), Ok(Some(saved)) if newer(&saved)) {
            self.catch_up(worker);
        }
    }

    /// Takes up what another nginx wrote; returns what the file says.
    fn take_up(&self, worker: &Worker) -> io::Result<Option<Saved>> {
        match self.file.read() {
            Ok(Some(saved)) => {
                agreement::take_up(worker, &saved)?;
                Ok(Some(saved))
            }
            Ok(None) => Ok(None),
            Err(problem) => {
                self.put_aside(problem);
                Ok(None)
            }
        }
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

    fn complain(&self, what: &str, error: &io::Error) {
        self.say(NGX_LOG_ERR, &format!("{what}: {error}"));
    }

    fn say(&self, level: u32, line: &str) {
        let log = ngx::log::ngx_cycle_log().as_ptr();
        ngx::ngx_log_error!(level, log, "intermission: state file {} {line}", self.file.shown());
    }
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

impl World for Worker {
    type Lock = ZoneLock;
    type Clock = Clocks;

    fn zone(&self) -> Zone {
        self.zone
    }

    fn survey(&self, app: AppId) -> Survey {
        Self::survey(self, app)
    }

    fn notify(&self) {
        Self::notify(self);
    }

    fn followed(&self, name: &[u8], change: &Change, held: u32) {
        log_change(name, change, held, Cause::StateFile.name());
    }
}

/// That of the state file.
struct Directory;

impl Watched for Directory {
    fn happens(watch: Connection<'_>) {
        let Some(worker) = Worker::here() else { return };
        let Some(store) = Store::of(worker) else { return };
        if inotify::was_replaced(watch, store.file.name()) {
            store.follow(worker);
        }
    }
}
