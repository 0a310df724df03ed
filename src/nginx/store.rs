//! Keeps the apps' states in a file, and follows the file when another nginx writes it.
//!
//! Whoever changes a state by a call first takes the lock (of the file's directory), takes up what
//! is newer in the file, changes the state and writes the file. What changes by itself is written a
//! little later, for all apps at once. So two nginxes, as there are during a binary upgrade, agree
//! about it. Each worker watches the directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nginx_sys::{NGX_LOG_ERR, NGX_LOG_NOTICE, ngx_event_t, ngx_log_t};

use crate::control::args::shown;
use crate::gate::policy::Policy;
use crate::gate::time::Moment;
use crate::gate::{Cause, Change, Gate, State};
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::{clock, inotify};
use crate::nginx::host::{Worker, log_change};
use crate::nginx::zone::Zone;
use crate::shm::{AppId, Full};
use crate::state_file::{Damage, Saved, SavedApp};

/// For how long a worker waits for the lock: others have it while they write the file.
const PATIENCE: Duration = Duration::from_millis(100);

/// When a file that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// A difference of deadlines that comes from reading two clocks one after the other.
const SAME_TIME: Duration = Duration::from_millis(500);

/// How well the file must say what is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Exactly,
    /// A release is no news: that of another nginx takes another time.
    Enough,
}

/// Where the state is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store<'p> {
    path: &'p Path,
}

impl<'p> Store<'p> {
    /// The path is absolute.
    pub fn new(path: &'p Path) -> Self {
        Self { path }
    }

    /// The worker's.
    pub fn of(worker: &'p Worker) -> Option<Self> {
        worker.host.state_file.as_deref().map(Self::new)
    }

