mod canary;
mod steps;

use core::time::Duration;

use super::canary::Outcome;
use super::lane::{Count, Lane};
use super::release::WINDOW;
use super::*;

/// The first ticket of those who arrive while an app is closed that was open before.
const FIRST: Ticket = outage::RESERVED;

const START: Moment = Moment::from_micros(1_000_000);

fn at(millis: u64) -> Moment {
    START.plus(Duration::from_millis(millis))
}

/// What a worker sees when nobody is held.
fn nobody() -> Survey {
    Survey::default()
}

/// What a worker sees whose own requests are all that is held.
fn somebody() -> Survey {
    Survey { held: 3, first_anywhere: 0, ..Survey::default() }
}

fn paced(rate: u32, burst: u32, concurrency: u32) -> Policy {
    Policy { rate, burst, concurrency, ..Policy::default() }
}

/// A gate in a state, with three tickets given out if it holds at all.
fn gate_in(state: State) -> Gate {
    let mut gate = Gate::default();
    if state == State::Open {
        return gate;
    }
    gate.enable(START, Moment::NEVER, Policy::default());
    for ticket in 0..3 {
        assert_eq!(gate.arrive(ticket as u32, 0), Arrival::Hold(FIRST + ticket));
    }
    match state {
        State::Releasing => gate.disable(START, Policy::default(), 0, &somebody()),
        State::Maintenance => gate.maintenance(START, 30),
        _ => gate.unchanged(),
    };
    assert_eq!(gate.state(), state);
    gate
}

fn releasing(policy: Policy) -> Gate {
    let mut gate = gate_in(State::Paused);
    gate.disable(START, policy, 0, &somebody());
    gate
}

fn trying(size: u32) -> Gate {
    let mut gate = gate_in(State::Paused);
    gate.disable(START, Policy::default(), size, &somebody());
    gate
}

/// Lets requests of a canary go; returns its number.
fn let_go(gate: &mut Gate, count: u32) -> u64 {
    assert!(gate.take(START, count));
    gate.canaries
}

#[test]
fn a_pause_has_a_number_that_no_other_has_had() {
    let mut gate = Gate::default();
    gate.number_above(1_000);
    gate.enable(START, Moment::NEVER, Policy::default());
    assert!(gate.is_in_pause(1_001));
    gate.number_above(2_000);
    gate.enable(START, Moment::NEVER, Policy::default());
    assert!(gate.is_in_pause(1_001), "a further call leaves it the same pause");
    gate.disable(START, Policy::default(), 0, &nobody());
    assert!(!gate.is_in_pause(1_001));
    // The clock was set back.
    gate.number_above(500);
    gate.enable(START, Moment::NEVER, Policy::default());
    assert!(gate.is_in_pause(1_002));
}

const STATES: [State; 4] = [State::Open, State::Paused, State::Releasing, State::Maintenance];

#[derive(Clone, Copy, Debug)]
enum Call {
    Enable,
    Disable,
    OtherPace,
    Canary,
    Maintenance,
}

fn call(gate: &mut Gate, call: Call, survey: &Survey) -> Change {
    match call {
        Call::Enable => gate.enable(at(5), Moment::NEVER, Policy::default()),
        Call::Disable => gate.disable(at(5), Policy::default(), 0, survey),
        Call::OtherPace => gate.disable(at(5), paced(10, 0, 0), 0, survey),
        Call::Canary => gate.disable(at(5), Policy::default(), 2, survey),
        Call::Maintenance => gate.maintenance(at(5), 0),
    }
}

