//! One question to several, none of which is waited for alone.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::signals::keep_away;

/// What the first is ahead of the second, who is then asked beside it, and so on.
const HEAD_START: Duration = Duration::from_millis(500);

/// The first good answer, or the last of those that came; nothing if none came in time. Who gives no good answer is
/// followed by the next at once.
pub fn first_of<T: Send + 'static>(
    count: usize,
    until: Instant,
    ask: impl Fn(usize) -> T + Clone + Send + 'static,
    is_good: impl Fn(&T) -> bool,
) -> Option<T> {
    if count == 1 {
        return Some(ask(0));
    }
    let (sender, answers) = channel();
    let (mut asked, mut waiting, mut last) = (0, 0, None);
    let mut next = Instant::now();
    loop {
        let now = Instant::now();
        if asked < count && (now >= next || waiting == 0) {
            let (ask, sender, number) = (ask.clone(), sender.clone(), asked);
            let begun = thread::Builder::new().spawn(move || {
                keep_away();
                // Nobody listens any more if another one was faster.
                let _ = sender.send(ask(number));
            });
            (asked, next) = (asked + 1, now + HEAD_START);
            waiting += usize::from(begun.is_ok());
        }
        if now >= until || waiting == 0 && asked == count {
            return last;
        }
        let wake = if asked < count { next.min(until) } else { until };
        match answers.recv_timeout(wake.saturating_duration_since(now)) {
            Ok(answer) if is_good(&answer) => return Some(answer),
            Ok(answer) => {
                (last, next) = (Some(answer), now);
                waiting -= 1;
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn first(limit: Duration, ask: fn(usize) -> i32) -> Option<i32> {
        first_of(3, Instant::now() + limit, ask, |answer| *answer > 0)
    }

    fn hangs() -> i32 {
        thread::sleep(LONG);
        9
    }

    #[test]
    fn the_first_good_answer_counts() {
        assert_eq!(first(LONG, |number| if number == 0 { 1 } else { hangs() }), Some(1));
        assert_eq!(first(LONG, |number| if number == 2 { 3 } else { -1 }), Some(3));
        assert_eq!(first(LONG, |number| -1 - i32::try_from(number).unwrap_or(9)), Some(-3));
    }

    #[test]
    fn one_that_hangs_is_not_waited_for() {
        let begun = Instant::now();
        assert_eq!(first(LONG, |number| if number == 2 { 3 } else { hangs() }), Some(3));
        assert!(begun.elapsed() >= HEAD_START * 2 && begun.elapsed() < LONG);
        assert_eq!(first(HEAD_START, |_| hangs()), None);
    }
}