    /// Restores what a former nginx left, into a zone that is new.
    pub fn load(&self, zone: &Zone, log: *mut ngx_log_t) -> Result<(), String> {
        let say = |level: u32, line: &str| {
            ngx::ngx_log_error!(level, log, "intermission: state file {} {line}", self.shown());
        };
        match self.read() {
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
        if let Ok(Some(saved)) = self.read() {
            zone.set_serial(zone.serial().max(saved.serial));
        }
    }

    /// Restores an app, and says so.
    fn load_app(&self, zone: &Zone, saved: &SavedApp) -> Result<String, String> {
        let (name, was, now) = (shown(&saved.name), saved.state.name(), clock::now());
        if is_over(saved, now) {
            return Ok(format!("says that app \"{name}\" was {was}: by now it is open"));
        }
        let mut locked = zone.lock();
        let app = locked.find_or_create(&saved.name, 0).map_err(|_| {
            format!(
                "intermission: state file {} has more apps than the zone has room for: enlarge \
                 intermission_zone",
                self.shown()
            )
        })?;
        locked.update(app, |gate| apply(gate, saved, now));
        Ok(format!("says that app \"{name}\" is {was}"))
    }

    /// Begins to follow the file: what is newer there is taken up, what is newer here is written.
    pub fn begin(&self, worker: &Worker) {
        self.catch_up(worker);
        // SAFETY: called while the worker starts.
        if !unsafe { inotify::watch(self.directory(), Some(on_directory)) } {
            self.complain("cannot be watched", &io::Error::last_os_error());
        }
    }

    /// Takes up what another nginx wrote, makes a change, and writes it down. A change that cannot
    /// be written is newer than what the file says, until it is.
    pub fn change<T>(&self, worker: &Worker, change: impl FnOnce() -> T) -> T {
        let lock = self.lock(PATIENCE);
        if lock.is_err() {
            worker.zone.note_unsaved();
        }
        self.tell(lock, worker, change)
    }

    /// Writes down what has changed by itself. `false` if another process has the lock: mostly one
    /// that writes the same.
    pub fn save(&self, worker: &Worker) -> bool {
        self.save_unless_busy(worker, Duration::ZERO)
    }

    /// As [`Self::save`], when the worker ends.
    pub fn save_last(&self, worker: &Worker) {
        self.save_unless_busy(worker, PATIENCE);
    }

    fn save_unless_busy(&self, worker: &Worker, patience: Duration) -> bool {
        let lock = self.lock(patience);
        let busy = matches!(&lock, Err(problem) if problem.kind() == io::ErrorKind::TimedOut);
        if !busy {
            self.tell(lock, worker, || ());
        }
        !busy
    }

    /// Makes a change and writes it down, or says why not and tries again later.
    fn tell<T>(&self, lock: io::Result<File>, worker: &Worker, change: impl FnOnce() -> T) -> T {
        let (result, written) = self.with(lock, worker, Told::Exactly, change);
        if let Err(problem) = written {
            worker.zone.note_unsaved();
            self.complain("cannot be written, so that a pause would not outlive nginx", &problem);
            worker.retry_at(clock::now().plus(AGAIN));
        }
        result
    }

    /// Takes up what another nginx wrote, or writes down what it does not know.
    fn catch_up(&self, worker: &Worker) {
        let Err(problem) = self.with(self.lock(PATIENCE), worker, Told::Enough, || ()).1 else {
            return;
        };
        if problem.kind() == io::ErrorKind::OutOfMemory {
            self.complain("cannot be followed", &problem);
        }
        worker.retry_at(clock::now().plus(AGAIN));
    }

    /// Tries again to write a file that could not be written, without a word before it succeeds.
    pub fn retry(&self, worker: &Worker) {
        let (_, written) = self.with(self.lock(Duration::ZERO), worker, Told::Enough, || ());
        worker.retry_at(match written {
            Err(_) => clock::now().plus(AGAIN),
            Ok(()) => {
                self.say(NGX_LOG_NOTICE, "could be written again, and says what is so");
                Moment::NEVER
            }
        });
    }

    fn with<T>(
        &self,
        lock: io::Result<File>,
        worker: &Worker,
        told: Told,
        change: impl FnOnce() -> T,
    ) -> (T, io::Result<()>) {
        let known = match &lock {
            Ok(_) => self.take_up(worker),
            Err(_) => Ok(None),
        };
        let result = change();
        (result, lock.and_then(|_lock| self.write_down(worker, known?.as_ref(), told)))
    }

    /// Looks whether another nginx wrote the file.
    fn follow(&self, worker: &Worker) {
        let newer = |saved: &Saved| saved.serial > worker.zone.serial();
        if matches!(self.read(), Ok(Some(saved)) if newer(&saved)) {
            self.catch_up(worker);
        }
    }

    /// Takes up what another nginx wrote; returns what the file says. Without room for all of it,
    /// nothing may be written, or the other would take what is missing there for resumed.
    fn take_up(&self, worker: &Worker) -> io::Result<Option<Saved>> {
        match self.read() {
            Ok(Some(saved)) => {
                if saved.serial > worker.zone.serial() {
                    // In this order: a worker that dies in between leaves it to the next.
                    adopt(worker, &saved)?;
                    worker.zone.set_serial(saved.serial);
                }
                Ok(Some(saved))
            }
            Ok(None) => Ok(None),
            Err(problem) => {
                // Where this fails, writing will, and says so.
                if fs::rename(self.path, self.beside("bad")).is_ok() {
                    self.complain("cannot be used, and is put aside", &io::Error::other(problem));
                }
                Ok(None)
            }
        }
    }

    /// Writes the file anew, unless it says what it has to say already.
    fn write_down(&self, worker: &Worker, known: Option<&Saved>, told: Told) -> io::Result<()> {
        let (now, unsaved) = (clock::now(), worker.zone.unsaved());
        let apps = snapshot(worker);
        if known.map_or(apps.is_empty(), |known| is_same(&known.apps, &apps, told)) {
            worker.zone.saved(unsaved, now);
            return Ok(());
        }
        let serial = worker.zone.serial();
        let saved = Saved { serial: serial + 1, apps };
        let new = self.beside("new");
        let mut options = File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(0o644).open(&new)?;
        file.write_all(saved.format().as_bytes())?;
        file.sync_all()?;
        // First, so that the other workers do not take it for another nginx's.
        worker.zone.set_serial(saved.serial);
        if let Err(error) = fs::rename(&new, self.path) {
            worker.zone.set_serial(serial);
            return Err(error);
        }
        worker.zone.saved(unsaved, now);
        File::open(self.directory())?.sync_all()
    }

    fn read(&self) -> Result<Option<Saved>, String> {
        match fs::read(self.path) {
            Ok(bytes) => {
                Saved::parse(&bytes).map(Some).map_err(|damage: Damage| damage.to_string())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot be read ({error})")),
        }
    }

    /// The lock is given back when the directory is closed.
    fn lock(&self, patience: Duration) -> io::Result<File> {
        let directory = File::open(self.directory())?;
        let step = Duration::from_millis(1);
        for _ in 0..=patience.as_millis() {
            // SAFETY: the descriptor is open.
            if unsafe { libc::flock(directory.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
                return Ok(directory);
            }
            thread::sleep(step);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "another process has its lock"))
    }

    fn name(&self) -> &[u8] {
        self.path.file_name().unwrap_or_default().as_bytes()
    }

    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".");
        name.push(suffix);
        name.into()
    }

