//! One run: moves by chance, then an orderly end.

mod check;
mod end;
mod moves;

use std::rc::Rc;
use std::time::Duration;

use super::crew::{Crew, Member};
use super::plan::Plan;
use super::rng::Rng;
use super::world::World;

/// A time that no request waits for.
pub const LONG: Duration = Duration::from_secs(100_000);

pub struct Run {
    pub world: Rc<World>,
    pub crew: Crew,
    told: bool,
}

impl Run {
    /// `told` runs say what happens.
    pub fn new(seed: u64, told: bool) -> Self {
        Self::in_world(World::new(seed), told)
    }

    /// A run after this plan.
    pub fn of(plan: Plan) -> Self {
        Self::in_world(World::with_plan(Rng::new(0), plan), false)
    }

    fn in_world(world: Rc<World>, told: bool) -> Self {
        let crew = Crew::new(&world);
        let run = Self { world, crew, told };
        run.tell(|| format!("{:?}", run.world.plan));
        run
    }

    /// Ends with a number that is another if anything went another way.
    pub fn play(mut self) -> u64 {
        for _ in 0..self.world.plan.moves * self.world.plan.pace() {
            self.make_move();
            self.check();
        }
        self.settle();
        self.crew.disband();
        self.world.rng.next()
    }

    fn make_move(&mut self) {
        self.world.ledger.borrow_mut().step += 1;
        if self.world.plan.lulls && self.world.rng.below(50 * self.world.plan.pace()) == 0 {
            return self.lull();
        }
        if self.world.rng.below(self.world.plan.pace()) > 0 {
            return self.run_somebody();
        }
        match self.world.rng.below(100) {
            0..=59 => self.run_somebody(),
            60..=67 => self.arrive(),
            68..=75 => self.let_end(),
            76..=78 => self.leave(),
            79..=82 => self.call(),
            83..=96 => self.pass_time(),
            _ => self.break_something(),
        }
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.told {
            let step = self.world.ledger.borrow().step;
            println!("{step:6} {:>12} {}", self.world.now().as_micros(), what());
        }
    }

    fn run_somebody(&mut self) {
        let ready = self.crew.ready();
        if !ready.is_empty() {
            let index = ready[self.world.rng.index(ready.len())];
            self.tell(|| format!("worker {} goes on", self.crew.members[index].worker.host.pid));
            self.crew.run(index);
        }
    }

    fn somebody(&self, is: impl Fn(&Member) -> bool) -> Option<&Member> {
        let some = self.crew.indexes(is);
        some.get(self.world.rng.index(some.len())).map(|index| &self.crew.members[*index])
    }
}
