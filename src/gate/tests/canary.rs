use super::*;

#[test]
fn a_canary_goes_alone() {
    let mut gate = trying(2);
    assert_eq!(gate.turn(START, 0, false, &somebody()), Turn::Go { below: NO_TICKET, limit: 2 });
    assert!(gate.take(START, 2));
    assert_eq!(gate.turn(START, 2, false, &somebody()), Turn::Wait(Moment::NEVER));
    assert!(gate.counts_ends());
}

fn under_way(canary: u32) -> Survey {
    Survey { canary, in_flight: canary, ..somebody() }
}

#[test]
fn a_canary_that_comes_back_releases_the_rest_at_the_pace_that_was_asked_for() {
    let mut gate = gate_in(State::Paused);
    gate.disable(START, paced(10, 1, 0), 2, &somebody());
    let number = let_go(&mut gate, 2);
    gate.canary_ended(number, Outcome::Good);
    assert_eq!(gate.settle(at(5), &under_way(1)), None);
    gate.canary_ended(number, Outcome::Good);
    let change = gate.settle(at(9), &under_way(0)).expect("it is judged");
    assert_eq!((change.to, change.cause), (State::Releasing, Cause::CanaryPassed));
    assert_eq!((gate.judged, gate.last_canary.is_good()), (1, true));
    assert_eq!(gate.due(), at(9).plus(gate.policy.timeout()), "the rest has its own time");
    assert_eq!(gate.turn(at(9), 2, false, &somebody()), Turn::Go { below: NO_TICKET, limit: 1 });
}

#[test]
fn a_canary_that_was_all_there_was_opens() {
    let mut gate = trying(1);
    let number = let_go(&mut gate, 1);
    gate.canary_ended(number, Outcome::Good);
    let change = gate.settle(at(9), &nobody()).expect("it is judged");
    assert_eq!((change.to, change.cause), (State::Open, Cause::CanaryPassed));
}

#[test]
fn a_canary_that_fails_pauses_again_without_a_deadline() {
    let mut gate = trying(3);
    let number = let_go(&mut gate, 2);
    gate.canary_ended(number, Outcome::Failed(502));
    assert_eq!(gate.turn(START, 2, false, &under_way(1)), Turn::Wait(Moment::NEVER));
    assert_eq!(gate.settle(at(5), &under_way(1)), None, "the other one is awaited");
    gate.canary_ended(number, Outcome::Good);
    let change = gate.settle(at(9), &under_way(0)).expect("it is judged");
    assert_eq!((change.to, change.cause), (State::Paused, Cause::CanaryFailed));
    assert_eq!((gate.judged, gate.last_canary.failed, gate.last_canary.status), (1, 1, 502));
    assert!(gate.deadline.is_never() && gate.canary().is_none());
    assert_eq!(gate.pauses, 2, "a drain that waited for the pause before has ended");
}

#[test]
fn a_canary_whose_client_left_is_replaced() {
    let mut gate = trying(1);
    let number = let_go(&mut gate, 1);
    gate.canary_ended(number, Outcome::Void);
    assert_eq!(gate.settle(at(1), &somebody()), None);
    assert_eq!(gate.turn(at(1), 1, false, &somebody()), Turn::Go { below: NO_TICKET, limit: 1 });
}

#[test]
fn a_canary_without_enough_requests_is_judged_by_those_there_were() {
    let too_few = |outcome: Option<Outcome>, survey: Survey| {
        let mut gate = trying(5);
        let number = let_go(&mut gate, 1);
        if let Some(outcome) = outcome {
            gate.canary_ended(number, outcome);
        }
        assert_eq!(gate.settle(at(59_999), &under_way(1)), None);
        let change = gate.settle(at(60_000), &survey).expect("its time is up");
        assert_eq!(gate.last_canary.is_good(), change.cause == Cause::CanaryPassed);
        change.cause
    };
    assert_eq!(too_few(Some(Outcome::Good), somebody()), Cause::CanaryPassed);
    assert_eq!(too_few(Some(Outcome::Void), nobody()), Cause::CanaryPassed);
    assert_eq!(too_few(Some(Outcome::Gone), nobody()), Cause::CanaryFailed, "nobody came back");
    assert_eq!(too_few(None, under_way(1)), Cause::CanaryFailed, "one is still under way");
    assert_eq!(too_few(None, under_way(0)), Cause::CanaryFailed, "one was lost with its worker");
}

#[test]
fn a_canary_says_nothing_about_the_next() {
    for outcome in [Outcome::Good, Outcome::Failed(500), Outcome::Gone, Outcome::Void] {
        let mut gate = trying(2);
        let first = let_go(&mut gate, 2);
        gate.enable(at(1), Moment::NEVER, Policy::default());
        gate.canary_ended(first, outcome);
        gate.disable(at(2), Policy::default(), 1, &somebody());
        let second = let_go(&mut gate, 1);
        assert_ne!(first, second);
        gate.canary_ended(first, outcome);
        assert_eq!(gate.settle(at(3), &under_way(1)), None, "{outcome:?}");
        let turn = gate.turn(at(3), 3, false, &under_way(1));
        assert_eq!(turn, Turn::Wait(Moment::NEVER), "{outcome:?} of the first leaves no place");
        gate.canary_ended(second, Outcome::Good);
        let change = gate.settle(at(4), &under_way(0)).expect("it is judged");
        assert_eq!(change.cause, Cause::CanaryPassed, "{outcome:?} of the first");
    }
}

#[test]
fn another_call_ends_a_canary_without_a_verdict() {
    for made in [Call::Enable, Call::Disable, Call::OtherPace, Call::Maintenance] {
        let mut gate = trying(2);
        gate.take(START, 2);
        call(&mut gate, made, &somebody());
        assert!(gate.canary().is_none(), "{made:?}");
        assert_eq!((gate.canaries, gate.judged), (1, 0), "{made:?}");
    }
}
