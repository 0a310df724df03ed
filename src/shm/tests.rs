use std::alloc::{Layout, alloc_zeroed};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ptr;
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::thread;

use parking_lot::RawMutex as Lock;
use proptest::prelude::*;

use super::*;
use crate::gate::lane::NO_TICKET;
use crate::gate::policy::Policy;
use crate::gate::{Arrival, Gate};

const PAGE: usize = 4096;

const SLOT: usize = 3;

const NOW: Moment = Moment::from_micros(9_000_000);

const LEASE: Duration = Duration::from_secs(1);

const STARTED: u32 = 7;

/// Memory for a zone, which stays as long as the process.
impl Entry {
    /// A request that went through is over.
    fn leave(&self) {
        self.lane.sub(Count::InFlight);
    }
}

fn memory(size: usize) -> NonNull<u8> {
    let layout = Layout::from_size_align(size.max(PAGE), PAGE).expect("a page is a power of two");
    // SAFETY: the size is not zero.
    NonNull::new(unsafe { alloc_zeroed(layout) }).expect("there is memory")
}

fn create(memory: NonNull<u8>, size: usize, workers: usize) -> Result<Zone<Lock>, Unfit> {
    // SAFETY: the callers pass memory of that size, which they use for this alone.
    unsafe { Zone::create(memory, size, workers, <Lock as RawMutex>::INIT) }
}

/// The smallest size into which so many apps fit.
fn size_for(apps: u32) -> usize {
    let fits = |size: &usize| capacity::<Lock>(*size, 1).is_some_and(|fit| fit >= apps);
    (0..).step_by(8).find(fits).expect("there is one")
}

fn zone(apps: u32) -> Zone<Lock> {
    let size = size_for(apps);
    let zone = create(memory(size), size, 1).expect("it is large enough");
    assert_eq!(zone.capacity(), apps as usize);
    zone
}

/// An app that has just been used, with the lane of one worker.
fn entry(zone: &Zone<Lock>, name: &str) -> Entry {
    let mut locked = zone.lock();
    let app = locked.find_or_create(name.as_bytes(), 0).expect("there is room");
    locked.entry(app, SLOT, 0).expect("there is room")
}

/// As [`entry`], where the name is new and room has to be made for it.
fn crowd_in(zone: &Zone<Lock>, name: &str) -> Result<Entry, Full> {
    let mut locked = zone.lock();
    assert_eq!(locked.find(name.as_bytes()), None);
    let app = locked.find_or_create(name.as_bytes(), usize::MAX)?;
    locked.entry(app, SLOT, 0)
}

fn pause(zone: &Zone<Lock>, app: AppId) {
    zone.lock().update(app, |gate| gate.enable(NOW, Moment::NEVER, Policy::default()));
}

fn resume(zone: &Zone<Lock>, app: AppId) {
    let nobody = Survey::default();
    zone.lock().update(app, |gate| gate.disable(NOW, Policy::default(), 0, &nobody));
}

fn knows(zone: &Zone<Lock>, name: &str) -> bool {
    zone.lock().find(name.as_bytes()).is_some()
}

#[test]
fn memory_that_is_too_small_is_not_touched() {
    let least = size_for(1);
    for size in [0, 1, 8, PAGE, size_of::<Header<Lock>>(), least - 8] {
        let memory = memory(least);
        assert_eq!(create(memory, size, 1).err(), Some(Unfit::TooSmall), "{size}");
        // SAFETY: nothing else uses the memory.
        let touched = unsafe { slice::from_raw_parts(memory.as_ptr(), least) };
        assert!(touched.iter().all(|byte| *byte == 0), "{size}");
    }
    assert_eq!(zone(1).capacity(), 1);
}

