//! What the state file says of the apps, and what the zone says: how one is brought to the other.

use std::io;
use std::time::Duration;

use parking_lot::lock_api::RawMutex;

use super::{Clock, World};
use crate::gate::policy::Policy;
use crate::gate::time::Moment;
use crate::gate::{Change, Gate, State};
use crate::shm::{AppId, Full, Zone};
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
pub(super) fn apply<C: Clock>(gate: &mut Gate, saved: &SavedApp, now: Moment) -> Change {
    match saved.state {
        State::Maintenance => gate.maintenance(now, saved.retry_after),
        _ => {
            gate.number_above(C::unix_ms(now));
            let change = gate.enable(now, deadline_of::<C>(saved), saved.policy);
            if saved.pause > 0 {
                gate.pauses = saved.pause;
            }
            change
        }
    }
}

/// Brings an app in a zone that is new to the state that the file says, unless that is over by now. Whether it
/// is not.
pub fn restore<C: Clock, R: RawMutex>(zone: &Zone<R>, saved: &SavedApp) -> Result<bool, Full> {
    let now = C::now();
    if is_over::<C>(saved, now) {
        return Ok(false);
    }
    let mut locked = zone.lock();
    let app = locked.find_or_create(&saved.name, 0)?;
    locked.update(app, |gate| following(gate, |gate| apply::<C>(gate, saved, now)));
    Ok(true)
}

/// Brings the zone's apps to the state that the file says; fails if there is no room for all of
/// them.
pub(super) fn adopt<W: World>(world: &W, saved: &Saved) -> io::Result<()> {
    let called: Vec<_> = {
        let zone = world.zone();
        let locked = zone.lock();
        let called = locked.apps().filter(|app| locked.gate(*app).is_some_and(is_called));
        called.map(|app| (app, locked.name(app).to_vec())).collect()
    };
    let gone = called.iter().filter(|(_, name)| !saved.apps.iter().any(|app| app.name == *name));
    for (app, name) in gone {
        resume(world, *app, name, None);
    }
    let left = saved.apps.iter().filter(|app| adopt_app(world, app).is_err()).count();
    world.notify();
    if left > 0 {
        let why =
            format!("intermission_zone has no room for {left} apps that another nginx paused");
        return Err(io::Error::new(io::ErrorKind::OutOfMemory, why));
    }
    Ok(())
}

fn adopt_app<W: World>(world: &W, saved: &SavedApp) -> Result<(), Full> {
    let (zone, now) = (world.zone(), W::Clock::now());
    let mut locked = zone.lock();
    let app = locked.find_or_create(&saved.name, usize::MAX)?;
    if locked.gate(app).is_some_and(Gate::is_newer_than_file) {
        return Ok(());
    }
    if is_over::<W::Clock>(saved, now) {
        drop(locked);
        resume(world, app, &saved.name, Some(saved));
        return Ok(());
    }
    let change = locked
        .update(app, |gate| {
            let apply = |gate: &mut Gate| apply::<W::Clock>(gate, saved, now);
            (!agrees::<W::Clock>(gate, saved)).then(|| following(gate, apply))
        })
        .flatten();
    drop(locked);
    report(world, app, &saved.name, change);
    Ok(())
}

fn resume<W: World>(world: &W, app: AppId, name: &[u8], saved: Option<&SavedApp>) {
    let (zone, now) = (world.zone(), W::Clock::now());
    let mut locked = zone.lock();
    // Under the lock: who comes to be held after the survey would be overtaken.
    let survey = world.survey(app);
    let change = locked.update(app, |gate| {
        let policy = saved.map_or(gate.policy, |saved| saved.policy);
        let disable = |gate: &mut Gate| gate.disable(now, policy, 0, &survey);
        (is_called(gate) && !gate.is_newer_than_file()).then(|| following(gate, disable))
    });
    drop(locked);
    report(world, app, name, change.flatten());
}

/// Whether an app is closed by a call, and not released.
fn is_called(gate: &Gate) -> bool {
    matches!(gate.state(), State::Paused | State::Maintenance)
}

/// Changes a gate as another nginx decided, or one before this: here it is nobody's decision.
pub(super) fn following(gate: &mut Gate, change: impl FnOnce(&mut Gate) -> Change) -> Change {
    let decisions = gate.decisions;
    let change = change(gate);
    gate.decisions = decisions;
    change
}

fn report<W: World>(world: &W, app: AppId, name: &[u8], change: Option<Change>) {
    if let Some(change) = change {
        world.followed(name, &change, world.survey(app).held);
    }
}

pub(super) fn agrees<C: Clock>(gate: &Gate, saved: &SavedApp) -> bool {
    alike(&saved_of::<C>(&saved.name, gate), saved)
}

pub(super) fn is_same(left: &[SavedApp], right: &[SavedApp], told: Told) -> bool {
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

pub(super) fn alike(left: &SavedApp, right: &SavedApp) -> bool {
    let times = (left.until_unix_ms.unwrap_or(0), right.until_unix_ms.unwrap_or(0));
    let is_same_pause = left.pause == right.pause || left.pause == 0 || right.pause == 0;
    let (until_unix_ms, pause) = (left.until_unix_ms, left.pause);
    let other = SavedApp { until_unix_ms, pause, ..right.clone() };
    *left == other && is_same_pause && u128::from(times.0.abs_diff(times.1)) < SAME_TIME.as_millis()
}

/// The apps that are not open, in the order of their names: other zones have them in other places. And the
/// decisions that this tells of.
pub(super) fn snapshot<W: World>(world: &W) -> (Vec<SavedApp>, Vec<Decision>) {
    let zone = world.zone();
    let locked = zone.lock();
    let (mut saved, mut decisions) = (Vec::new(), Vec::new());
    for app in locked.apps() {
        let Some(gate) = locked.gate(app) else { continue };
        let name = locked.name(app);
        if gate.is_newer_than_file() {
            decisions.push(Decision { app, name: name.to_vec(), number: gate.decisions });
        }
        if gate.state() != State::Open && !gate.is_in_outage() {
            saved.push(saved_of::<W::Clock>(name, gate));
        }
    }
    saved.sort_unstable_by(|left: &SavedApp, right| left.name.cmp(&right.name));
    (saved, decisions)
}

/// What was decided about an app.
pub(super) struct Decision {
    app: AppId,
    name: Vec<u8>,
    number: u64,
}

impl Decision {
    /// The file has been told of it.
    pub fn is_told<R: RawMutex>(&self, zone: &Zone<R>) {
        let mut locked = zone.lock();
        if locked.name(self.app) == self.name {
            locked.update(self.app, |gate| gate.told = gate.told.max(self.number));
        }
    }
}

/// What the file says of an app, and no more than that. One whose canary is out counts as paused.
pub(super) fn saved_of<C: Clock>(name: &[u8], gate: &Gate) -> SavedApp {
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
    let until_unix_ms = (!gate.deadline.is_never()).then(|| C::unix_ms(gate.deadline));
    let pause = if gate.is_in_pause(gate.pauses) { gate.pauses } else { 0 };
    SavedApp { until_unix_ms, pause, policy: gate.policy, ..blank }
}

/// Whether a saved app is one that is resumed: its release is over sooner or later, and a pause whose
/// deadline has passed is none.
pub(super) fn is_over<C: Clock>(saved: &SavedApp, now: Moment) -> bool {
    saved.state == State::Releasing || deadline_of::<C>(saved) <= now
}

fn deadline_of<C: Clock>(saved: &SavedApp) -> Moment {
    saved.until_unix_ms.map_or(Moment::NEVER, C::moment_of_unix_ms)
}
