//! A pause that this process has begun, and looks after.

mod renew;
mod resume;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

pub use self::renew::{Renewals, Rhythm};
use crate::app::App;
use crate::call::{Answer, LIMIT, Server, Verdict, every};
use crate::options::Pace;
use crate::pass_on::time;
use crate::say::progress;
use crate::signals::{Signals, end_by};
use crate::status::STILL_PAUSED;
use crate::time::{Time, seconds};

/// The part of a drain between two looks at it.
const SLICE: Duration = Duration::from_secs(1);

pub struct Pause {
    pub app: App,
    pub lasts: Option<Time>,
    pub pace: Pace,
    pub signals: Signals<Renewals>,
    /// Where this process has to resume the app.
    pub paused: Vec<Arc<Server>>,
    /// The milliseconds that it took to get quiet.
    pub waited: u64,
    /// The command was run. Before that nothing was changed that a canary could find out.
    pub has_run: bool,
    /// A renewal was not answered, so it may still take effect.
    is_unsure: bool,
}

/// How long to wait for a quiet app.
pub struct Quiet<'a> {
    pub drain: &'a Time,
    pub settle: Option<&'a Time>,
}

impl Pause {
    pub fn new(app: App, lasts: Option<Time>, pace: Pace) -> Result<Self, String> {
        let (paused, waited, has_run, is_unsure) = (Vec::new(), 0, false, false);
        let signals = Signals::heed()?;
        Ok(Self { app, lasts, pace, signals, paused, waited, has_run, is_unsure })
    }

    /// Pauses the app at all servers. False if that failed, or a signal came; `paused` is then what has to be resumed.
    pub fn take(&mut self, has_to_be_free: bool) -> bool {
        if has_to_be_free && !self.is_free() {
            return false;
        }
        let arguments = [("for", time(self.lasts.as_ref()))];
        for (server, answer) in self.app.ask(&self.app.servers, "enable", LIMIT, &arguments) {
            server.look_after(answer.facts.pause);
            if answer.has_paused() {
                self.paused.push(server);
            } else if !answer.is_ok() {
                self.app.complain_of(&server, &answer);
                if answer.verdict == Verdict::Lost {
                    self.paused.push(server);
                }
            } else if has_to_be_free {
                self.app.complain(&server, "another call has just paused it. Wait for its end.");
            }
        }
        self.goes_on()
    }

    /// Whether the app is not paused already. If it is, another one counts on it.
    fn is_free(&self) -> bool {
        for (server, answer) in self.app.ask(&self.app.servers, "status", LIMIT, &[]) {
            match answer.facts.state.as_str() {
                _ if !answer.is_ok() => self.app.complain_of(&server, &answer),
                "open" | "releasing" => {}
                "paused" => {
                    let until = answer.facts.resumes_at;
                    let ends = until.map_or("it has no deadline".to_owned(), |until| {
                        format!("it ends by itself at {until}")
                    });
                    let problem = format!(
                        "it is paused already, by another call ({ends}). Wait, or resume it with \
                         intermission disable."
                    );
                    self.app.complain(&server, &problem);
                }
                state => {
                    let problem =
                        format!("its state is {state}. End that first, with intermission disable.");
                    self.app.complain(&server, &problem);
                }
            }
        }
        self.app.complaint.get().is_none()
    }

    fn goes_on(&mut self) -> bool {
        !self.signals.is_interrupted() && self.app.complaint.get().is_none()
    }

    /// Waits until nothing is in flight anywhere. Each slice is a call that answers as soon as it is quiet, and moves
    /// the deadline on.
    pub fn wait_until_quiet(&mut self, quiet: &Quiet<'_>) -> bool {
        let mut waited = Duration::ZERO;
        let mut answers = Vec::new();
        while waited < quiet.drain.length {
            let slice = SLICE.min(quiet.drain.length - waited);
            let arguments = self.app.arguments(&self.drain_arguments(quiet, slice));
            answers = every(&self.app.servers, |server| {
                server.call_in_pause("enable", slice + LIMIT, &arguments)
            });
            let look = self.see_drain(&answers);
            if !self.goes_on() {
                return false;
            }
            if look.is_quiet {
                self.waited = millis(waited) + look.longest;
                return true;
            }
            waited += slice;
            let (in_flight, held, seconds) = (look.in_flight, look.held, waited.as_secs());
            let line = format!(
                "waiting until it is quiet: {in_flight} in flight, {held} held, {seconds} s"
            );
            progress(&line, seconds);
        }
        let late = answers.iter().filter(|(_, answer)| !answer.is_ok());
        late.for_each(|(server, answer)| self.app.complain(server, &too_late(answer, quiet)));
        false
    }

    fn drain_arguments(&self, quiet: &Quiet<'_>, slice: Duration) -> [(&'static str, OsString); 4] {
        [
            ("for", time(self.lasts.as_ref())),
            ("drain", format!("{}ms", millis(slice)).into()),
            ("settle", time(quiet.settle)),
            ("keep", "1".into()),
        ]
    }

    fn see_drain(&self, answers: &[(Arc<Server>, Answer)]) -> Look {
        let mut look = Look { is_quiet: true, ..Look::default() };
        for (server, answer) in answers {
            look.held += answer.facts.held;
            match answer.verdict {
                _ if answer.has_paused() || answer.is_of_past_pause() => {
                    self.app.complain(server, "another call has resumed it in the meantime");
                }
                Verdict::Ok => look.longest = look.longest.max(answer.facts.drained_ms),
                Verdict::Refused(504) => {
                    look.is_quiet = false;
                    look.in_flight += answer.facts.in_flight;
                }
                _ => self.app.complain_of(server, answer),
            }
        }
        look
    }

    /// Resumes what has to be resumed, and ends: with the exit status that this returns, or by the signal that came. No
    /// signal can hurry it.
    pub fn leave(mut self, status: i32) -> i32 {
        if !self.paused.is_empty() {
            self.resume();
        }
        let complaint = self.app.complaint.get().filter(|_| self.has_run);
        let is_interrupted = self.signals.is_interrupted();
        let Some(caught) = self.signals.caught.filter(|_| is_interrupted && complaint.is_none())
        else {
            return complaint.unwrap_or(status);
        };
        let as_status = 128 + caught.signal as i32;
        if self.has_run && status != as_status {
            return status;
        }
        end_by(caught.signal);
        as_status
    }
}

/// What one slice of a drain has shown.
#[derive(Default)]
struct Look {
    is_quiet: bool,
    in_flight: u64,
    held: u64,
    /// The milliseconds that the last server took to get quiet.
    longest: u64,
}

fn too_late(answer: &Answer, quiet: &Quiet<'_>) -> String {
    let Quiet { drain, settle } = quiet;
    match (answer.facts.in_flight, settle) {
        (0, None) => format!("not quiet after {drain}: {}", answer.line),
        (0, Some(settle)) => format!(
            "nothing is in flight after {drain}, but it has not been like that for {settle} without \
             requests being abandoned: wait for longer (--drain)"
        ),
        (count, _) => format!("{count} still in flight after {drain}: wait for longer (--drain)"),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
