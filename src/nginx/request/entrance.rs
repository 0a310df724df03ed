//! The gate, as nginx's phases come to it: at the end of ACCESS, and once more in PRECONTENT.
//!
//! A request passes each app's gate once. PRECONTENT is asked if there is a gate under `satisfy any`,
//! which leads around the rest of the ACCESS phase; nothing else does.

use nginx_sys::{
    NGX_DECLINED, NGX_DONE, NGX_HTTP_CLIENT_CLOSED_REQUEST, NGX_HTTP_INTERNAL_SERVER_ERROR,
    NGX_HTTP_SERVICE_UNAVAILABLE, ngx_int_t,
};

use super::body::Asked;
use super::{body, hold, outcome};
use crate::nginx::conf::app::app_name;
use crate::nginx::conf::{LocConf, ReadBody, Standing};
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::clock;
use crate::nginx::ffi::request::{Handler, Request};
use crate::nginx::host::{Passage, Worker};
use crate::shm::Entry;
use crate::worker::{Decision, Ending, Host, Stage};

const DECLINED: ngx_int_t = NGX_DECLINED as ngx_int_t;
const FAILED: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// The ACCESS phase, which is one of main requests only.
pub struct Access;

impl Handler for Access {
    #[inline(always)]
    fn handle(request: Request<'_>) -> ngx_int_t {
        match LocConf::of(request) {
            Some(conf) if conf.standing == Standing::Access => enter(request, conf),
            Some(conf) if conf.standing == Standing::Nowhere && request.is_internal() => {
                leave_behind(request)
            }
            _ => DECLINED,
        }
    }
}

pub struct Precontent;

impl Handler for Precontent {
    fn handle(request: Request<'_>) -> ngx_int_t {
        if !request.is_main() {
            return DECLINED;
        }
        let is_through = || Passage::known(request).is_some_and(Passage::is_through);
        match LocConf::of(request).map(|conf| (conf, conf.standing)) {
            Some((conf, Standing::Precontent)) => enter(request, conf),
            Some((conf, Standing::Access)) if !is_through() => enter(request, conf),
            _ => DECLINED,
        }
    }
}

/// The short way through an open gate. Nothing in it can panic, so that the boundary stands before
/// the long way only.
#[inline(always)]
fn enter(request: Request<'_>, conf: &LocConf) -> ngx_int_t {
    let Some(worker) = Worker::here() else { return DECLINED };
    if let Some(passage) = Passage::find(request) {
        return re_enter(worker, conf, passage);
    }
    if request.may_have_body() {
        return enter_with_body(worker, conf, request);
    }
    pass(worker, conf, request, true)
}

/// Lets a request through if the gate of the place's app is open, and all of the request is there.
#[inline(always)]
fn pass(worker: &Worker, conf: &LocConf, request: Request<'_>, is_whole: bool) -> ngx_int_t {
    // Before it is counted, so that there is nothing to take back; and before the app is looked up,
    // as what is not needed across the call need not be kept.
    let Some(passage) = Passage::create(request) else { return FAILED };
    let known = if is_whole { known_entry(worker, conf) } else { None };
    match known {
        Some(entry) if entry.pass() => {
            passage.pass(entry);
            DECLINED
        }
        tried => enter_slowly(worker, conf, passage, tried),
    }
}

/// A request comes to a gate once more.
#[inline(never)]
fn re_enter(worker: &Worker, conf: &LocConf, passage: &Passage) -> ngx_int_t {
    let request = passage.request();
    let waits = request.may_have_body() && request.misses_body();
    if !waits && passage.is_through_at(known_entry(worker, conf)) {
        return DECLINED;
    }
    enter_other_app(worker, conf, passage)
}

/// It comes to the gate again after it was suspended there, or to one that it did not go through: to
/// another app's, which decides about it anew. What runs behind an answer (`post_action`) is no
/// request of the client's.
#[cold]
#[inline(never)]
fn enter_other_app(worker: &Worker, conf: &LocConf, passage: &Passage) -> ngx_int_t {
    guarded(FAILED, || match passage.stage() {
        Stage::Arriving => decide(worker, conf, passage),
        Stage::Reading | Stage::Held | Stage::Going(_) => fail(worker, conf, passage),
        Stage::Refused(status) | Stage::Leaving(status) => status as ngx_int_t,
        Stage::Through(_) if passage.request().is_afterthought() => DECLINED,
        Stage::Through(_) => {
            let Some(name) = app_name(passage.request()) else { return FAILED };
            let same = passage.entry().is_some_and(|it| worker.is_named(it.app(), &name));
            if same && !body::comes_first(passage.request(), conf) {
                return DECLINED;
            }
            passage.debug("comes to the gate of another place");
            worker.turn_back(passage, outcome::so_far(passage.request()));
            decide(worker, conf, passage)
        }
    })
}

/// The way of a request that has a body. One that is there already is no reason to wait.
#[cold]
#[inline(never)]
fn enter_with_body(worker: &Worker, conf: &LocConf, request: Request<'_>) -> ngx_int_t {
    pass(worker, conf, request, !request.misses_body())
}

