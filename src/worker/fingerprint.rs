//! A number that is the same for a worker that goes on in the same way, between two events.

use std::hash::{Hash, Hasher};

use super::Worker;
use super::host::Host;
use super::passage::Passage;

impl<H: Host<Caller: Hash>> Worker<H> {
    pub fn fingerprint(&self, hasher: &mut impl Hasher) {
        // All fields stand here, so that none is forgotten.
        #[rustfmt::skip]
        let Self {
            host: _, zone: _, slot: _, cycle: _, look: _, refill: _, entries, queues, holding, interval,
            allowance, refills, arrived, released, waits_for_connections, armed, due, seen_changes: _,
            leaving, watch, unsaid, callers,
        } = self;
        for entry in entries {
            entry.get().map(|entry| entry.fingerprint()).hash(hasher);
        }
        let queues = queues.iter().filter_map(std::cell::OnceCell::get);
        queues.for_each(|queue| queue.fingerprint(hasher));
        (holding.get(), interval.get(), allowance.get(), refills.get()).hash(hasher);
        (arrived.get(), released.get(), waits_for_connections.get()).hash(hasher);
        (armed.get(), due.get()).hash(hasher);
        (leaving.get(), format!("{watch:?}{unsaid:?}"), &*callers.borrow()).hash(hasher);
    }
}

impl<H: Host> Worker<H> {
    /// How often something has changed does not matter, but whether this worker knows of it.
    pub fn knows_all_changes(&self) -> bool {
        self.seen_changes.get() == self.zone.changes()
    }
}

impl<H: Host> Passage<H> {
    pub fn fingerprint(&self) -> impl Hash + use<H> {
        let Self { link: _, stage, entry, ticket, since, until, ending, answers, own: _ } = self;
        let how = format!("{:?}{:?}", stage.get(), ending.get());
        let entry = entry.get().map(|entry| entry.fingerprint());
        (how, entry, ticket.get(), since.get(), until.get(), answers.get())
    }
}