    fn shown(&self) -> String {
        format!("\"{}\"", shown(self.path.as_os_str().as_bytes()))
    }

    fn complain(&self, what: &str, error: &io::Error) {
        self.say(NGX_LOG_ERR, &format!("{what}: {error}"));
    }

    fn say(&self, level: u32, line: &str) {
        let log = ngx::log::ngx_cycle_log().as_ptr();
        ngx::ngx_log_error!(level, log, "intermission: state file {} {line}", self.shown());
    }
}

fn apply(gate: &mut Gate, saved: &SavedApp, now: Moment) -> Change {
    match saved.state {
        State::Maintenance => gate.maintenance(now, saved.retry_after),
        _ => gate.enable(now, deadline_of(saved), saved.policy),
    }
}

/// Brings the zone's apps to the state that the file says; fails if there is no room for all of
/// them.
fn adopt(worker: &Worker, saved: &Saved) -> io::Result<()> {
    let known: Vec<_> = {
        let locked = worker.zone.lock();
        locked.apps().map(|app| (app, locked.name(app).to_vec())).collect()
    };
    let gone = known.iter().filter(|(_, name)| !saved.apps.iter().any(|app| app.name == *name));
    for (app, name) in gone {
        resume(worker, *app, name, None);
    }
    let left = saved.apps.iter().filter(|app| adopt_app(worker, app).is_err()).count();
    worker.notify();
    if left > 0 {
        let why =
            format!("intermission_zone has no room for {left} apps that another nginx paused");
        return Err(io::Error::new(io::ErrorKind::OutOfMemory, why));
    }
    Ok(())
}

fn adopt_app(worker: &Worker, saved: &SavedApp) -> Result<(), Full> {
    let now = clock::now();
    let mut locked = worker.zone.lock();
    let app = locked.find_or_create(&saved.name, usize::MAX)?;
    if locked.gate(app).is_some_and(|gate| is_newer_here(worker, gate)) {
        return Ok(());
    }
    if is_over(saved, now) {
        drop(locked);
        resume(worker, app, &saved.name, Some(saved));
        return Ok(());
    }
    let change = locked
        .update(app, |gate| {
            let apply = |gate: &mut Gate| apply(gate, saved, now);
            (!agrees(gate, saved)).then(|| following(gate, apply))
        })
        .flatten();
    drop(locked);
    report(worker, app, &saved.name, change);
    Ok(())
}

fn resume(worker: &Worker, app: AppId, name: &[u8], saved: Option<&SavedApp>) {
    if !matches!(worker.zone.state(app), State::Paused | State::Maintenance) {
        return;
    }
    let now = clock::now();
    let mut locked = worker.zone.lock();
    // Under the lock: who comes to be held after the survey would be overtaken.
    let survey = worker.survey(app);
    let change = locked.update(app, |gate| {
        let policy = saved.map_or(gate.policy, |saved| saved.policy);
        let disable = |gate: &mut Gate| gate.disable(now, policy, 0, &survey);
        (!is_newer_here(worker, gate)).then(|| following(gate, disable))
    });
    drop(locked);
    report(worker, app, name, change.flatten());
}

