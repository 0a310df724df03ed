//! What the calls do.

use super::answer::Answer;
use super::changes::{Calling, Reply};
use super::reports::{report, sample, sample_of};
use super::wait::{self, Drain};
use crate::control::Done;
use crate::control::args::{Disable, Enable};
use crate::control::metrics::{self, Sample};
use crate::gate::time::Moment;
use crate::gate::{Gate, State};
use crate::nginx::ffi::clock;
use crate::worker::{Awaited, Host, If};

impl Calling<'_> {
    pub fn status(&self, name: &[u8]) -> Answer {
        Answer::of_reports(200, vec![report(self.worker, name)])
    }

    pub fn status_of_all(&self) -> Answer {
        let reports = self.sample_all().into_iter().map(|sample| sample.report).collect();
        Answer { is_list: true, ..Answer::of_reports(200, reports) }
    }

    pub fn metrics(&self, name: &[u8]) -> Answer {
        self.metrics_of(&[sample(self.worker, name)])
    }

    pub fn metrics_of_all(&self) -> Answer {
        self.metrics_of(&self.sample_all())
    }

    fn sample_all(&self) -> Vec<Sample> {
        let uncounted = self.worker.host.uncounted_processes();
        let known = self.known();
        known.iter().map(|(name, app)| sample_of(self.worker, name, *app, uncounted)).collect()
    }

    fn metrics_of(&self, samples: &[Sample]) -> Answer {
        let memory = self.worker.zone.memory();
        Answer::of_document(metrics::CONTENT_TYPE, metrics::render(samples, memory))
    }

    pub fn enable(&self, name: &[u8], asked: &Enable) -> Result<Reply, Answer> {
        let policy = self.conf.policy();
        // By the clock of the moment in which it is done: the state file may have been read before.
        let pause = |gate: &mut Gate| {
            let now = clock::now();
            let deadline = asked.lasts.map_or(Moment::NEVER, |lasts| now.plus(lasts));
            gate.number_above(clock::unix_ms(now));
            gate.enable(now, deadline, policy)
        };
        let changed = match asked.pause {
            Some(number) => {
                let changed = self.change_in_pause(name, number, pause);
                changed.ok_or_else(|| self.is_over(name))?
            }
            None => self.change_or_make(name, pause)?,
        };
        let again = changed.change.from == State::Paused;
        let line = if again { Done::AlreadyEnabled } else { Done::Enabled };
        let Some(limit) = asked.drain else { return Ok(Reply::Now(self.done(name, line))) };
        let (pause, keep, settle) = (changed.pause, asked.keep, asked.settle);
        let drain = Drain { limit, keep, line };
        Ok(wait::begin(self, changed.app, name, Awaited::Quiet { pause, settle }, Some(drain)))
    }

    pub fn disable(&self, name: &[u8], asked: &Disable) -> Reply {
        let changed = self.release(name, asked);
        if changed.is_none() && asked.pause.is_some() {
            return Reply::Now(self.is_over(name));
        }
        let Some(changed) = changed.filter(|changed| changed.change.from != State::Open) else {
            return Reply::Now(self.done(name, Done::AlreadyDisabled));
        };
        if asked.canary > 0 {
            let verdict = Awaited::Verdict { canary: changed.canary };
            return wait::begin(self, changed.app, name, verdict, None);
        }
        let again = changed.change.from == State::Releasing;
        Reply::Now(self.done(name, if again { Done::AlreadyDisabled } else { Done::Disabled }))
    }

    pub fn disable_all(&self, asked: &Disable) -> Answer {
        let release_all = |_| {
            let known = self.known();
            let released = known.iter().filter(|(name, _)| {
                let changed = self.release_in_zone(name, asked, If::Known);
                changed.is_some_and(|changed| {
                    !matches!(changed.change.from, State::Open | State::Releasing)
                })
            });
            released.count()
        };
        // The state file is written once, not for each app.
        let released = self.and_save(release_all);
        let line = if released > 0 { Done::Disabled } else { Done::AlreadyDisabled };
        Answer { line: Some(line.line().to_owned()), ..self.status_of_all() }
    }

    pub fn maintenance(&self, name: &[u8], retry_after: u64) -> Result<Answer, Answer> {
        self.change_or_make(name, |gate| gate.maintenance(clock::now(), retry_after))?;
        Ok(self.done(name, Done::Maintenance))
    }

    pub fn done(&self, name: &[u8], done: Done) -> Answer {
        Answer { line: Some(done.line().to_owned()), ..self.status(name) }
    }

    /// What is answered when the pause that a call is for has ended.
    fn is_over(&self, name: &[u8]) -> Answer {
        let line = "That pause is over, so nothing was done.";
        Answer { status: 409, line: Some(line.to_owned()), ..self.status(name) }
    }
}
