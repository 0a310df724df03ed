//! How a request ended: what the backend did, whatever was made of that.

use nginx_sys::ngx_int_t;

use crate::gate::canary::Outcome;
use crate::nginx::ffi::request::{Finish, Request};
use crate::nginx::host::{Passage, Worker};

const BAD_GATEWAY: u32 = 502;

/// What a canary is judged by if its end is the first that is seen of it.
pub fn of(request: Request<'_>) -> Outcome {
    match u32::try_from(request.status()).unwrap_or_default() {
        0 | 499 if !request.has_backend() => Outcome::Void,
        0 | 499 => Outcome::Gone,
        status if status >= 500 => Outcome::Failed(status),
        _ => failure_behind(request).map_or(Outcome::Good, Outcome::Failed),
    }
}

/// How a request came so far that goes on elsewhere before it was answered.
pub fn so_far(request: Request<'_>) -> Outcome {
    request.failure_of_backend().map_or(Outcome::Void, Outcome::Failed)
}

/// What the answer does not show: an error that a page was put in front of, as `error_page` does it
/// with a status of its own, or an end in the middle of the body.
fn failure_behind(request: Request<'_>) -> Option<u32> {
    let broken_off = || request.was_broken_off().then_some(BAD_GATEWAY);
    request.failure_of_backend().or_else(broken_off)
}

/// Judges a canary's request by its answer, which begins: at once where there is no backend that has
/// more to say, and else when that is through, however slow the client is to read.
pub fn judge_by_answer(passage: &Passage) {
    let request = passage.request();
    let Some(worker) = Worker::here() else { return };
    if request.header_status() >= 500 || !request.has_open_upstream() {
        return worker.judge(passage, of(request));
    }
    let Some(at) = passage.at_backend() else { return };
    if !at.waits_for_end.get() && passage.canary().is_some() {
        at.waits_for_end.set(request.finish_with::<Judgement>());
        worker.canary_answers(passage);
    }
}

/// nginx is through with the backend of a canary's request, whose answer was good when it began.
struct Judgement;

impl Finish for Judgement {
    fn wants(_: ngx_int_t) -> bool {
        true
    }

    fn finish(request: Request<'_>, _: ngx_int_t) {
        if let (Some(passage), Some(worker)) = (Passage::find(request.main()), Worker::here()) {
            worker.judge(passage, of(request));
        }
    }
}