#[test]
fn every_call_in_every_state() {
    use State::{Maintenance, Open, Paused, Releasing};
    // From a state by a call to another: with requests held, and with none.
    let table = [
        (Open, Call::Enable, Paused, Paused),
        (Open, Call::Disable, Open, Open),
        (Open, Call::OtherPace, Open, Open),
        (Open, Call::Canary, Open, Open),
        (Open, Call::Maintenance, Maintenance, Maintenance),
        (Paused, Call::Enable, Paused, Paused),
        (Paused, Call::Disable, Releasing, Open),
        (Paused, Call::OtherPace, Releasing, Open),
        (Paused, Call::Canary, Releasing, Releasing),
        (Paused, Call::Maintenance, Maintenance, Maintenance),
        (Releasing, Call::Enable, Paused, Paused),
        (Releasing, Call::Disable, Releasing, Releasing),
        (Releasing, Call::OtherPace, Releasing, Open),
        (Releasing, Call::Canary, Releasing, Releasing),
        (Releasing, Call::Maintenance, Maintenance, Maintenance),
        (Maintenance, Call::Enable, Paused, Paused),
        (Maintenance, Call::Disable, Releasing, Open),
        (Maintenance, Call::OtherPace, Releasing, Open),
        (Maintenance, Call::Canary, Releasing, Releasing),
        (Maintenance, Call::Maintenance, Maintenance, Maintenance),
    ];
    for (from, made, with_some, with_none) in table {
        for (survey, to) in [(somebody(), with_some), (nobody(), with_none)] {
            let mut gate = gate_in(from);
            let before = gate.since;
            let change = call(&mut gate, made, &survey);
            assert_eq!((change.from, change.to), (from, to), "{made:?} while {from:?}");
            assert_eq!((gate.state(), change.cause), (to, Cause::Call), "{made:?} while {from:?}");
            let since = if from == to { before } else { at(5) };
            assert_eq!(gate.since, since, "{made:?} while {from:?}");
        }
    }
}

#[test]
fn every_arrival_in_every_state() {
    for (state, below, at_most) in [
        (State::Open, Arrival::Pass, Arrival::Pass),
        (State::Paused, Arrival::Hold(FIRST + 3), Arrival::Full),
        (State::Releasing, Arrival::Hold(FIRST + 3), Arrival::Full),
        (State::Maintenance, Arrival::Maintenance, Arrival::Maintenance),
    ] {
        assert_eq!(gate_in(state).arrive(3, 0), below, "{state:?} without a cap");
        assert_eq!(gate_in(state).arrive(2, 3), below, "{state:?} below the cap");
        assert_eq!(gate_in(state).arrive(3, 3), at_most, "{state:?} at the cap");
        assert_eq!(gate_in(state).arrive(u32::MAX, 1), at_most, "{state:?} above the cap");
    }
}

#[test]
fn arrivals_are_counted_by_what_becomes_of_them() {
    let mut gate = gate_in(State::Paused);
    gate.arrive(3, 3);
    assert_eq!((gate.totals.held, gate.totals.rejected), (3, 1));
    gate.maintenance(START, 0);
    gate.arrive(0, 0);
    assert_eq!((gate.totals.held, gate.totals.rejected), (3, 2));
}

#[test]
fn every_turn_in_every_state() {
    let never = Turn::Wait(Moment::NEVER);
    let go = |below| Turn::Go { below, limit: u32::MAX };
    for (state, mine, others, leaving) in [
        (State::Open, go(NO_TICKET), go(NO_TICKET), go(NO_TICKET)),
        (State::Paused, never, never, go(8)),
        (State::Releasing, go(8), never, go(8)),
        (State::Maintenance, Turn::Refuse, Turn::Refuse, Turn::Refuse),
    ] {
        let gate = gate_in(state);
        let survey = Survey { first_elsewhere: 8, first_anywhere: 0, ..Survey::default() };
        assert_eq!(gate.turn(START, 7, false, &survey), mine, "{state:?}");
        assert_eq!(gate.turn(START, 9, false, &survey), others, "{state:?} behind others");
        assert_eq!(gate.turn(START, 7, true, &survey), leaving, "{state:?} in a worker that ends");
        for leaving in [false, true] {
            let turn = gate.turn(START, NO_TICKET, leaving, &survey);
            assert_eq!(turn, never, "{state:?} with nothing to release");
        }
    }
    let behind = Survey { first_elsewhere: 8, ..somebody() };
    assert_eq!(gate_in(State::Paused).turn(START, 9, true, &behind), never);
}

