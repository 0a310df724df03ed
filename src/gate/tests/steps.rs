//! Whatever comes in whatever order.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Call(u8),
    Enable(u64, Policy),
    Disable(Policy, u32),
    Settle,
    Arrive(u32, u32),
    Take(u32),
    End(u8),
    Wait(u64),
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let limit = || prop_oneof![Just(0), 1..100u32, Just(u32::MAX)];
    let timeout = prop_oneof![0..1000u64, Just(u64::MAX)];
    (limit(), limit(), limit(), timeout).prop_map(|(rate, burst, concurrency, timeout_ms)| Policy {
        rate,
        burst,
        concurrency,
        timeout_ms,
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<u8>().prop_map(Step::Call),
        (any::<u64>(), any_policy()).prop_map(|(at, policy)| Step::Enable(at, policy)),
        (any_policy(), 0..5u32).prop_map(|(policy, size)| Step::Disable(policy, size)),
        Just(Step::Settle),
        (any::<u32>(), any::<u32>()).prop_map(|(held, most)| Step::Arrive(held, most)),
        (0..100u32).prop_map(Step::Take),
        any::<u8>().prop_map(Step::End),
        prop_oneof![0..5000u64, any::<u64>()].prop_map(Step::Wait),
    ]
}

fn any_survey() -> impl Strategy<Value = Survey> {
    let count = || prop_oneof![0..5u32, any::<u32>()];
    let ticket = || prop_oneof![0..5u64, Just(NO_TICKET)];
    (count(), count(), count(), ticket(), ticket()).prop_map(
        |(held, released, canary, here, there)| {
            let first_anywhere = here.min(there);
            Survey {
                held,
                released,
                canary,
                first_elsewhere: there,
                first_anywhere,
                ..Survey::default()
            }
        },
    )
}

fn take_step(gate: &mut Gate, step: &Step, now: &mut Moment, survey: &Survey) {
    match step {
        Step::Call(0) => drop(gate.maintenance(*now, u64::MAX)),
        Step::Call(_) => drop(gate.enable(*now, Moment::NEVER, Policy::default())),
        Step::Enable(deadline, policy) => {
            gate.enable(*now, Moment::from_micros(*deadline), *policy);
        }
        Step::Disable(policy, size) => drop(gate.disable(*now, *policy, *size, survey)),
        Step::Settle => drop(gate.settle(*now, survey)),
        Step::Arrive(held, most) => drop(gate.arrive(*held, *most)),
        Step::Take(most) => {
            if let Turn::Go { limit, .. } = gate.turn(*now, 0, false, survey) {
                gate.take(*now, limit.min(*most));
            }
        }
        Step::End(0) => gate.canary_ended(gate.canaries, Outcome::Void),
        Step::End(1) => gate.canary_ended(gate.canaries, Outcome::Failed(503)),
        Step::End(_) => gate.canary_ended(gate.canaries, Outcome::Good),
        Step::Wait(micros) => *now = now.plus(Duration::from_micros(*micros)),
    }
}

proptest! {
    /// Whatever comes in whatever order, at whatever time: nothing overflows, and what the gate
    /// says of itself fits.
    #[test]
    fn no_order_of_steps_is_too_strange(
        steps in proptest::collection::vec((any_step(), any_survey()), 0..60),
        start in prop_oneof![Just(0), any::<u64>()],
    ) {
        let (mut gate, mut now) = (Gate::default(), Moment::from_micros(start));
        for (step, survey) in &steps {
            take_step(&mut gate, step, &mut now, survey);
            prop_assert!(gate.canary().is_none() || gate.state() == State::Releasing);
            prop_assert!(gate.deadline.is_never() || gate.state() == State::Paused);
            prop_assert!(gate.judged <= gate.canaries);
            if let Turn::Go { limit, .. } = gate.turn(now, 0, false, survey) {
                prop_assert!(limit > 0);
                prop_assert!(matches!(gate.state(), State::Open | State::Releasing));
            }
        }
    }
}
