//! What is called for, and what can be seen of it.

use std::time::Duration;

use super::Clocks;
use crate::agreement::Clock;
use crate::gate::lane::Survey;
use crate::gate::policy::Policy;
use crate::gate::time::Moment;
use crate::gate::{Change, Gate, State};

/// How far apart deadlines are that count as one.
const SAME_TIME: Duration = Duration::from_millis(501);

/// A call, and when it was made and answered.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub app: usize,
    pub effect: Effect,
    pub begun: u64,
    pub answered: Option<u64>,
}

/// What a call has an app do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    Open,
    Paused { until: Moment },
    Maintenance,
}

impl Effect {
    pub fn of(gate: Option<&Gate>) -> Self {
        match gate.map_or(State::Open, Gate::state) {
            State::Paused => {
                Self::Paused { until: gate.map_or(Moment::NEVER, |gate| gate.deadline) }
            }
            State::Maintenance => Self::Maintenance,
            _ => Self::Open,
        }
    }

    /// Whether that is what can be seen of it by now.
    pub fn shows_as(self, seen: Self) -> bool {
        match (self, seen) {
            (Self::Paused { until }, Self::Open) => until <= Clocks::now().plus(SAME_TIME),
            (Self::Paused { until }, Self::Paused { until: seen }) => {
                until.since(seen).max(seen.since(until)) <= SAME_TIME
            }
            (effect, seen) => effect == seen,
        }
    }

    pub fn change(self, gate: &mut Gate) -> Change {
        let now = Clocks::now();
        match self {
            Self::Open => gate.disable(now, Policy::default(), 0, &Survey::default()),
            Self::Paused { until } => {
                gate.number_above(Clocks::unix_ms(now));
                gate.enable(now, until, Policy::default())
            }
            Self::Maintenance => gate.maintenance(now, 0),
        }
    }
}
