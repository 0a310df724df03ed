//! A number that is the same for ledgers against which the same is checked from here on.

use std::hash::{Hash, Hasher};

use super::account::Account;
use super::{Ledger, Place, Record};
use crate::gate::totals::Totals;

impl Ledger {
    /// Steps matter only where they are going to be compared: with those at which a worker, in the middle of
    /// something, has `begun` to look at a gate, or has `surveyed` the lanes. Of what has ended well nothing
    /// matters.
    pub fn fingerprint(&self, begun: &[u64], surveyed: &[u64], hasher: &mut impl Hasher) {
        for (id, record) in &self.records {
            let Record { came_at, let_go_at, in_flight, .. } = *record;
            let came: Vec<bool> = surveyed.iter().map(|step| came_at > *step).collect();
            let seen: Vec<bool> = begun.iter().map(|step| in_flight < Some(*step)).collect();
            (came, seen).hash(hasher);
            if record.place == Place::LetGo {
                let before = |other: &Record| other.came_at > let_go_at;
                self.records.values().map(before).collect::<Vec<_>>().hash(hasher);
            }
            let in_flight = in_flight.map(|_| 0);
            let record = Record { came_at: 0, let_go_at: 0, in_flight, ..*record };
            format!("{id}{record:?}").hash(hasher);
        }
        for account in self.accounts.iter().filter(|account| account.changed_at > 0) {
            let Account { changed_at, surely_closed, .. } = *account;
            let changed = |step: &u64| (changed_at <= *step, surely_closed <= Some(*step));
            begun.iter().map(changed).collect::<Vec<_>>().hash(hasher);
            let account = Account {
                changed_at: 0,
                surely_closed: surely_closed.map(|_| 0),
                totals: Totals::default(),
                ended: 0,
                refused: 0,
                ..account.clone()
            };
            format!("{account:?}").hash(hasher);
        }
    }
}