#[test]
fn a_zone_stays_within_its_memory() {
    const MARK: u8 = 0xa5;
    let size = size_for(3);
    let memory = memory(size + PAGE);
    // SAFETY: the memory is that large, and nothing else uses it yet.
    unsafe { memory.as_ptr().write_bytes(MARK, size + PAGE) };
    let zone = create(memory, size, 1).expect("it is large enough");
    for name in ["a", "b", "c"] {
        pause(&zone, entry(&zone, name).app());
        zone.lock().entry(AppId(2), SLOT, 0).expect("there is room").lane.add(Count::Held);
    }
    // SAFETY: what lies behind the zone is nobody's.
    let behind = unsafe { slice::from_raw_parts(memory.as_ptr().add(size), PAGE) };
    assert!(behind.iter().all(|byte| *byte == MARK));
}

#[test]
fn more_workers_leave_room_for_fewer_apps() {
    let size = 256 * 1024;
    let [one, many, most] =
        [1, 64, 100_000].map(|workers| create(memory(size), size, workers).expect("large enough"));
    assert!(one.capacity() > many.capacity() && many.capacity() > most.capacity());
    assert_eq!(most.chunks.len(), most.capacity() * SLOTS / CHUNK_LANES);
}

#[test]
fn a_zone_that_is_there_is_taken_up_as_it_is() {
    let size = size_for(2);
    let memory = memory(size);
    let first = create(memory, size, 1).expect("it is large enough");
    pause(&first, entry(&first, "shop").app());
    first.set_serial(7);
    // SAFETY: a zone was made in it.
    let second = unsafe { Zone::<Lock>::attach(memory) }.expect("it is a zone");
    let app = second.lock().find(b"shop").expect("it is known");
    assert_eq!((second.state(app), second.serial()), (State::Paused, 7));
    assert_eq!(second.capacity(), first.capacity());
}

#[test]
fn what_is_no_zone_of_ours_is_foreign() {
    let size = size_for(1);
    let memory = memory(size);
    // SAFETY: the memory is as large as a header, whose numbers these are.
    let attach = |magic: u64, version: u32| unsafe {
        let header = memory.cast::<Header<Lock>>().as_ptr();
        addr_of_mut!((*header).magic).write(magic);
        addr_of_mut!((*header).version).write(version);
        Zone::<Lock>::attach(memory).map(|_| ())
    };
    create(memory, size, 1).expect("it is large enough");
    for (magic, version, expected) in [
        (MAGIC, VERSION, Ok(())),
        (0, 0, Err(Unfit::Foreign)),
        (MAGIC, VERSION + 1, Err(Unfit::Foreign)),
        (MAGIC, VERSION - 1, Err(Unfit::Foreign)),
        (MAGIC.swap_bytes(), VERSION, Err(Unfit::Foreign)),
    ] {
        assert_eq!(attach(magic, version), expected, "{magic:x} {version}");
    }
}

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
    assert_eq!(locked.update(old.app(), |gate| gate.arrive(0, 0)), Some(Arrival::Hold(0)));
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

    assert_eq!(elsewhere(&zone, idle.app()).err(), Some(Full), "none is idle");
    [busy, busy, second].iter().for_each(Entry::leave);
    let again = elsewhere(&zone, idle.app()).expect("one is idle");
    assert_eq!((zone.lanes(busy.app()).count(), zone.lanes(idle.app()).count()), (16, 16));
    assert!(again.pass() && !second.pass());
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
        Count::Trial,
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

#[test]
fn memory_in_use_is_told() {
    let zone = zone(3);
    assert_eq!(zone.memory().used, 0);
    entry(&zone, "a");
    assert_eq!(zone.memory().used, size_of::<App>() + size_of::<Chunk>());
    assert_eq!(zone.memory().size, 3 * (size_of::<App>() + size_of::<Chunk>()));
}

/// Processes with even numbers exist.
fn even(pid: u32) -> bool {
    pid % 2 == 0
}

fn process(pid: u32) -> Process {
    Process { pid, started: STARTED }
}

