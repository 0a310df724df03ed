use core::time::Duration;

use super::apps::*;
use super::*;
use crate::gate::policy::Policy;
use crate::gate::{Gate, State};
use crate::state_file::SavedApp;

const NOW: Moment = Moment::from_micros(1_000_000_000);

/// What the clock on the wall shows then.
const UNIX_MS: u64 = 1_795_000_000_000;

struct Clocks;

impl Clock for Clocks {
    fn now() -> Moment {
        NOW
    }

    fn unix_ms(moment: Moment) -> u64 {
        UNIX_MS + moment.since(NOW).as_millis() as u64
    }

    fn moment_of_unix_ms(unix_ms: u64) -> Moment {
        after(unix_ms - UNIX_MS)
    }
}

fn after(millis: u64) -> Moment {
    NOW.plus(Duration::from_millis(millis))
}

fn paused_until(deadline: Moment) -> Gate {
    let mut gate = Gate::default();
    gate.enable(NOW, deadline, Policy::default());
    gate
}

fn saved(gate: &Gate) -> SavedApp {
    saved_of::<Clocks>(b"shop", gate)
}

fn held() -> Survey {
    Survey { held: 1, first_anywhere: 0, ..Survey::default() }
}

#[test]
fn a_gate_becomes_what_the_file_says_of_another() {
    let mut maintained = Gate::default();
    maintained.maintenance(NOW, 120);
    for other in [paused_until(Moment::NEVER), paused_until(after(5_000)), maintained] {
        let mut gate = Gate::default();
        apply::<Clocks>(&mut gate, &saved(&other), NOW);
        assert_eq!((gate.state(), gate.deadline), (other.state(), other.deadline));
        assert_eq!(saved(&gate), saved(&other));
        assert!(agrees::<Clocks>(&gate, &saved(&other)));
    }
}

#[test]
fn deadlines_that_are_read_by_two_clocks_are_the_same() {
    let one = saved(&paused_until(after(5_000)));
    assert!(alike(&one, &saved(&paused_until(after(5_499)))));
    assert!(alike(&saved(&paused_until(after(5_499))), &one));
    assert!(!alike(&one, &saved(&paused_until(after(5_500)))));
    assert!(!alike(&one, &saved(&paused_until(Moment::NEVER))));
}

#[test]
fn one_pause_is_not_the_next() {
    let one = SavedApp { pause: 1, ..saved(&paused_until(Moment::NEVER)) };
    assert!(!alike(&one, &SavedApp { pause: 2, ..one.clone() }));
    assert!(alike(&one, &SavedApp { pause: 0, ..one.clone() }), "version 1 says no number");
}

#[test]
fn a_release_is_news_only_where_all_has_to_be_told() {
    let mut gate = paused_until(Moment::NEVER);
    gate.disable(NOW, Policy::default(), 0, &held());
    let releasing = [saved(&gate)];
    assert_eq!(releasing[0].state, State::Releasing);
    assert!(is_same(&releasing, &[], Told::Enough));
    assert!(!is_same(&releasing, &[], Told::Exactly));
    assert!(is_over::<Clocks>(&releasing[0], NOW));
}

#[test]
fn an_app_whose_canary_is_out_counts_as_paused() {
    let mut gate = paused_until(Moment::NEVER);
    gate.disable(NOW, Policy::default(), 1, &held());
    assert_eq!(gate.state(), State::Releasing);
    assert_eq!(saved(&gate).state, State::Paused);
    assert!(!is_over::<Clocks>(&saved(&gate), NOW));
}

#[test]
fn a_pause_is_over_with_its_deadline() {
    let one = saved(&paused_until(after(5_000)));
    assert!(!is_over::<Clocks>(&one, after(4_999)));
    assert!(is_over::<Clocks>(&one, after(5_000)));
    assert!(!is_over::<Clocks>(&saved(&paused_until(Moment::NEVER)), NOW));
}

#[test]
fn what_follows_is_nobodys_decision() {
    let mut gate = paused_until(Moment::NEVER);
    let decisions = gate.decisions;
    following(&mut gate, |gate| gate.maintenance(after(1_000), 0));
    assert_eq!((gate.state(), gate.decisions), (State::Maintenance, decisions));
}