#[cold]
#[inline(never)]
fn enter_slowly(
    worker: &Worker,
    conf: &LocConf,
    passage: &Passage,
    tried: Option<Entry>,
) -> ngx_int_t {
    guarded(FAILED, || {
        if let Some(entry) = tried {
            worker.counted_in_vain(entry.app());
        }
        decide(worker, conf, passage)
    })
}

#[inline(always)]
fn known_entry(worker: &Worker, conf: &LocConf) -> Option<Entry> {
    worker.known(conf.number)
}

/// Decides about a request that nobody has decided about, or that comes back with its body.
fn decide(worker: &Worker, conf: &LocConf, passage: &Passage) -> ngx_int_t {
    let request = passage.request();
    let Some(name) = app_name(request) else { return FAILED };
    let back = passage.comes_back();
    let reads = match back {
        true => conf.read_body() != ReadBody::Off && request.has_unread_body(),
        false => body::comes_first(request, conf) && goes_through(worker, conf, passage, &name),
    };
    if reads {
        passage.read_first();
        match hold::ask_for_body(passage) {
            Asked::Come => passage.has_come(),
            Asked::Later => return NGX_DONE as ngx_int_t,
            Asked::Failed(status) => return status,
        }
    }
    if back && request.connection().is_gone() {
        passage.debug("let go, but its client has gone");
        return NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t;
    }
    let decision = worker.ask(passage, &conf.place(&name), || {
        let bypasses = bypasses(request, conf);
        if bypasses {
            passage.debug("bypasses the gate");
        }
        bypasses
    });
    carry_out(worker, conf, passage, decision)
}

/// Whether a request would go through if its body were there. What is said then counts.
fn goes_through(worker: &Worker, conf: &LocConf, passage: &Passage, name: &[u8]) -> bool {
    worker.is_open(name) || bypasses(passage.request(), conf)
}

/// Does what was decided; returns what the phase shall return.
fn carry_out(worker: &Worker, conf: &LocConf, passage: &Passage, decision: Decision) -> ngx_int_t {
    match decision {
        Decision::Through => DECLINED,
        Decision::Held => hold::suspend(passage, conf),
        Decision::Refused(why) => refuse(worker, passage, conf, why),
    }
}

fn refuse(worker: &Worker, passage: &Passage, conf: &LocConf, ending: Ending) -> ngx_int_t {
    passage.refuse(NGX_HTTP_SERVICE_UNAVAILABLE as u16, ending, clock::now());
    passage.debug("refused");
    if ending == Ending::Rejected && worker.host.is_short_of_connections() {
        passage.request().close_afterwards();
    }
    hold::add_retry_after(passage, conf);
    NGX_HTTP_SERVICE_UNAVAILABLE as ngx_int_t
}

/// What becomes of a request whose body could not be read: nginx asks for the page of that error. It
/// gets the page if the gate there is open, or lets go those who were held with it, and else the
/// plain error: nobody is held who is refused anyway, and nothing goes to a backend that is paused.
fn fail(worker: &Worker, conf: &LocConf, passage: &Passage) -> ngx_int_t {
    let request = passage.request();
    hold::stop_timer(request);
    body::drop_unfinished(passage);
    let was_held = passage.stage() == Stage::Held;
    let let_go_from = passage.entry().filter(|_| !was_held);
    worker.give_up(passage);
    let Some(name) = app_name(request) else { return FAILED };
    if let_go_from.is_some_and(|entry| worker.is_released(entry.app(), &name)) {
        let decision = worker.let_through(passage, &conf.place(&name), Ending::Aborted);
        return carry_out(worker, conf, passage, decision);
    }
    if !was_held && goes_through(worker, conf, passage, &name) {
        return decide(worker, conf, passage);
    }
    let status = u16::try_from(request.error_status()).ok().filter(|it| (400..600).contains(it));
    let status = status.unwrap_or(NGX_HTTP_INTERNAL_SERVER_ERROR as u16);
    passage.refuse(status, passage.why_let_go(), clock::now());
    status as ngx_int_t
}

/// A request comes to a place without a gate. If its body could not be read, as nginx asks for the
/// page of that error there, nothing of it may go to a backend.
#[cold]
#[inline(never)]
fn leave_behind(request: Request<'_>) -> ngx_int_t {
    guarded(FAILED, || {
        if let (true, Some(worker), Some(passage)) =
            (request.is_main(), Worker::here(), Passage::find(request))
        {
            if matches!(passage.stage(), Stage::Reading | Stage::Held | Stage::Going(_)) {
                hold::stop_timer(request);
                body::drop_unfinished(passage);
                worker.give_up(passage);
            }
        }
        DECLINED
    })
}

/// Whether a request goes through a closed gate.
pub fn bypasses(request: Request<'_>, conf: &LocConf) -> bool {
    if conf.is_health_check(request.uri()) {
        return true;
    }
    let patterns = conf.agents.as_deref().unwrap_or_default();
    let is_known = |agent| patterns.iter().any(|pattern| pattern.matches(agent));
    request.user_agent().is_some_and(is_known) || conf.bypass.holds_for(request)
}