/// Changes a gate as another nginx decided: here it is nobody's decision.
fn following(gate: &mut Gate, change: impl FnOnce(&mut Gate) -> Change) -> Change {
    let decided = gate.decided;
    let change = change(gate);
    gate.decided = decided;
    change
}

/// Whether an app's state was decided here and the file has not been told: it is newer than what is
/// there. What followed by itself is not: another nginx that pauses again what was released here has
/// the last word.
fn is_newer_here(worker: &Worker, gate: &Gate) -> bool {
    worker.zone.unsaved() > 0 && gate.decided > worker.zone.agreed()
}

fn report(worker: &Worker, app: AppId, name: &[u8], change: Option<Change>) {
    if let Some(change) = change {
        log_change(name, &change, worker.survey(app).held, Cause::StateFile.name());
    }
}

fn agrees(gate: &Gate, saved: &SavedApp) -> bool {
    alike(&saved_of(&saved.name, gate), saved)
}

fn is_same(left: &[SavedApp], right: &[SavedApp], told: Told) -> bool {
    let counts = |app: &&SavedApp| told == Told::Exactly || app.state != State::Releasing;
    let (mut left, mut right) = (left.iter().filter(counts), right.iter().filter(counts));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(left), Some(right)) if alike(left, right) => {}
            _ => return false,
        }
    }
}

fn alike(left: &SavedApp, right: &SavedApp) -> bool {
    let times = (left.until_unix_ms.unwrap_or(0), right.until_unix_ms.unwrap_or(0));
    let other = SavedApp { until_unix_ms: left.until_unix_ms, ..right.clone() };
    *left == other && u128::from(times.0.abs_diff(times.1)) < SAME_TIME.as_millis()
}

/// The apps that are not open, in the order of their names: other zones have them in other places.
fn snapshot(worker: &Worker) -> Vec<SavedApp> {
    let locked = worker.zone.lock();
    let closed = locked.apps().filter(|app| worker.zone.state(*app) != State::Open);
    let saved = closed.filter_map(|app| Some(saved_of(locked.name(app), locked.gate(app)?)));
    let mut saved: Vec<_> = saved.collect();
    saved.sort_unstable_by(|left, right| left.name.cmp(&right.name));
    saved
}

/// What the file says of an app, and no more than that. One whose canary is out counts as paused.
fn saved_of(name: &[u8], gate: &Gate) -> SavedApp {
    let state = if gate.trial().is_some() { State::Paused } else { gate.state() };
    let blank = SavedApp {
        name: name.to_vec(),
        state,
        until_unix_ms: None,
        policy: Policy::default(),
        retry_after: 0,
    };
    if state == State::Maintenance {
        return SavedApp { retry_after: gate.retry_after, ..blank };
    }
    let until_unix_ms = (!gate.deadline.is_never()).then(|| clock::unix_ms(gate.deadline));
    SavedApp { until_unix_ms, policy: gate.policy, ..blank }
}

/// Whether a saved app is one that is resumed: its release is over sooner or later, and a pause whose
/// deadline has passed is none.
fn is_over(saved: &SavedApp, now: Moment) -> bool {
    saved.state == State::Releasing || deadline_of(saved) <= now
}

fn deadline_of(saved: &SavedApp) -> Moment {
    saved.until_unix_ms.map_or(Moment::NEVER, clock::moment_of_unix_ms)
}

unsafe extern "C" fn on_directory(event: *mut ngx_event_t) {
    guarded((), || {
        let Some(worker) = Worker::here() else { return };
        let Some(store) = Store::of(worker) else { return };
        // SAFETY: nginx passes the event of the descriptor that is watched.
        if unsafe { inotify::was_replaced(event, store.name()) } {
            store.follow(worker);
        }
    });
}