/// An nginx with one worker.
struct Nginx(Zone<parking_lot::RawMutex>);

impl Nginx {
    /// With room for so many apps.
    fn new(apps: usize) -> Self {
        let rooms = (1..).map(|pages| pages * 4096);
        let zones = rooms.filter_map(|room| {
            Zone::create(crate::shm::memory(room), 1, parking_lot::RawMutex::INIT).ok()
        });
        Self(zones.into_iter().find(|zone| zone.capacity() >= apps).expect("there is memory"))
    }

    fn call(&self, name: &[u8], action: impl FnOnce(&mut Gate) -> Change) {
        let mut locked = self.0.lock();
        let app = locked.find_or_create(name, 0).expect("there is room");
        locked.update(app, action);
    }

    fn pause(&self, name: &[u8]) {
        self.call(name, |gate| gate.enable(NOW, Moment::NEVER, Policy::default()));
    }

    fn write(&self, paper: &Paper) {
        let draft = draft(self, None, Told::Exactly).expect("there is news");
        draft.write(paper).expect("it is written");
    }

    fn state(&self, name: &[u8]) -> State {
        self.0.lock().find(name).map_or(State::Open, |app| self.0.state(app))
    }
}

impl World for Nginx {
    type Lock = parking_lot::RawMutex;
    type Clock = Clocks;

    fn zone(&self) -> Zone<Self::Lock> {
        self.0
    }

    fn survey(&self, _: AppId) -> Survey {
        Survey::default()
    }

    fn notify(&self) {}

    fn followed(&self, _: &[u8], _: &Change, _: u32) {}
}

/// A file that is what was last written.
#[derive(Default)]
struct Paper(std::cell::RefCell<Saved>);

impl Medium for Paper {
    fn prepare(&self, saved: &Saved) -> io::Result<()> {
        self.0.replace(saved.clone());
        Ok(())
    }

    fn replace(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_decision_is_newer_than_the_file_until_that_is_told() {
    let (nginx, paper) = (Nginx::new(4), Paper::default());
    let other = |serial| Saved { serial, apps: Vec::new() };
    nginx.pause(b"shop");
    take_up(&nginx, &other(1)).expect("there is room");
    assert_eq!(nginx.state(b"shop"), State::Paused, "the other one did not know of it");
    nginx.write(&paper);
    assert_eq!((paper.0.borrow().serial, nginx.0.serial()), (2, 2));
    take_up(&nginx, &other(2)).expect("there is room");
    assert_eq!(nginx.state(b"shop"), State::Paused, "that is what it wrote itself");
    take_up(&nginx, &other(3)).expect("there is room");
    assert_eq!(nginx.state(b"shop"), State::Open);
}

#[test]
fn a_call_that_finds_nothing_to_do_is_a_decision_as_well() {
    let (one, two, paper) = (Nginx::new(4), Nginx::new(4), Paper::default());
    one.pause(b"shop");
    one.write(&paper);
    // It does not know of the pause yet.
    two.call(b"shop", |gate| gate.disable(NOW, Policy::default(), 0, &Survey::default()));
    take_up(&two, &paper.0.borrow()).expect("there is room");
    assert_eq!(two.state(b"shop"), State::Open);
}

#[test]
fn what_an_nginx_begins_with_is_not_its_decision() {
    let (one, two, paper) = (Nginx::new(4), Nginx::new(4), Paper::default());
    one.pause(b"shop");
    one.write(&paper);
    let saved = paper.0.borrow().clone();
    assert_eq!(restore::<Clocks, _>(&two.0, &saved.apps[0]), Ok(true));
    take_up(&two, &Saved { serial: 9, apps: Vec::new() }).expect("there is room");
    assert_eq!(two.state(b"shop"), State::Open);
}

#[test]
fn without_room_for_all_that_the_other_has_paused_it_does_not_agree() {
    let (one, two, paper) = (Nginx::new(64), Nginx::new(1), Paper::default());
    let names: Vec<String> = (0..=two.0.capacity()).map(|app| format!("app-{app}")).collect();
    names.iter().for_each(|name| one.pause(name.as_bytes()));
    one.write(&paper);
    let error = take_up(&two, &paper.0.borrow()).expect_err("there is no room");
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    assert_eq!(two.0.serial(), 0, "it is tried again");
}
