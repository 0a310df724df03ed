//! Apps that come and go at random, and a model that says what must be so.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::gate::Gate;

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