fn liveness(now: Moment) -> Liveness {
    Liveness { now, lease: LEASE, exists: even, started: |_| Some(STARTED) }
}

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
fn what_is_counted_apart_is_in_flight_for_all_apps() {
    let zone = zone(2);
    let apps = ["shop", "blog"].map(|name| entry(&zone, name).app());
    let seen_by = |me| apps.map(|app| zone.survey(app, me, &liveness(NOW)).in_flight);
    for (slot, pid) in [(0, 100), (1, 101), (900, 102)] {
        zone.enter(slot, process(pid), NOW);
        zone.lock().pass_apart(slot);
    }
    assert_eq!(seen_by(0), [2, 2], "one of the three is dead");
    assert_eq!(seen_by(1), [3, 3], "who asks is there");
    zone.leave_apart(900);
    assert_eq!(seen_by(0), [1, 1]);
    zone.enter(0, process(104), NOW);
    assert_eq!(seen_by(0), [0, 0], "a predecessor's are over");
    zone.lock().pass_apart(SLOTS);
    zone.leave_apart(SLOTS);
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

#[derive(Clone, Debug)]
enum Step {
    Use(u8),
    Pause(u8),
    Resume(u8),
    Pass(u8),
    Leave(u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    let name = || 0..12u8;
    prop_oneof![
        name().prop_map(Step::Use),
        name().prop_map(Step::Pause),
        name().prop_map(Step::Resume),
        name().prop_map(Step::Pass),
        name().prop_map(Step::Leave),
    ]
}

/// What must be so of an app, as long as something keeps it from being forgotten.
#[derive(Default)]
struct Model {
    paused: bool,
    passes: Vec<Entry>,
}

fn take_step(zone: &Zone<Lock>, models: &mut BTreeMap<u8, Model>, step: &Step) {
    let (Step::Use(name)
    | Step::Pause(name)
    | Step::Resume(name)
    | Step::Pass(name)
    | Step::Leave(name)) = step;
    let model = models.entry(*name).or_default();
    if let Step::Leave(_) = step {
        return model.passes.pop().iter().for_each(Entry::leave);
    }
    let mut locked = zone.lock();
    let Ok(app) = locked.find_or_create(&[b'n', *name], usize::MAX) else { return };
    let entry = locked.entry(app, SLOT, 0).expect("there is a chunk for each");
    drop(locked);
    assert_eq!(entry.is_open(), !model.paused);
    match step {
        Step::Pause(_) => {
            pause(zone, app);
            model.paused = true;
        }
        Step::Resume(_) => {
            resume(zone, app);
            model.paused = false;
        }
        Step::Pass(_) if entry.pass() => model.passes.push(entry),
        _ => {}
    }
}

fn check(zone: &Zone<Lock>, models: &BTreeMap<u8, Model>) {
    let locked = zone.lock();
    for (name, model) in models {
        let found = locked.find(&[b'n', *name]);
        let Some(app) = found else {
            assert!(!model.paused && model.passes.is_empty(), "app {name} is forgotten");
            continue;
        };
        assert_eq!(locked.name(app), [b'n', *name]);
        assert_eq!(zone.state(app) == State::Paused, model.paused);
        assert_eq!(locked.gate(app).map(Gate::state), Some(zone.state(app)));
        let in_flight: u32 = zone.lanes(app).map(|(_, lane)| lane.get(Count::InFlight)).sum();
        assert_eq!(in_flight as usize, model.passes.len());
        assert!(model.passes.iter().all(|entry| entry.app() == app), "app {name} has moved");
    }
}

proptest! {
    #[test]
    fn apps_come_and_go_and_none_is_taken_for_another(
        steps in proptest::collection::vec(any_step(), 0..200),
    ) {
        let zone = zone(5);
        let mut models = BTreeMap::new();
        for step in &steps {
            take_step(&zone, &mut models, step);
            check(&zone, &models);
        }
    }

    #[test]
    fn chains_of_names_hold(order in proptest::collection::vec(any::<u16>(), 1..400)) {
        let zone = zone(40);
        let mut last = Vec::new();
        for number in &order {
            let name = format!("{number}");
            let mut locked = zone.lock();
            let app = locked.find_or_create(name.as_bytes(), usize::MAX).expect("some are idle");
            prop_assert_eq!(locked.name(app), name.as_bytes());
            last.push((name, app));
        }
        let locked = zone.lock();
        for app in locked.apps() {
            prop_assert_eq!(locked.find(locked.name(app)), Some(app));
        }
        let (name, app) = last.pop().expect("there was one");
        prop_assert_eq!(locked.find(name.as_bytes()), Some(app));
    }
}

const THREADS: usize = 3;
const ROUNDS: usize = if cfg!(miri) { 3 } else { 300 };

/// Whoever pauses and then finds nothing in flight knows that nobody passes: neither one who looked
/// before and counts itself late, nor one who counted itself before and looks late.
#[test]
fn nobody_slips_through_while_an_app_is_paused() {
    let zone = zone(1);
    let app = entry(&zone, "shop").app();
    let (quiet, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let begin = Barrier::new(THREADS + 1);
    thread::scope(|scope| {
        for slot in 0..THREADS {
            let (zone, quiet, done, begin) = (&zone, &quiet, &done, &begin);
            scope.spawn(move || {
                let entry = zone.lock().entry(app, slot, 0).expect("there is room");
                zone.enter(slot, process(2), NOW);
                begin.wait();
                while !done.load(SeqCst) {
                    if entry.pass() {
                        assert!(!quiet.load(SeqCst), "a request passes a quiet app");
                        thread::yield_now();
                        assert!(!quiet.load(SeqCst), "a request is in flight in a quiet app");
                        entry.leave();
                    }
                }
            });
        }
        begin.wait();
        for _ in 0..ROUNDS {
            pause(&zone, app);
            while zone.survey(app, SLOTS, &liveness(NOW)).in_flight > 0 {
                thread::yield_now();
            }
            quiet.store(true, SeqCst);
            thread::yield_now();
            quiet.store(false, SeqCst);
            resume(&zone, app);
            thread::yield_now();
        }
        done.store(true, SeqCst);
    });
}

/// Whoever passes with an entry that it has kept is counted where its app is.
#[test]
fn nobody_is_counted_for_an_app_that_has_taken_the_record_over() {
    let zone = zone(2);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for slot in 0..THREADS {
            let (zone, done) = (&zone, &done);
            scope.spawn(move || {
                let name = format!("mine-{slot}");
                while !done.load(SeqCst) {
                    use_for_a_while(zone, name.as_bytes(), slot);
                }
            });
        }
        for round in 0..ROUNDS {
            let _ = zone.lock().find_or_create(format!("new-{round}").as_bytes(), 4);
            thread::yield_now();
        }
        done.store(true, SeqCst);
    });
    let total: u32 = (0..2)
        .flat_map(|app| zone.lanes(AppId(app)))
        .map(|(_, lane)| lane.get(Count::InFlight))
        .sum();
    assert_eq!(total, 0);
}

fn use_for_a_while(zone: &Zone<Lock>, name: &[u8], slot: usize) {
    let mut locked = zone.lock();
    let Ok(app) = locked.find_or_create(name, 4) else { return };
    let Ok(entry) = locked.entry(app, slot, 0) else { return };
    drop(locked);
    for _ in 0..20 {
        if entry.pass() {
            assert_eq!(zone.lock().name(entry.app()), name);
            entry.leave();
        }
    }
}

#[test]
fn tickets_are_given_out_once_to_all_threads_together() {
    let zone = zone(1);
    let app = entry(&zone, "shop").app();
    pause(&zone, app);
    let mut tickets: Vec<u64> = thread::scope(|scope| {
        let take = || {
            (0..ROUNDS).map(|_| match zone.lock().update(app, |gate| gate.arrive(0, 0)) {
                Some(Arrival::Hold(ticket)) => ticket,
                other => panic!("{other:?}"),
            })
        };
        let threads: Vec<_> =
            (0..THREADS).map(|_| scope.spawn(move || take().collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it ends well")).collect()
    });
    tickets.sort_unstable();
    assert_eq!(tickets, (0..(THREADS * ROUNDS) as u64).collect::<Vec<_>>());
}