#[test]
fn who_came_late_does_not_keep_a_release_from_ending() {
    let mut gate = releasing(Policy::default());
    assert_eq!(gate.arrive(0, 0), Arrival::Hold(FIRST + 3));
    let seen = |first| Survey {
        first_elsewhere: FIRST + first,
        first_anywhere: FIRST + first,
        ..Survey::default()
    };
    let wait = Turn::Wait(Moment::NEVER);
    assert_eq!(gate.settle(START, &Survey { held: 300, ..seen(3) }), None);
    assert_eq!(
        gate.turn(at(999), FIRST + 4, false, &seen(3)),
        wait,
        "at first each waits for its turn"
    );
    assert_eq!(
        gate.turn(at(1000), FIRST + 4, false, &seen(2)),
        wait,
        "as long as one is held it was for"
    );
    let go = Turn::Go { below: FIRST + 3 + WINDOW, limit: u32::MAX };
    assert_eq!(gate.turn(at(1000), FIRST + 4, false, &seen(3)), go);
    assert_eq!(gate.turn(at(1000), FIRST + 3 + WINDOW, false, &seen(3)), wait, "within limits");
    let left = |held| Survey { held, ..seen(3) };
    assert_eq!(gate.settle(at(999), &left(1)), None);
    assert_eq!(gate.settle(at(1000), &left(257)), None, "too many are left");
    let change = gate.settle(at(1000), &left(256)).expect("it is over");
    assert_eq!((change.to, change.cause), (State::Open, Cause::Released));
    let mut paced = releasing(paced(10, 1, 0));
    assert_eq!(paced.arrive(0, 0), Arrival::Hold(FIRST + 3));
    assert_eq!(paced.settle(START, &seen(3)), None);
    assert_eq!(paced.turn(at(1000), FIRST + 4, false, &seen(3)), wait, "and not with a pace");
}

#[test]
fn tickets_are_never_given_twice() {
    let mut gate = gate_in(State::Paused);
    for made in [Call::Enable, Call::Disable, Call::Maintenance, Call::Enable] {
        call(&mut gate, made, &somebody());
    }
    assert_eq!(gate.arrive(3, 0), Arrival::Hold(FIRST + 3));
}

#[test]
fn a_deadline_resumes_and_not_before() {
    let mut gate = Gate::default();
    gate.enable(START, at(100), paced(10, 0, 0));
    assert_eq!(gate.due(), at(100));
    assert_eq!(gate.settle(at(99), &somebody()), None);
    let change = gate.settle(at(100), &somebody()).expect("it is due");
    assert_eq!((change.to, change.cause), (State::Releasing, Cause::Deadline));
    assert_eq!((gate.policy.rate, gate.deadline), (10, Moment::NEVER));
    assert_eq!(gate.due(), at(100).plus(gate.policy.timeout()));
}

#[test]
fn a_deadline_opens_at_once_where_nobody_is_held() {
    let mut gate = Gate::default();
    gate.enable(START, at(100), Policy::default());
    let change = gate.settle(at(5000), &nobody()).expect("it is due");
    assert_eq!((change.to, change.cause), (State::Open, Cause::Deadline));
    assert_eq!(gate.settle(at(6000), &nobody()), None, "it resumes once");
}

#[test]
fn every_further_call_moves_or_ends_the_deadline() {
    for (made, deadline) in [
        (Call::Enable, Moment::NEVER),
        (Call::Disable, Moment::NEVER),
        (Call::Canary, Moment::NEVER),
        (Call::Maintenance, Moment::NEVER),
    ] {
        let mut gate = Gate::default();
        gate.enable(START, at(100), Policy::default());
        call(&mut gate, made, &somebody());
        assert_eq!(gate.deadline, deadline, "{made:?}");
    }
    let mut gate = Gate::default();
    gate.enable(START, at(100), Policy::default());
    gate.enable(at(50), at(300), Policy::default());
    assert_eq!(gate.settle(at(200), &somebody()), None);
    assert_eq!((gate.since, gate.pauses), (START, 1), "the pause is the same");
}

