//! What a worker tells of apps that change by themselves.

use super::Worker;
use super::host::{Host, Told};
use crate::gate::Change;
use crate::gate::time::Moment;
use crate::shm::{AppId, Locked};

/// A change that has been made, to be told when the zone is not locked any more.
pub(super) struct News {
    name: Vec<u8>,
    change: Change,
    held: u32,
    /// How many before it were not said; `None` if it is not said itself.
    left_out: Option<u32>,
}

impl<H: Host> Worker<H> {
    /// What there is to tell of a change, under the lock under which it was made.
    pub(super) fn news(
        &self,
        locked: &mut Locked<'_, H::Lock>,
        app: AppId,
        change: Option<Change>,
        held: u32,
        now: Moment,
    ) -> Option<News> {
        let change = change?;
        let left_out = locked.update(app, |gate| gate.say(now, change)).flatten();
        let mut unsaid = self.unsaid.borrow_mut();
        if left_out.is_none() && !unsaid.contains(&app) {
            unsaid.push(app);
        }
        Some(News { name: locked.name(app).to_vec(), change, held, left_out })
    }

    /// Tells it, and lets everybody look at what has changed.
    pub(super) fn announce(&self, news: &News, now: Moment) {
        let News { name, change, held, left_out } = news;
        self.host.tell(Told::Changed { name, change, held: *held, left_out: *left_out, now });
        self.notify();
    }

    /// Says what was left out, if nothing was said since.
    pub(super) fn say_rest(&self, now: Moment) {
        let mut unsaid = self.unsaid.take();
        unsaid.retain(|app| {
            let mut locked = self.zone.lock();
            let due = locked.gate(*app).map_or(Moment::NEVER, |gate| gate.next_to_say());
            if due > now {
                self.due.set(self.due.get().min(due));
                return !due.is_never();
            }
            let held = self.zone.survey(*app, self.slot, &self.host.liveness(now)).held;
            let last = locked.update(*app, |gate| gate.say_last(now)).flatten();
            let name = last.map(|_| locked.name(*app).to_vec()).unwrap_or_default();
            drop(locked);
            if let Some((change, left_out)) = &last {
                let left_out = Some(*left_out);
                self.host.tell(Told::Changed { name: &name, change, held, left_out, now });
            }
            false
        });
        self.unsaid.borrow_mut().append(&mut unsaid);
    }
}
