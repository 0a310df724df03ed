//! Signals that interrupt: they are taken in as events, and nothing ends by itself because of one.

use std::fs;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::emulate_default_handler;
use signal_hook::low_level::siginfo::{Cause, Origin};

const INTERRUPTING: [Signal; 4] =
    [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP];

/// What happens while this process waits for something.
pub enum Event<T> {
    Signal(Caught),
    /// A process that was started has ended, or was stopped.
    Child,
    /// What was asked for beside is done.
    Done(T),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caught {
    pub signal: Signal,
    /// It comes from the keyboard, and so it has reached all processes in front.
    pub is_typed: bool,
}

pub struct Signals<T> {
    events: Receiver<Event<T>>,
    sender: Sender<Event<T>>,
    /// The one that came last.
    pub caught: Option<Caught>,
}

impl<T: Send + 'static> Signals<T> {
    /// From now on no signal ends this process, but those that it was told to ignore stay ignored.
    pub fn heed() -> Result<Self, String> {
        let problem = |error| format!("signals cannot be heeded: {error}");
        let ignored = ignored();
        let numbers: Vec<i32> = INTERRUPTING
            .into_iter()
            .filter(|signal| ignored & (1 << (*signal as i32 - 1)) == 0)
            .chain([Signal::SIGCHLD])
            .map(|signal| signal as i32)
            .collect();
        let mut signals = SignalsInfo::<WithOrigin>::new(&numbers).map_err(problem)?;
        let (sender, events) = channel();
        let own = sender.clone();
        thread::Builder::new()
            .spawn(move || {
                // No reader is left when the process is about to end.
                signals.forever().all(|origin| own.send(event(&origin)).is_ok());
            })
            .map_err(problem)?;
        Ok(Self { events, sender, caught: None })
    }

    /// For what is done beside: it is to send its result as an event.
    pub fn sender(&self) -> Sender<Event<T>> {
        self.sender.clone()
    }

    /// The next event, if there is one in time.
    pub fn next(&mut self, time: Duration) -> Option<Event<T>> {
        let event = match self.events.recv_timeout(time) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        };
        if let Event::Signal(caught) = event {
            self.caught = Some(caught);
        }
        Some(event)
    }

    /// Whether there was a signal.
    pub fn is_interrupted(&mut self) -> bool {
        while self.next(Duration::ZERO).is_some() {}
        self.caught.is_some()
    }
}

fn event<T>(origin: &Origin) -> Event<T> {
    match Signal::try_from(origin.signal) {
        Ok(signal) if signal != Signal::SIGCHLD => {
            let is_key = matches!(signal, Signal::SIGINT | Signal::SIGQUIT);
            Event::Signal(Caught { signal, is_typed: is_key && origin.cause == Cause::Kernel })
        }
        _ => Event::Child,
    }
}

/// The signals that this process was told to ignore when it was started, as by nohup: a bit for each.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Signals are for other threads than this one, whose calls they would interrupt.
pub fn keep_away() {
    let mut all = SigSet::empty();
    INTERRUPTING.into_iter().chain([Signal::SIGCHLD]).for_each(|signal| all.add(signal));
    let _ = all.thread_block();
}

/// Ends this process as the signal would have done.
pub fn end_by(signal: Signal) {
    let _ = emulate_default_handler(signal as i32);
}
