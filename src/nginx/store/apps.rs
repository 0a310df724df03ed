//! What the state file says of the apps, and what the zone says: how one is brought to the other.

use std::io;
use std::time::Duration;

use crate::gate::policy::Policy;
use crate::gate::time::Moment;
use crate::gate::{Cause, Change, Gate, State};
use crate::nginx::ffi::clock;
use crate::nginx::host::{Worker, log_change};
use crate::shm::{AppId, Full};
use crate::state_file::{Saved, SavedApp};

/// A difference of deadlines that comes from reading two clocks one after the other.
const SAME_TIME: Duration = Duration::from_millis(500);

/// How well the file must say what is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Exactly,
    /// A release is no news: that of another nginx takes another time.
    Enough,
}

/// Brings a gate to the state that the file says.
pub fn apply(gate: &mut Gate, saved: &SavedApp, now: Moment) -> Change {
    match saved.state {
        State::Maintenance => gate.maintenance(now, saved.retry_after),
        _ => {
            gate.number_above(clock::unix_ms(now));
            let change = gate.enable(now, deadline_of(saved), saved.policy);
            if saved.pause > 0 {
                gate.pauses = saved.pause;
            }
            change
        }
    }
}

/// Brings the zone's apps to the state that the file says; fails if there is no room for all of
/// them.
pub fn adopt(worker: &Worker, saved: &Saved) -> io::Result<()> {
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

pub fn is_same(left: &[SavedApp], right: &[SavedApp], told: Told) -> bool {
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
    let is_same_pause = left.pause == right.pause || left.pause == 0 || right.pause == 0;
    let (until_unix_ms, pause) = (left.until_unix_ms, left.pause);
    let other = SavedApp { until_unix_ms, pause, ..right.clone() };
    *left == other && is_same_pause && u128::from(times.0.abs_diff(times.1)) < SAME_TIME.as_millis()
}

/// The apps that are not open, in the order of their names: other zones have them in other places.
pub fn snapshot(worker: &Worker) -> Vec<SavedApp> {
    let locked = worker.zone.lock();
    let closed = locked.apps().filter(|app| worker.zone.state(*app) != State::Open);
    let gates = closed.filter_map(|app| Some((locked.name(app), locked.gate(app)?)));
    let called = gates.filter(|(_, gate)| !gate.is_in_outage());
    let saved = called.map(|(name, gate)| saved_of(name, gate));
    let mut saved: Vec<_> = saved.collect();
    saved.sort_unstable_by(|left, right| left.name.cmp(&right.name));
    saved
}

/// What the file says of an app, and no more than that. One whose canary is out counts as paused.
fn saved_of(name: &[u8], gate: &Gate) -> SavedApp {
    let state = if gate.canary().is_some() { State::Paused } else { gate.state() };
    let blank = SavedApp {
        name: name.to_vec(),
        state,
        pause: 0,
        until_unix_ms: None,
        policy: Policy::default(),
        retry_after: 0,
    };
    if state == State::Maintenance {
        return SavedApp { retry_after: gate.retry_after, ..blank };
    }
    let until_unix_ms = (!gate.deadline.is_never()).then(|| clock::unix_ms(gate.deadline));
    let pause = if gate.is_in_pause(gate.pauses) { gate.pauses } else { 0 };
    SavedApp { until_unix_ms, pause, policy: gate.policy, ..blank }
}

/// Whether a saved app is one that is resumed: its release is over sooner or later, and a pause whose
/// deadline has passed is none.
pub fn is_over(saved: &SavedApp, now: Moment) -> bool {
    saved.state == State::Releasing || deadline_of(saved) <= now
}

fn deadline_of(saved: &SavedApp) -> Moment {
    saved.until_unix_ms.map_or(Moment::NEVER, clock::moment_of_unix_ms)
}
