//! Several threads at the same zone.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use super::*;
use crate::gate::Arrival;

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
    let first = tickets.first().copied().unwrap_or_default();
    assert_eq!(tickets, (first..first + (THREADS * ROUNDS) as u64).collect::<Vec<_>>());
}
