//! Apps and lanes: who is found, who is forgotten, and who gets what is left.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::ptr;

use super::*;
use crate::gate::Arrival;
use crate::gate::lane::NO_TICKET;
use crate::shared::hooks::BETWEEN;

#[test]
fn apps_are_found_by_their_whole_name() {
    let zone = zone(600);
    let longest = "n".repeat(MAX_NAME);
    let names = ["shop", "Shop", "shop\0", "sho", "", " ", &longest, &longest[1..]];
    let apps = names.map(|name| entry(&zone, name).app());
    for (name, app) in names.iter().zip(apps) {
        let locked = zone.lock();
        assert_eq!(locked.find(name.as_bytes()), Some(app), "{name:?}");
        assert_eq!(locked.name(app), name.as_bytes());
    }
    assert_eq!(zone.lock().apps().collect::<Vec<_>>(), apps);
    assert_eq!(zone.lock().find(b"shops"), None);
}

#[test]
fn a_name_of_256_bytes_has_no_place() {
    let zone = zone(2);
    let mut locked = zone.lock();
    for length in [MAX_NAME + 1, 100_000] {
        let name = vec![b'n'; length];
        assert_eq!(locked.find_or_create(&name, usize::MAX), Err(Full));
        assert_eq!(locked.find(&name), None);
    }
    assert_eq!(locked.in_use().0, 0, "no record is spent on it");
}

#[test]
fn the_state_is_shown_without_the_lock() {
    let zone = zone(2);
    let (shop, blog) = (entry(&zone, "shop").app(), entry(&zone, "blog").app());
    pause(&zone, shop);
    assert_eq!((zone.state(shop), zone.state(blog)), (State::Paused, State::Open));
    zone.lock().update(shop, |gate| gate.maintenance(NOW, 0));
    assert_eq!(zone.state(shop), State::Maintenance);
    resume(&zone, shop);
    assert_eq!((zone.state(shop), zone.state(blog)), (State::Open, State::Open));
    let nowhere = AppId(77);
    assert_eq!(zone.state(nowhere), State::Open);
    assert_eq!(zone.lock().update(nowhere, |_| ()), None);
    assert!(zone.lock().gate(nowhere).is_none() && zone.lock().name(nowhere).is_empty());
}

#[test]
fn an_open_app_is_passed_and_counted() {
    let zone = zone(1);
    let entry = entry(&zone, "shop");
    assert!(entry.pass() && entry.is_open());
    assert_eq!(entry.lane.get(Count::InFlight), 1);
    pause(&zone, entry.app());
    assert!(!entry.pass() && !entry.is_open());
    assert_eq!(entry.lane.get(Count::InFlight), 1, "who does not pass is not counted");
    entry.leave();
    resume(&zone, entry.app());
    assert!(entry.pass(), "the entry is good again");
}

#[test]
fn the_least_recently_used_app_is_forgotten() {
    let zone = zone(3);
    let [a, b, c] = ["a", "b", "c"].map(|name| entry(&zone, name));
    crowd_in(&zone, "d").expect("one is idle");
    assert!(!knows(&zone, "a"), "all were as new: the first goes");
    assert!(b.pass());
    b.leave();
    crowd_in(&zone, "e").expect("one is idle");
    assert!(knows(&zone, "b") && knows(&zone, "d"), "they were used since");
    assert!(!a.pass() && b.pass() && !c.pass());
}

#[test]
fn what_comes_once_makes_room_before_what_comes_again() {
    let zone = zone(3);
    entry(&zone, "shop");
    for round in 0..10 {
        entry(&zone, "shop");
        assert!(zone.lock().find_or_create(format!("once-{round}").as_bytes(), 2).is_ok());
        assert!(knows(&zone, "shop"));
    }
    for round in 0..3 {
        assert!(crowd_in(&zone, &format!("new-{round}")).is_ok());
    }
    assert!(!knows(&zone, "shop"), "it was not used any more");
}

#[test]
fn what_is_busy_is_never_forgotten() {
    for count in [Count::InFlight, Count::Upgraded, Count::Held] {
        let zone = zone(2);
        let (busy, idle) = (entry(&zone, "busy"), entry(&zone, "idle"));
        busy.lane.add(count);
        for round in 0..10 {
            crowd_in(&zone, &format!("new-{round}")).expect("one is idle");
            assert!(knows(&zone, "busy"), "{count:?}");
        }
        assert!(busy.pass(), "its entry stays good");
        assert!(!idle.pass());
    }
}

#[test]
fn what_is_busy_in_another_worker_is_not_forgotten() {
    let zone = zone(1);
    let app = entry(&zone, "busy").app();
    let elsewhere = zone.lock().entry(app, SLOT + 1, 0).expect("there is room");
    assert!(elsewhere.pass());
    assert_eq!(crowd_in(&zone, "new").err(), Some(Full));
    elsewhere.leave();
    assert!(crowd_in(&zone, "new").is_ok());
}