#[test]
fn what_follows_by_itself_is_nobodys_decision() {
    let mut gate = Gate::default();
    gate.enable(at(1), at(100), Policy::default());
    gate.enable(at(2), at(300), Policy::default());
    assert_eq!(gate.decisions, 2, "a call is, also one that only moves the deadline");
    gate.settle(at(300), &somebody()).expect("the deadline has come");
    gate.settle(at(310), &nobody()).expect("the release is over");
    assert_eq!((gate.since, gate.decisions), (at(310), 2));

    let mut gate = trying(1);
    let canary = let_go(&mut gate, 1);
    gate.canary_ended(canary, Outcome::Good);
    let before = gate.decisions;
    gate.settle(at(50), &somebody()).expect("there is a verdict");
    assert_eq!(gate.decisions, before + 1, "that of a canary is");
}

#[test]
fn a_pause_of_an_endless_time_has_no_deadline() {
    let mut gate = Gate::default();
    gate.enable(START, START.plus(Duration::MAX), Policy::default());
    assert!(gate.due().is_never());
    assert_eq!(gate.settle(Moment::from_micros(u64::MAX - 1), &nobody()), None);
}

#[test]
fn pauses_are_told_apart() {
    let mut gate = gate_in(State::Paused);
    assert_eq!(gate.pauses, 1);
    gate.enable(START, Moment::NEVER, Policy::default());
    assert_eq!(gate.pauses, 1, "a pause that is repeated");
    gate.disable(START, Policy::default(), 0, &somebody());
    gate.enable(START, Moment::NEVER, Policy::default());
    assert_eq!(gate.pauses, 2, "a pause in the middle of a release");
    gate.maintenance(START, 0);
    gate.enable(START, Moment::NEVER, Policy::default());
    assert_eq!(gate.pauses, 3, "a pause after maintenance");
}

#[test]
fn maintenance_keeps_its_own_time_to_come_back() {
    let mut gate = gate_in(State::Maintenance);
    assert_eq!(gate.retry_after, 30);
    gate.maintenance(START, 0);
    assert_eq!(gate.retry_after, 0);
}

#[test]
fn a_release_ends_when_nobody_is_held() {
    let mut gate = gate_in(State::Releasing);
    assert_eq!(gate.settle(at(10), &somebody()), None);
    let change = gate.settle(at(20), &nobody()).expect("it is over");
    assert_eq!((change.to, change.cause, gate.since), (State::Open, Cause::Released, at(20)));
}

#[test]
fn a_release_that_takes_too_long_loses_its_limits_and_keeps_its_order() {
    let mut gate = releasing(Policy { timeout_ms: 100, ..paced(1, 1, 1) });
    let survey = Survey { released: 1, first_elsewhere: 5, ..somebody() };
    assert_eq!(gate.turn(at(99), 0, false, &survey), Turn::Wait(Moment::NEVER));
    assert_eq!(gate.settle(at(99), &survey), None);
    let change = gate.settle(at(100), &survey).expect("it is due");
    assert_eq!((change.from, change.to), (State::Releasing, State::Releasing));
    assert_eq!(change.cause, Cause::ReleaseTimeout);
    assert_eq!(gate.turn(at(100), 0, false, &survey), Turn::Go { below: 5, limit: u32::MAX });
    assert_eq!(gate.turn(at(100), 9, false, &survey), Turn::Wait(Moment::NEVER));
    assert_eq!(gate.settle(at(1000), &survey), None, "it is said once");
    assert_eq!(gate.policy.timeout_ms, 100);
}

#[test]
fn the_longest_release_timeout_never_comes() {
    let gate = releasing(Policy { timeout_ms: u64::MAX, ..Policy::default() });
    assert!(gate.due().is_never());
}

#[test]
fn concurrency_leaves_only_the_places_that_are_free() {
    let gate = releasing(paced(0, 0, 10));
    for (released, turn) in [
        (0, Turn::Go { below: NO_TICKET, limit: 10 }),
        (9, Turn::Go { below: NO_TICKET, limit: 1 }),
        (10, Turn::Wait(Moment::NEVER)),
        (u32::MAX, Turn::Wait(Moment::NEVER)),
    ] {
        let survey = Survey { released, ..somebody() };
        assert_eq!(gate.turn(START, 0, false, &survey), turn, "{released} in flight");
    }
    assert!(gate.counts_ends());
    assert!(!releasing(paced(10, 0, 0)).counts_ends());
    assert!(!gate_in(State::Paused).counts_ends());
}

