//! Answers that wait until what their call changed is in the state file.

use core::cell::Cell;
use core::time::Duration;

use nginx_sys::{NGX_DONE, NGX_HTTP_INTERNAL_SERVER_ERROR, ngx_int_t};

use super::answer::{self, Answer};
use super::suspend::{is_late, stop, suspend};
use crate::nginx::ffi::request::{Request, Then, Turn};
use crate::nginx::host::Worker;

/// Longer than anything waits for the state file: it says itself when that takes too long.
const LONGEST: Duration = Duration::from_secs(60);

const FAILED: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// An answer that is ready, in its request's pool.
struct Kept<'r> {
    request: Request<'r>,
    answer: Answer,
    /// What the state file has to be told of first.
    changes: u64,
    waits: Cell<bool>,
}

/// How often a call has changed something in this worker.
pub fn changes() -> u64 {
    Worker::here().map_or(0, |worker| worker.host.desk.changes())
}

/// Whether the state file has been told of the changes up to this, or the log says why not.
fn is_settled(changes: u64) -> bool {
    Worker::here().is_none_or(|worker| worker.host.desk.is_settled(changes))
}

/// Sends the answer to a call once the state file has been told of all that was changed up to now. A
/// subrequest cannot wait, and nobody does for its answer.
pub fn send(request: Request<'_>, answer: Answer) -> ngx_int_t {
    let changes = changes();
    if is_settled(changes) || !request.is_main() {
        return answer::send(request, &answer).unwrap_or(FAILED);
    }
    let kept = Kept { request, answer, changes, waits: Cell::new(true) };
    match suspend::<_, Woken>(request, kept, LONGEST) {
        Some(()) => NGX_DONE as ngx_int_t,
        None => FAILED,
    }
}

impl Kept<'_> {
    fn stop(&self) {
        if self.waits.replace(false) {
            stop(self.request);
        }
    }
}

/// Its request ends.
impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Told when the caller was woken, when its time is up, and for nothing.
struct Woken;

impl Turn for Woken {
    fn turn(request: Request<'_>) -> Then {
        let Some(kept) = request.pool().kept::<Kept<'_>>() else { return Then::Wait };
        if !is_late(request) && !is_settled(kept.changes) {
            return Then::Wait;
        }
        kept.stop();
        Then::End(answer::send(request, &kept.answer).unwrap_or(FAILED))
    }
}