#[test]
fn what_is_not_open_is_never_forgotten() {
    let zone = zone(3);
    let [paused, maintained, idle] =
        ["paused", "maintained", "idle"].map(|name| entry(&zone, name));
    pause(&zone, paused.app());
    zone.lock().update(maintained.app(), |gate| gate.maintenance(NOW, 0));
    for round in 0..10 {
        crowd_in(&zone, &format!("new-{round}")).expect("one is idle");
    }
    assert!(knows(&zone, "paused") && knows(&zone, "maintained"));
    assert!(!idle.pass());
}

#[test]
fn a_zone_full_of_what_must_stay_says_so() {
    let zone = zone(4);
    for name in ["a", "b", "c", "d"] {
        pause(&zone, entry(&zone, name).app());
    }
    for search in [0, 1, 64, usize::MAX] {
        assert_eq!(zone.lock().find_or_create(b"new", search), Err(Full), "{search}");
    }
    assert!(["a", "b", "c", "d"].iter().all(|name| knows(&zone, name)));
}

#[test]
fn made_up_names_cannot_fill_a_zone() {
    let zone = zone(8);
    let (shop, blog) = (entry(&zone, "shop"), entry(&zone, "blog"));
    pause(&zone, shop.app());
    assert!(blog.pass());
    for number in 0..1000 {
        let name = format!("host-{number}");
        let mut locked = zone.lock();
        // What a request may search for is bounded; it passes uncounted if nothing is found.
        let Ok(app) = locked.find_or_create(name.as_bytes(), 64) else { panic!("{name}") };
        let made_up = locked.entry(app, SLOT, 0).expect("there is room");
        drop(locked);
        assert!(made_up.pass());
        made_up.leave();
    }
    assert_eq!(zone.state(shop.app()), State::Paused);
    assert!(knows(&zone, "shop") && knows(&zone, "blog"));
}

#[test]
fn a_short_search_gives_up() {
    let zone = zone(4);
    for name in ["a", "b", "c", "d"] {
        assert_eq!(entry(&zone, name).app(), entry(&zone, name).app(), "it is used again");
    }
    let search = |name: &[u8]| zone.lock().find_or_create(name, 1);
    for _ in 0..4 {
        assert_eq!(search(b"new"), Err(Full), "each is spared once");
    }
    assert!(search(b"new").is_ok());
}

#[test]
fn who_takes_a_record_over_finds_nothing_in_it() {
    let zone = zone(1);
    let old = entry(&zone, "old");
    pause(&zone, old.app());
    let mut locked = zone.lock();
    let held = locked.update(old.app(), |gate| gate.arrive(0, 0));
    assert!(matches!(held, Some(Arrival::Hold(_))));
    drop(locked);
    resume(&zone, old.app());
    let new = crowd_in(&zone, "new").expect("the old one is idle");
    assert_eq!(new.app(), old.app(), "there is but one record");
    assert!(!old.pass() && new.pass(), "only the new entry fits");
    assert_eq!(new.lane.get(Count::InFlight), 1);
    let locked = zone.lock();
    let gate = locked.gate(new.app()).expect("it is there");
    assert_eq!((gate.totals, gate.pauses, gate.since), Default::default());
}

#[test]
fn each_worker_has_a_lane_of_its_own_in_each_app() {
    let zone = zone(2);
    let mut locked = zone.lock();
    let mut lanes = Vec::new();
    for name in [b"a", b"b"] {
        let app = locked.find_or_create(name, 0).expect("there is room");
        for slot in 0..CHUNK_LANES {
            let lane = locked.entry(app, slot, 0).expect("there is room").lane;
            assert!(!lanes.iter().any(|other| ptr::eq(*other, lane)));
            assert!(ptr::eq(lane, locked.entry(app, slot, 0).expect("there is room").lane));
            lanes.push(lane);
        }
        assert_eq!(zone.lanes(app).count(), CHUNK_LANES);
    }
}

#[test]
fn lanes_run_out_and_records_keep_theirs() {
    let zone = zone(2);
    let a = entry(&zone, "a");
    let mut locked = zone.lock();
    assert_eq!(locked.entry(a.app(), SLOTS, 0).err(), Some(Full), "there is no such slot");
    assert!(locked.entry(a.app(), SLOTS - 1, 0).is_ok(), "a second chunk for the same app");
    let b = locked.find_or_create(b"b", 0).expect("there is room");
    assert_eq!(locked.entry(b, 0, 0).err(), Some(Full), "two chunks are all there are");
    assert!(locked.entry(a.app(), SLOTS - 2, 0).is_ok());
    assert_eq!(locked.entry(AppId(9), 0, 0).err(), Some(Full), "there is no such app");
    drop(locked);
    let slots: Vec<_> = zone.lanes(a.app()).map(|(slot, _)| slot).collect();
    let expected: Vec<_> = (0..CHUNK_LANES).chain(SLOTS - CHUNK_LANES..SLOTS).collect();
    assert_eq!(slots, expected);
    let c = crowd_in(&zone, "c").expect("a is idle, and has lanes");
    assert_eq!((c.app(), zone.lanes(c.app()).count()), (a.app(), 2 * CHUNK_LANES));
}