#[test]
fn rate_and_concurrency_hold_together() {
    let mut gate = releasing(paced(1000, 4, 3));
    let limits = |turn| match turn {
        Turn::Go { limit, .. } => limit,
        other => panic!("{other:?}"),
    };
    assert_eq!(limits(gate.turn(at(3), 0, false, &somebody())), 3);
    gate.take(at(3), 3);
    let free = Survey { released: 1, ..somebody() };
    assert_eq!(limits(gate.turn(at(3), 0, false, &free)), 1, "one of the burst is left");
    gate.take(at(3), 1);
    assert_eq!(gate.turn(at(3), 0, false, &free), Turn::Wait(at(4)));
    let full = Survey { released: 3, ..somebody() };
    assert_eq!(gate.turn(at(3), 0, false, &full), Turn::Wait(Moment::NEVER), "an end will tell");
}

#[test]
fn a_repeated_disable_does_not_start_the_pace_anew() {
    let policy = paced(10, 1, 0);
    let mut gate = releasing(policy);
    gate.take(START, 1);
    gate.disable(at(1), policy, 0, &somebody());
    assert_eq!(gate.turn(at(1), 0, false, &somebody()), Turn::Wait(at(100)));
    assert_eq!(gate.due(), START.plus(policy.timeout()));
}

#[test]
fn only_a_release_is_paced() {
    for state in [State::Open, State::Paused, State::Maintenance] {
        assert!(!gate_in(state).take(START, 5), "{state:?}");
    }
}

#[test]
fn states_survive_their_bits() {
    for state in STATES {
        assert_eq!(State::from_bits(state as u8), state);
    }
    assert_eq!(State::from_bits(200), State::Open);
}

#[test]
fn moments_stop_at_the_end_of_time() {
    let last = Moment::from_micros(u64::MAX - 1);
    assert!(last.plus(Duration::from_secs(1)).is_never());
    assert!(Moment::NEVER.plus(Duration::from_micros(1)).is_never());
    assert_eq!(START.since(last), Duration::ZERO);
    assert_eq!(Moment::NEVER.since(Moment::default()), Duration::from_micros(u64::MAX));
    assert_eq!(time::micros(Duration::MAX), u64::MAX);
}

#[test]
fn a_survey_adds_up_and_stops_at_the_largest_number() {
    let lane = Lane::default();
    assert_eq!((lane.head(), lane.head_since()), (NO_TICKET, Moment::NEVER));
    lane.publish_head(7, at(1));
    let counts = [
        Count::Held,
        Count::InFlight,
        Count::Upgraded,
        Count::Released,
        Count::Canary,
        Count::Waiting,
    ];
    for (index, count) in counts.into_iter().enumerate() {
        (0..=index).for_each(|_| lane.add(count));
    }
    let mut survey = Survey { held: u32::MAX, first_anywhere: 9, ..Survey::default() };
    survey.count(&lane);
    assert_eq!((survey.first_anywhere, survey.first_elsewhere), (7, NO_TICKET));
    assert_eq!((survey.in_flight, survey.upgraded), (2, 3));
    assert_eq!((survey.released, survey.canary), (4, 5));
    assert_eq!((survey.held, survey.oldest), (u32::MAX, at(1)));
    let let_go = Lane::default();
    let_go.publish_head(3, at(0));
    survey.count(&let_go);
    assert_eq!((survey.first_anywhere, survey.oldest), (3, at(1)), "nobody waits there any more");
    survey.queue(&lane);
    assert_eq!(survey.first_elsewhere, 7);
    lane.clear();
    assert_eq!(lane.head(), NO_TICKET);
    assert!(counts.iter().all(|count| lane.get(*count) == 0));
}
