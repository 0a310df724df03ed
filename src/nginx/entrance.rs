//! The gate, as nginx's phases come to it: at the end of ACCESS, and once more in PRECONTENT.
//!
//! A request passes each app's gate once. PRECONTENT is asked if there is a gate under `satisfy any`,
//! which leads around the rest of the ACCESS phase; nothing else does.

use nginx_sys::{
    NGX_DECLINED, NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_SERVICE_UNAVAILABLE, NGX_OK,
    ngx_http_complex_value, ngx_http_request_t, ngx_http_test_predicates, ngx_int_t, ngx_str_t,
};
use ngx::http::HttpModuleConfExt;

use super::boundary::guarded;
use super::conf::{AppName, LocConf, MainConf, Standing};
use super::module::module;
use super::passage::{Ending, Passage};
use super::worker::{Answer, Knock, Worker};
use super::{clock, headers, hold};
use crate::shm::Entry;

const DECLINED: ngx_int_t = NGX_DECLINED as ngx_int_t;
const FAILED: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

pub unsafe extern "C" fn access(request: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes a living request.
    unsafe {
        match LocConf::of(request) {
            Some(conf) if conf.standing == Standing::Access => enter(request, conf),
            _ => DECLINED,
        }
    }
}

pub unsafe extern "C" fn precontent(request: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: as above.
    unsafe {
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
///
/// # Safety
///
/// `request` is a living request, in one of the phases, `conf` that of its location.
#[inline(always)]
unsafe fn enter(request: *mut ngx_http_request_t, conf: &LocConf) -> ngx_int_t {
    // SAFETY: the caller's promise.
    unsafe {
        if request != (*request).main {
            return DECLINED;
        }
        let Some(worker) = Worker::here() else { return DECLINED };
        if let Some(passage) = Passage::find(request) {
            return come_again(worker, conf, passage);
        }
        // Before it is counted, so that there is nothing to take back.
        let Some(passage) = Passage::create(request) else { return FAILED };
        let known = known_entry(worker, conf);
        match known.filter(Entry::pass) {
            Some(entry) => {
                passage.pass(entry);
                DECLINED
            }
            None => enter_slowly(worker, conf, passage, known),
        }
    }
}

/// A request comes to a gate once more.
///
/// # Safety
///
/// As [`meet_again`].
#[inline(never)]
unsafe fn come_again(worker: &Worker, conf: &LocConf, passage: &Passage) -> ngx_int_t {
    if passage.is_through_at(known_entry(worker, conf)) {
        return DECLINED;
    }
    // SAFETY: the caller's promise.
    unsafe { meet_again(worker, conf, passage) }
}

/// It comes to a gate that it did not go through: to another app's, which decides about it anew. What
/// runs behind an answer (`post_action`) is no request of the client's.
///
/// # Safety
///
/// The passage is that of a living request, in one of the phases.
#[cold]
#[inline(never)]
unsafe fn meet_again(worker: &Worker, conf: &LocConf, passage: &Passage) -> ngx_int_t {
    // SAFETY: the caller's promise.
    guarded(FAILED, || unsafe {
        if !passage.is_through() || (*passage.request()).post_action() != 0 {
            return passage.meet_again();
        }
        let Some(name) = app_name(passage.request()) else { return FAILED };
        if passage.entry().is_some_and(|entry| worker.is_named(entry.app(), &name)) {
            return DECLINED;
        }
        passage.debug("comes to another app's gate");
        passage.turn_back();
        knock(worker, conf, passage)
    })
}

/// # Safety
///
/// As [`knock`].
#[cold]
#[inline(never)]
unsafe fn enter_slowly(
    worker: &Worker,
    conf: &LocConf,
    passage: &Passage,
    tried: Option<Entry>,
) -> ngx_int_t {
    guarded(FAILED, || {
        if let Some(entry) = tried {
            worker.counted_in_vain(entry.app());
        }
        // SAFETY: the caller's promise.
        unsafe { knock(worker, conf, passage) }
    })
}

#[inline(always)]
fn known_entry(worker: &Worker, conf: &LocConf) -> Option<Entry> {
    match conf.app.unwrap_or(AppName::Fixed(0)) {
        AppName::Fixed(name) => worker.known(name),
        AppName::Evaluated(_) => None,
    }
}

/// # Safety
///
/// The passage is that of a living request.
unsafe fn knock(worker: &Worker, conf: &LocConf, passage: &Passage) -> ngx_int_t {
    let request = passage.request();
    // SAFETY: the caller's promise.
    let Some(name) = (unsafe { app_name(request) }) else { return FAILED };
    let (mut answer, mut ending) = (worker.knock(&name, Knock::Look), Ending::Passed);
    if matches!(answer, Answer::Closed) {
        // SAFETY: the caller's promise.
        let knock = if unsafe { bypasses(request, conf) } {
            passage.debug("bypasses the gate");
            ending = Ending::Bypassed;
            Knock::Bypass
        } else {
            let (max_held, interval) = (conf.max_held.unwrap_or(0), conf.interval());
            Knock::Stay { passage, max_held, interval }
        };
        answer = worker.knock(&name, knock);
    }
    match answer {
        Answer::Through(entry) => {
            if let Some(AppName::Fixed(name)) = conf.app.or(Some(AppName::Fixed(0))) {
                worker.remember(name, entry);
            }
            passage.go_through(Some(entry), ending);
            DECLINED
        }
        Answer::Apart => {
            passage.go_apart(ending);
            DECLINED
        }
        // SAFETY: the caller's promise.
        Answer::Held => unsafe { hold::suspend(passage, conf) },
        // SAFETY: the caller's promise.
        Answer::Full => unsafe { refuse(passage, conf, Ending::Rejected) },
        Answer::Maintenance(entry) => {
            passage.meet(entry);
            // SAFETY: the caller's promise.
            unsafe { refuse(passage, conf, Ending::Maintenance) }
        }
        Answer::Nameless | Answer::Closed => {
            passage.go_through(None, Ending::Passed);
            DECLINED
        }
    }
}

/// # Safety
///
/// As [`knock`].
unsafe fn refuse(passage: &Passage, conf: &LocConf, ending: Ending) -> ngx_int_t {
    passage.refuse(NGX_HTTP_SERVICE_UNAVAILABLE as u16, ending, clock::now());
    passage.debug("refused");
    let needs_connections = || Worker::here().is_some_and(Worker::needs_connections);
    // SAFETY: the caller's promise.
    unsafe {
        if ending == Ending::Rejected && needs_connections() {
            (*passage.request()).set_keepalive(0);
        }
        hold::add_retry_after(passage, conf);
        passage.meet_again()
    }
}

/// The name of the app that a request's location belongs to.
///
/// # Safety
///
/// `request` is a living request.
pub unsafe fn app_name(request: *mut ngx_http_request_t) -> Option<Vec<u8>> {
    // SAFETY: the caller's promise; the names and values are those of its configuration.
    let name = unsafe {
        match LocConf::of(request)?.app.unwrap_or(AppName::Fixed(0)) {
            AppName::Fixed(index) => {
                let main = (*request).http_main_conf_unchecked::<MainConf>(module())?;
                main.as_ref().names.get(index)?.clone()
            }
            AppName::Evaluated(value) => {
                let mut name = ngx_str_t::default();
                if ngx_http_complex_value(request, value, &mut name) != NGX_OK as ngx_int_t {
                    return None;
                }
                headers::bytes(&name).to_vec()
            }
        }
    };
    Some(if name.is_empty() { b"default".to_vec() } else { name })
}

/// Whether a request goes through a closed gate.
///
/// # Safety
///
/// `request` is a living request.
unsafe fn bypasses(request: *mut ngx_http_request_t, conf: &LocConf) -> bool {
    // SAFETY: the caller's promise; a header that is there has a value.
    unsafe {
        if conf.is_health_check(headers::bytes(&(*request).uri)) {
            return true;
        }
        let agent = headers::value((*request).headers_in.user_agent);
        let patterns = conf.agents.as_deref().unwrap_or_default();
        if agent.is_some_and(|agent| patterns.iter().any(|pattern| pattern.matches(agent))) {
            return true;
        }
        let list = conf.bypass.list();
        list.is_some_and(|list| ngx_http_test_predicates(request, list) == DECLINED)
    }
}