/// An entry in another chunk than that of `SLOT`, which has to be taken from somewhere.
fn elsewhere(zone: &Zone<Lock>, app: AppId) -> Result<Entry, Full> {
    zone.lock().entry(app, SLOT + CHUNK_LANES, usize::MAX)
}

#[test]
fn an_idle_app_gives_up_its_lanes() {
    let zone = zone(2);
    let (busy, idle) = (entry(&zone, "busy"), entry(&zone, "idle"));
    assert!(busy.pass());
    let second = elsewhere(&zone, busy.app()).expect("one is idle");
    assert_eq!((zone.lanes(busy.app()).count(), zone.lanes(idle.app()).count()), (32, 0));
    assert!(!idle.pass() && idle.lane.is_quiet(), "who comes to it has to look again");
    assert!(busy.pass() && second.pass(), "the other's lanes are as before");
    assert!(knows(&zone, "idle"), "it is not forgotten");
    assert!(idle.is_apps(), "who has seen it before still knows it");

    assert_eq!(elsewhere(&zone, idle.app()).err(), Some(Full), "none is idle");
    [busy, busy, second].iter().for_each(Entry::leave);
    let again = elsewhere(&zone, idle.app()).expect("one is idle");
    assert_eq!((zone.lanes(busy.app()).count(), zone.lanes(idle.app()).count()), (16, 16));
    assert!(again.pass() && !second.pass());
    assert!(again.is_of_same_app(&idle) && !again.is_of_same_app(&busy));
}

#[test]
fn an_app_is_another_than_the_one_that_had_its_record() {
    let zone = zone(1);
    let first = entry(&zone, "first");
    let second = crowd_in(&zone, "second").expect("the first is idle");
    assert!(!first.is_apps() && second.is_apps());
    assert!(first.app() == second.app() && !first.is_of_same_app(&second));
}

#[test]
fn whoever_is_not_idle_keeps_its_lanes() {
    let alone = zone(1);
    let only = entry(&alone, "only");
    assert_eq!(elsewhere(&alone, only.app()).err(), Some(Full), "not from itself");

    let zone = zone(2);
    let (poor, rich) = (entry(&zone, "poor"), entry(&zone, "rich"));
    let counts = [
        Count::Held,
        Count::InFlight,
        Count::Upgraded,
        Count::Released,
        Count::Canary,
        Count::Waiting,
    ];
    for count in counts {
        rich.lane.add(count);
        assert_eq!(elsewhere(&zone, poor.app()).err(), Some(Full), "{count:?}");
        rich.lane.sub(count);
    }
    rich.lane.publish_head(7, NOW);
    assert_eq!(elsewhere(&zone, poor.app()).err(), Some(Full), "a head that is not taken back yet");
    rich.lane.publish_head(NO_TICKET, Moment::NEVER);
    pause(&zone, rich.app());
    assert_eq!(elsewhere(&zone, poor.app()).err(), Some(Full), "what is paused holds soon");
    resume(&zone, rich.app());
    assert!(rich.pass(), "its entry has been good all the time");
    rich.leave();
    assert!(elsewhere(&zone, poor.app()).is_ok());
}

thread_local! {
    /// How many accesses there are until the worker dies.
    static LEFT: Cell<usize> = const { Cell::new(0) };
}

#[test]
fn who_dies_while_an_app_is_entered_leaves_none_twice_and_none_that_nobody_finds() {
    fn dies(_: usize, _: bool) {
        LEFT.set(LEFT.get().wrapping_sub(1));
        assert_ne!(LEFT.get(), usize::MAX, "it dies");
    }
    let enter = |zone: &Zone<Lock>, name: &str| {
        zone.lock().find_or_create(name.as_bytes(), usize::MAX).expect("there is room")
    };
    for (known, accesses) in (0..=2).flat_map(|known| (0..20).map(move |left| (known, left))) {
        let zone = zone(2);
        for name in &["shop", "blog"][..known] {
            enter(&zone, name);
        }
        LEFT.set(accesses);
        BETWEEN.set(Some(dies));
        let _ = panic::catch_unwind(AssertUnwindSafe(|| enter(&zone, "news")));
        BETWEEN.set(None);
        for _ in 0..2 {
            let locked = zone.lock();
            for app in locked.apps() {
                assert_eq!(locked.find(locked.name(app)), Some(app), "{accesses} accesses");
            }
            drop(locked);
            enter(&zone, "news");
        }
    }
}
