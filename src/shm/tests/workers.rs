//! Who lives, who keeps its turn, and when nginx ends.

use std::cell::Cell;

use super::*;
use crate::gate::lane::NO_TICKET;
use crate::shared::hooks::BETWEEN;

/// An app with a worker in each of the slots 0 to 3, each holding a request.
fn four_workers() -> (Zone<Lock>, AppId) {
    let zone = zone(1);
    let app = entry(&zone, "shop").app();
    for slot in 0..4 {
        zone.enter(slot, process(100 + 2 * slot as u32), NOW);
        let lane = zone.lock().entry(app, slot, 0).expect("there is room").lane;
        lane.publish_head(10 + slot as u64, Moment::from_micros(slot as u64));
        lane.add(Count::Held);
    }
    (zone, app)
}

#[test]
fn a_survey_counts_all_that_live() {
    let (zone, app) = four_workers();
    let survey = zone.survey(app, 0, &liveness(NOW));
    assert_eq!((survey.held, survey.first_anywhere, survey.first_elsewhere), (4, 10, 11));
    assert_eq!(survey.oldest, Moment::from_micros(0));
    let survey = zone.survey(app, 2, &liveness(NOW));
    assert_eq!((survey.held, survey.first_anywhere, survey.first_elsewhere), (4, 10, 10));
    assert_eq!(zone.slots().collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn a_survey_leaves_out_the_dead_and_those_who_left() {
    let (zone, app) = four_workers();
    zone.enter(0, process(1), NOW);
    let lane = zone.lock().entry(app, 0, 0).expect("there is room").lane;
    lane.publish_head(1, NOW);
    lane.add(Count::InFlight);
    zone.leave(1);
    let survey = zone.survey(app, 3, &liveness(NOW));
    assert_eq!((survey.held, survey.in_flight), (2, 0));
    assert_eq!((survey.first_anywhere, survey.first_elsewhere), (12, 12));
    let own = zone.survey(app, 0, &liveness(NOW));
    assert_eq!((own.in_flight, own.first_anywhere), (1, 1), "who asks is there");
}

thread_local! {
    static WATCHED: Cell<Option<(Zone<Lock>, AppId)>> = const { Cell::new(None) };
}

#[test]
fn who_shows_itself_more_often_keeps_its_turn_meanwhile() {
    let (zone, app) = four_workers();
    let now = NOW.plus(Duration::from_secs(7));
    (0..4).for_each(|slot| zone.beat(slot, NOW, Duration::from_secs(2)));
    WATCHED.set(Some((zone, app)));
    fn still_waits(_: usize, _: bool) {
        let between = BETWEEN.take();
        let (zone, app) = WATCHED.get().expect("it was set");
        let survey = zone.survey(app, 3, &liveness(NOW.plus(Duration::from_secs(7))));
        assert_eq!(survey.first_elsewhere, 10);
        BETWEEN.set(between);
    }
    BETWEEN.set(Some(still_waits));
    zone.beat(0, now, Duration::from_millis(20));
    BETWEEN.set(None);
}

thread_local! {
    /// What the system says of every process, and how often it was asked.
    static SYSTEM: Cell<(Option<u32>, u32)> = const { Cell::new((Some(STARTED), 0)) };
}

fn ask_system(_: u32) -> Option<u32> {
    let (started, asked) = SYSTEM.get();
    SYSTEM.set((started, asked + 1));
    started
}

/// The requests held by others than the worker in slot 0, and how often the system was asked.
fn held_elsewhere(zone: &Zone<Lock>, app: AppId, after: Duration) -> (u32, u32) {
    let liveness = Liveness { started: ask_system, ..liveness(NOW.plus(after)) };
    SYSTEM.set((SYSTEM.get().0, 0));
    let held = zone.survey(app, 0, &liveness).held - 1;
    (held, SYSTEM.get().1)
}

const LATE: Duration = Duration::from_millis(1001);

#[test]
fn a_process_with_the_id_of_a_dead_worker_is_none() {
    let (zone, app) = four_workers();
    for said in [STARTED + 1, 0] {
        SYSTEM.set((Some(said), 0));
        assert_eq!(held_elsewhere(&zone, app, LEASE), (3, 0), "they have just shown themselves");
        assert_eq!(held_elsewhere(&zone, app, LATE), (0, 3));
        assert_eq!(held_elsewhere(&zone, app, LATE), (0, 0), "that is known from now on");
        assert_eq!(zone.slots().collect::<Vec<_>>(), [0]);
        (1..4).for_each(|slot| zone.enter(slot, process(200), NOW));
        (1..4).for_each(|slot| {
            let lane = zone.lock().entry(app, slot, 0).expect("there is room").lane;
            lane.add(Count::Held);
        });
    }
}

#[test]
fn who_lives_is_asked_for_once_a_lease() {
    let (zone, app) = four_workers();
    SYSTEM.set((Some(STARTED), 0));
    assert_eq!(held_elsewhere(&zone, app, LATE), (3, 3));
    assert_eq!(held_elsewhere(&zone, app, LATE + LEASE), (3, 0));
    zone.beat(2, NOW.plus(LATE + LEASE), Duration::ZERO);
    assert_eq!(held_elsewhere(&zone, app, 2 * LATE), (3, 2), "one has shown itself");
}

#[test]
fn who_cannot_be_told_from_another_lives() {
    let (zone, app) = four_workers();
    SYSTEM.set((None, 0));
    assert_eq!(held_elsewhere(&zone, app, LATE), (3, 3));
    let (zone, app) = four_workers();
    SYSTEM.set((Some(STARTED + 1), 0));
    for slot in 1..4 {
        zone.enter(slot, Process { pid: 200, started: 0 }, NOW);
        zone.lock().entry(app, slot, 0).expect("there is room").lane.add(Count::Held);
    }
    assert_eq!(held_elsewhere(&zone, app, LATE), (3, 0));
}

#[test]
fn nginx_ends_also_where_another_process_has_the_id_of_a_worker() {
    let zone = zone(1);
    let cycle = zone.next_cycle();
    zone.enter(0, process(100), NOW);
    zone.enter(1, process(102), NOW);
    zone.exits(1, cycle);
    SYSTEM.set((Some(STARTED + 1), 0));
    let later = Liveness { started: ask_system, ..liveness(NOW.plus(LATE)) };
    assert!(!has_ended(&zone) && zone.has_ended(&later, &Watch::default()));
}

#[test]
fn the_start_of_a_process_is_read() {
    let stat = |name: &str, state: char, start: u64| {
        format!(
            "30782 ({name}) {state} 30781 30781 30779 0 -1 4194624 310 0 0 0 1 2 0 0 20 0 1 0 {start} 12 3\n"
        )
    };
    for name in ["nginx", "nginx: worker", "a) Z 1 (b", ") ) S 1"] {
        assert_eq!(start_of(stat(name, 'S', 104_233).as_bytes()), Some(104_233), "{name}");
        assert_eq!(start_of(stat(name, 'Z', 104_233).as_bytes()), Some(0), "{name}");
    }
    assert_eq!(start_of(stat("x", 'R', (5 << 32) + 3).as_bytes()), Some(3));
    for broken in ["", "1", "1 (x", "1 (x)", "1 (x) S", "1 (x) S 1 2 3", &stat("x", 'S', 1)[..60]] {
        assert_eq!(start_of(broken.as_bytes()), None, "{broken}");
    }
    assert_eq!(start_of(b"1 (x) \xff"), None);
}

#[test]
fn what_is_unattributed_is_in_flight_for_all_apps() {
    let zone = zone(2);
    let apps = ["shop", "blog"].map(|name| entry(&zone, name).app());
    let seen_by = |me| apps.map(|app| zone.survey(app, me, &liveness(NOW)).in_flight);
    for (slot, pid) in [(0, 100), (1, 101), (900, 102)] {
        zone.enter(slot, process(pid), NOW);
        zone.lock().pass_unattributed(slot);
    }
    assert_eq!(seen_by(0), [2, 2], "one of the three is dead");
    assert_eq!(seen_by(1), [3, 3], "who asks is there");
    zone.leave_unattributed(900);
    assert_eq!(seen_by(0), [1, 1]);
    zone.enter(0, process(104), NOW);
    assert_eq!(seen_by(0), [0, 0], "a predecessor's are over");
    zone.lock().pass_unattributed(SLOTS);
    zone.leave_unattributed(SLOTS);
}

#[test]
fn who_shows_no_life_loses_its_turn_but_not_its_count() {
    let (zone, app) = four_workers();
    let seen_at = |after: Duration| zone.survey(app, 3, &liveness(NOW.plus(after)));
    assert_eq!(seen_at(LEASE).first_elsewhere, 10, "the lease has not run out");
    let late = seen_at(LEASE + Duration::from_micros(1));
    assert_eq!((late.first_elsewhere, late.first_anywhere, late.held), (NO_TICKET, 10, 4));
    zone.beat(1, NOW.plus(LEASE), Duration::ZERO);
    assert_eq!(seen_at(2 * LEASE).first_elsewhere, 11, "one has shown itself again");
    assert_eq!(zone.survey(app, 3, &liveness(Moment::default())).first_elsewhere, 10);
}

#[test]
fn who_looks_seldom_has_a_longer_lease() {
    let (zone, app) = four_workers();
    zone.beat(0, NOW, Duration::from_secs(5));
    zone.beat(1, NOW, Duration::from_millis(10));
    let seen_at = |after: Duration| zone.survey(app, 3, &liveness(NOW.plus(after))).first_elsewhere;
    assert_eq!(seen_at(Duration::from_secs(20)), 10);
    assert_eq!(seen_at(Duration::from_micros(20_000_001)), NO_TICKET);
    zone.beat(0, NOW, Duration::MAX);
    assert_eq!(seen_at(Duration::from_secs(1_000_000)), 10, "no time is too long");
}

#[test]
fn who_enters_clears_its_own_lane_and_accounts_for_what_was_cut_off() {
    let (zone, app) = four_workers();
    zone.enter(1, process(200), NOW);
    for (slot, lane) in zone.lanes(app).take(4) {
        let left = u32::from(slot != 1);
        assert_eq!(lane.get(Count::Held), left, "slot {slot}");
        assert_eq!(lane.head() == NO_TICKET, slot == 1, "slot {slot}");
    }
    assert_eq!(zone.lock().gate(app).map(|gate| gate.totals.aborted), Some(1));
    for slot in [SLOTS, usize::MAX] {
        zone.enter(slot, process(300), NOW);
        zone.beat(slot, NOW, LEASE);
        zone.leave(slot);
    }
}

#[test]
fn changes_and_configurations_are_counted() {
    let zone = zone(1);
    assert_eq!((zone.changes(), zone.cycle()), (0, 0));
    zone.note_change();
    assert_eq!((zone.next_cycle(), zone.next_cycle()), (1, 2));
    assert_eq!((zone.changes(), zone.cycle()), (1, 2));
}

/// As it looks to a worker that has not watched before.
fn has_ended(zone: &Zone<Lock>) -> bool {
    zone.has_ended(&liveness(NOW), &Watch::default())
}

#[test]
fn nginx_ends_when_nobody_stays() {
    let zone = zone(1);
    let old = zone.next_cycle();
    zone.enter(0, process(100), NOW);
    zone.enter(1, process(102), NOW);
    assert!(!has_ended(&zone));
    assert!(zone.exits(0, old), "that is news");
    assert!(!zone.exits(0, old), "that is none");
    assert!(!has_ended(&zone), "one stays");
    zone.exits(1, old);
    assert!(has_ended(&zone));
}

#[test]
fn a_reload_is_no_end() {
    let zone = zone(1);
    let old = zone.next_cycle();
    zone.enter(0, process(100), NOW);
    let new = zone.next_cycle();
    zone.enter(1, process(102), NOW);
    zone.exits(0, old);
    assert!(!has_ended(&zone), "a worker of the new configuration is there");
    zone.leave(1);
    assert!(!has_ended(&zone), "others are about to come");
    zone.enter(1, process(104), NOW);
    zone.exits(1, new);
    assert!(has_ended(&zone));
}

#[test]
fn who_was_killed_does_not_stay() {
    let zone = zone(1);
    let cycle = zone.next_cycle();
    zone.enter(0, process(101), NOW);
    zone.enter(1, process(102), NOW);
    zone.exits(1, cycle);
    assert!(has_ended(&zone));
    zone.enter(0, process(104), NOW);
    assert!(!has_ended(&zone), "its place was taken");
}

/// A zone with an old worker that exits, in slot 0, and a new one that was killed, in slot 1.
fn abandoned() -> Zone<Lock> {
    let zone = zone(1);
    let old = zone.next_cycle();
    zone.enter(0, process(100), NOW);
    zone.next_cycle();
    zone.enter(1, process(101), NOW);
    zone.exits(0, old);
    zone
}

/// What a worker sees that looks so long after `NOW`.
fn looks(zone: &Zone<Lock>, watch: &Watch, after: impl IntoIterator<Item = u64>) -> Vec<bool> {
    let at = |millis| liveness(NOW.plus(Duration::from_millis(millis)));
    after.into_iter().map(|millis| zone.has_ended(&at(millis), watch)).collect()
}

#[test]
fn nginx_ends_when_nobody_who_stays_is_seen_for_long_enough() {
    let zone = abandoned();
    for interval in [10, 250, 1000] {
        let seen = looks(&zone, &Watch::default(), (0..=6000).step_by(interval));
        let first = seen.iter().position(|ended| *ended);
        assert_eq!(first, Some(5000 / interval), "who looks each {interval} ms");
        assert!(seen.iter().skip(5000 / interval).all(|ended| *ended));
    }
}

#[test]
fn who_comes_meanwhile_is_no_end() {
    let (zone, watch) = (abandoned(), Watch::default());
    assert_eq!(looks(&zone, &watch, [0, 1000, 2000, 3000, 4000, 4999]), [false; 6]);
    zone.enter(1, process(102), NOW);
    assert_eq!(looks(&zone, &watch, [5000, 6000, 7000]), [false; 3], "it was replaced");
    zone.enter(1, process(103), NOW);
    let seen = looks(&zone, &watch, (8..=13).map(|second| second * 1000));
    assert_eq!(seen, [false, false, false, false, false, true], "this one was not");
    zone.enter(1, process(104), NOW);
    assert_eq!(looks(&zone, &watch, [14_000]), [false], "until late");
}

#[test]
fn who_was_stopped_has_not_watched() {
    let (zone, watch) = (abandoned(), Watch::default());
    assert_eq!(looks(&zone, &watch, [0, 60_000, 120_000, 180_000, 240_000]), [false; 5]);
    assert_eq!(looks(&zone, &watch, [240_999, 241_000]), [false, true]);
}
