//! The promises.

use super::{Ledger, Place, Record, Take, WINDOW};

impl Ledger {
    pub(super) fn check_nobody_waits(&self, app: usize, what: &str) {
        let in_vain = |record: &Record| !self.accounts[app].mingles(record.ticket);
        assert!(!self.waiting(app).any(in_vain), "{what} though requests wait");
    }

    /// Nobody who is there, and has been since `since`, holds a request that comes before this one.
    ///
    /// Those do not count who came back later than that: a request that was let go and whose body has
    /// not come keeps nobody waiting, and has its place again from when it is whole. Nor do those of a
    /// worker that was stopped for so long that it was passed by when the others last looked.
    pub(super) fn check_order(&self, record: &Record, since: u64) {
        for (id, other) in &self.records {
            if other.app != record.app || other.ticket >= record.ticket || other.came_at > since {
                continue;
            }
            let waits = match other.place {
                Place::Held => true,
                Place::LetGo => record.worker != other.worker || record.place == Place::LetGo,
                _ => false,
            };
            let mingles = record.mingling.is_some_and(|from| other.ticket >= from)
                && record.ticket - other.ticket < WINDOW;
            let standing = self.workers.get(&other.worker).copied().unwrap_or_default();
            let passed_by = standing.passed_by || standing.passed_by_at >= since;
            let itself = other.worker == record.worker;
            assert!(
                !waits || ((mingles || passed_by) && !itself),
                "ticket {} of worker {} overtakes {} (request {id}) of worker {}",
                record.ticket,
                record.worker,
                other.ticket,
                other.worker
            );
        }
    }

    /// A canary goes whatever the pace.
    pub(super) fn check_release(&mut self, take: &Take<'_>) {
        let canary = self.accounts[take.app].canary.is_some();
        assert_eq!(take.canary, canary, "whether these are a canary's");
        if canary {
            self.check_canary(take);
        } else if !take.leaving {
            self.check_concurrency(take);
            self.check_pace(take);
        }
    }

    pub(super) fn check_concurrency(&self, take: &Take<'_>) {
        let limit = self.accounts[take.app].policy.concurrency;
        if limit == 0 {
            return;
        }
        let released = self.counts(take.app).released;
        assert!(released <= limit, "{released} released requests are in flight, not {limit}");
    }

    pub(super) fn check_canary(&mut self, take: &Take<'_>) {
        let account = &mut self.accounts[take.app];
        let Some(canary) = &mut account.canary else { return };
        assert!(canary.failed == 0 || take.leaving, "a canary goes on that has failed");
        canary.started += take.ids.len() as u32;
        let size = canary.size;
        let fits = canary.started - canary.void <= size;
        assert!(fits || take.leaving, "a canary of {size} has more: {canary:?}");
        let number = account.canaries;
        for id in take.ids {
            self.record(*id).canary = number;
        }
    }

    pub(super) fn check_pace(&mut self, take: &Take<'_>) {
        let account = &mut self.accounts[take.app];
        let (rate, burst) = (f64::from(account.policy.rate), account.policy.effective_burst());
        if account.policy.rate == 0 {
            return;
        }
        account.paced.push((take.now, take.ids.len() as u32));
        let (mut total, mut at_once, mut soon) = (0, 0, 0);
        for (at, count) in account.paced.iter().rev() {
            let ago = take.now.since(*at).as_secs_f64();
            total += count;
            at_once += if ago == 0.0 { *count } else { 0 };
            soon += if ago < 0.001 { *count } else { 0 };
            let most = rate * 1.005 * (ago + 0.1) + 1.0;
            assert!(f64::from(total) <= most, "{total} go within {ago}s at {rate}r/s");
        }
        let since_begin = rate * 1.005 * take.now.since(account.begun).as_secs_f64() + 1.0;
        assert!(f64::from(total) <= since_begin, "{total} go, not {since_begin} at {rate}r/s");
        assert!(at_once <= burst && soon <= 2 * burst, "{at_once} go at once, {soon} soon");
    }

    /// Each hold has ended in one way, or it has not ended.
    pub fn check_books(&self) {
        let mut uncounted = vec![0; self.accounts.len()];
        for record in self.records.values().filter(|record| !record.counted) {
            uncounted[record.app] += 1;
        }
        for (account, uncounted) in self.accounts.iter().zip(uncounted) {
            let totals = &account.totals;
            let ended = totals.released + totals.timed_out + totals.aborted + account.refused;
            let accounted = ended - account.buried + account.died + uncounted;
            assert_eq!(totals.held, accounted, "requests are lost: {account:?}");
        }
    }
}
