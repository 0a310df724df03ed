//! The content handler of a control location.

use core::net::Ipv6Addr;
use core::ptr;

use nginx_sys::{
    NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_OK, NGX_OK as SENT, ngx_buf_t, ngx_chain_t,
    ngx_http_discard_request_body, ngx_http_output_filter, ngx_http_request_t,
    ngx_http_send_header, ngx_int_t, ngx_pcalloc, ngx_pnalloc, ngx_str_t,
};

use super::boundary::guarded;
use super::conf::{Control, LocConf};
use super::worker::Worker;
use super::{clock, entrance, headers};
use crate::control::args::{Args, shown};
use crate::control::report::{Report, quoted};
use crate::control::{CALLS, Call, Done, is_cross_site};
use crate::gate::State;
use crate::gate::time::{Moment, micros};
use crate::shm::{AppId, MAX_NAME};

const FAILED: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// How many records are looked at, for a call, to find an app that can be forgotten.
const SEARCH: usize = usize::MAX;

/// An answer, before it is put into the form that was asked for.
struct Answer {
    status: u16,
    allow: Option<&'static str>,
    /// The first line, unless the report is all there is to say.
    line: Option<String>,
    report: Option<Report>,
}

impl Answer {
    fn error(status: u16, line: impl Into<String>) -> Self {
        Self { status, allow: None, line: Some(line.into()), report: None }
    }

    fn text(&self) -> String {
        let line = self.line.as_ref().map(|line| format!("{line}\n")).unwrap_or_default();
        line + &self.report.as_ref().map(Report::text).unwrap_or_default()
    }

    fn json(&self) -> String {
        let report = self.report.as_ref().map(Report::json);
        match (&self.line, report) {
            (None, Some(report)) => report + "\n",
            (Some(line), Some(report)) => {
                let rest = report.strip_prefix('{').unwrap_or_default();
                format!("{{\"message\":{},{rest}\n", quoted(line))
            }
            (line, None) => {
                let line = line.as_deref().unwrap_or_default();
                format!("{{\"error\":{}}}\n", quoted(line))
            }
        }
    }
}

pub unsafe extern "C" fn handler(request: *mut ngx_http_request_t) -> ngx_int_t {
    guarded(FAILED, || {
        // SAFETY: nginx passes a living request to the handler of its location.
        unsafe {
            let rc = ngx_http_discard_request_body(request);
            if rc != NGX_OK as ngx_int_t {
                return rc;
            }
            let answer = answer(request).unwrap_or_else(|refusal| refusal);
            send(request, &answer).unwrap_or(FAILED)
        }
    })
}

/// # Safety
///
/// `request` is a living request to a control location.
unsafe fn answer(request: *mut ngx_http_request_t) -> Result<Answer, Answer> {
    let broken = || Answer::error(500, "The module is not set up in this process.");
    // SAFETY: the caller's promise.
    unsafe {
        let conf = LocConf::of(request).ok_or_else(broken)?;
        let worker = Worker::here().ok_or_else(broken)?;
        check_caller(request, conf)?;
        let call = Call::of_path(headers::bytes(&(*request).uri)).ok_or_else(|| {
            Answer::error(404, format!("There is no such call. There are: {CALLS}."))
        })?;
        if !call.allows(headers::bytes(&(*request).method_name)) {
            return Err(Answer {
                allow: Some(call.methods()),
                ..Answer::error(405, format!("This call takes {}.", call.methods()))
            });
        }
        let args = Args::parse(call, headers::bytes(&(*request).args))
            .map_err(|bad| Answer::error(400, format!("Bad request: {bad}.")))?;
        check_format(&args)?;
        let app = app_of(request, &args)?;
        match call {
            Call::Status => Ok(status(worker, &app)),
            Call::Enable => enable(request, worker, conf, &app),
            Call::Disable => Ok(disable(request, worker, conf, &app)),
        }
    }
}

/// # Safety
///
/// As [`answer`].
unsafe fn check_caller(request: *mut ngx_http_request_t, conf: &LocConf) -> Result<(), Answer> {
    // SAFETY: the caller's promise.
    unsafe {
        let host = headers::value((*request).headers_in.host).unwrap_or_default();
        let (site, origin) =
            (headers::find(request, "Sec-Fetch-Site"), headers::find(request, "Origin"));
        if is_cross_site(site, origin, host) {
            return Err(Answer::error(403, "Forbidden: this call comes from another site's page."));
        }
        let forwarded = ["X-Forwarded-For", "Forwarded", "X-Real-IP"]
            .iter()
            .find(|name| headers::find(request, name).is_some());
        match (conf.control, forwarded) {
            (Some(Control::Any), _) => Ok(()),
            (_, Some(name)) => Err(Answer::error(
                403,
                format!("Forbidden: the call came through a proxy ({name}), so it is not local."),
            )),
            _ if is_local((*(*request).connection).fd) => Ok(()),
            _ => Err(Answer::error(
                403,
                "Forbidden: this location takes calls of local clients only \
                 (see intermission_control).",
            )),
        }
    }
}

/// Whether the other side of a socket is this machine, whatever headers or a PROXY protocol say.
/// A socket that has no one other side (HTTP/3) is not local.
fn is_local(fd: i32) -> bool {
    // SAFETY: all-zero addresses are valid; the kernel writes no more than it is given room for,
    // and the family says which of them it wrote.
    unsafe {
        let mut address: libc::sockaddr_storage = core::mem::zeroed();
        let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        if libc::getpeername(fd, (&raw mut address).cast(), &mut length) != 0 {
            return false;
        }
        match i32::from(address.ss_family) {
            libc::AF_UNIX => true,
            libc::AF_INET => {
                let address = &*(&raw const address).cast::<libc::sockaddr_in>();
                address.sin_addr.s_addr.to_ne_bytes()[0] == 127
            }
            libc::AF_INET6 => {
                let address = &*(&raw const address).cast::<libc::sockaddr_in6>();
                let address = Ipv6Addr::from(address.sin6_addr.s6_addr);
                address.is_loopback() || address.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback())
            }
            _ => false,
        }
    }
}

fn check_format(args: &Args<'_>) -> Result<(), Answer> {
    match args.get("format") {
        None | Some(b"json" | b"text") => Ok(()),
        Some(other) => Err(Answer::error(
            400,
            format!("Bad request: argument \"format\" is \"{}\": json or text.", shown(other)),
        )),
    }
}

/// # Safety
///
/// As [`answer`].
unsafe fn app_of(request: *mut ngx_http_request_t, args: &Args<'_>) -> Result<Vec<u8>, Answer> {
    let bad = |why: String| Answer::error(400, format!("Bad request: {why}."));
    let name = match args.get("app") {
        Some(b"") => Some(b"default".to_vec()),
        Some(name) => Some(name.to_vec()),
        // SAFETY: the caller's promise.
        None => unsafe { entrance::app_name(request) },
    };
    let name = name.ok_or_else(|| bad("the app's name cannot be evaluated".to_owned()))?;
    if name.len() > MAX_NAME {
        return Err(bad(format!("argument \"app\" is longer than {MAX_NAME} bytes")));
    }
    Ok(name)
}

fn status(worker: &Worker, app: &[u8]) -> Answer {
    Answer { status: 200, allow: None, line: None, report: Some(report(worker, app)) }
}

/// # Safety
///
/// As [`answer`].
unsafe fn enable(
    request: *mut ngx_http_request_t,
    worker: &Worker,
    conf: &LocConf,
    name: &[u8],
) -> Result<Answer, Answer> {
    let full =
        || Answer::error(507, "The zone has no room for another app: enlarge intermission_zone.");
    let now = clock::now();
    let mut locked = worker.zone.lock();
    let app = locked.find_or_create(name, SEARCH).map_err(|_| full())?;
    locked.entry(app, worker.slot).map_err(|_| full())?;
    let change = locked.update(app, |gate| gate.enable(now, Moment::NEVER, conf.policy()));
    drop(locked);
    let change = change.ok_or_else(full)?;
    // SAFETY: the caller's promise.
    worker.announce(name, &change, &worker.survey(app), &unsafe { caller(request) });
    let again = change.from == State::Paused;
    Ok(done(worker, name, if again { Done::AlreadyEnabled } else { Done::Enabled }))
}

/// # Safety
///
/// As [`answer`].
unsafe fn disable(
    request: *mut ngx_http_request_t,
    worker: &Worker,
    conf: &LocConf,
    name: &[u8],
) -> Answer {
    let now = clock::now();
    let mut locked = worker.zone.lock();
    let Some(app) = locked.find(name) else {
        drop(locked);
        return done(worker, name, Done::AlreadyDisabled);
    };
    let survey = worker.zone.survey(app, worker.slot, &worker.liveness(now));
    let change = locked.update(app, |gate| gate.disable(now, conf.policy(), 0, &survey));
    drop(locked);
    let Some(change) = change else { return done(worker, name, Done::AlreadyDisabled) };
    // SAFETY: the caller's promise.
    worker.announce(name, &change, &survey, &unsafe { caller(request) });
    let again = matches!(change.from, State::Open | State::Releasing);
    done(worker, name, if again { Done::AlreadyDisabled } else { Done::Disabled })
}

fn done(worker: &Worker, app: &[u8], done: Done) -> Answer {
    Answer { line: Some(done.line().to_owned()), ..status(worker, app) }
}

/// Who makes the call, for the log.
///
/// # Safety
///
/// As [`answer`].
unsafe fn caller(request: *mut ngx_http_request_t) -> String {
    // SAFETY: the caller's promise.
    shown(unsafe { headers::bytes(&(*(*request).connection).addr_text) })
}

fn report(worker: &Worker, name: &[u8]) -> Report {
    let known = worker.zone.lock().find(name);
    known.map_or_else(|| unknown(name), |app| report_of(worker, name, app))
}

fn unknown(name: &[u8]) -> Report {
    Report {
        app: name.to_vec(),
        state: State::Open,
        held: 0,
        in_flight: 0,
        upgraded: 0,
        oldest_wait_ms: 0,
        since: None,
        resumes_at: None,
        totals: Default::default(),
    }
}

fn report_of(worker: &Worker, name: &[u8], app: AppId) -> Report {
    let survey = worker.survey(app);
    let gate = worker.zone.lock().gate(app).cloned().unwrap_or_default();
    let now = clock::now();
    let oldest = if survey.oldest.is_never() { now } else { survey.oldest };
    let time = |at: Moment| (!at.is_never()).then(|| clock::timestamp(at));
    Report {
        state: gate.state(),
        held: survey.held,
        in_flight: survey.in_flight,
        upgraded: survey.upgraded,
        oldest_wait_ms: micros(now.since(oldest)) / 1000,
        since: (gate.since != Moment::default()).then(|| clock::timestamp(gate.since)),
        resumes_at: time(gate.deadline),
        totals: gate.totals,
        ..unknown(name)
    }
}

/// # Safety
///
/// As [`answer`].
unsafe fn send(request: *mut ngx_http_request_t, answer: &Answer) -> Option<ngx_int_t> {
    // SAFETY: the caller's promise; all that the response needs is in the request's pool.
    unsafe {
        let json = wants_json(request);
        let body = if json { answer.json() } else { answer.text() };
        let kind = if json { "application/json" } else { "text/plain" };
        headers::add(request, "Cache-Control", b"no-store")?;
        if let Some(allow) = answer.allow {
            headers::add(request, "Allow", allow.as_bytes())?;
        }
        let out = &mut (*request).headers_out;
        out.status = usize::from(answer.status);
        out.content_type = ngx_str_t { len: kind.len(), data: kind.as_ptr().cast_mut() };
        out.content_type_len = kind.len();
        out.content_length_n = i64::try_from(body.len()).ok()?;
        let rc = ngx_http_send_header(request);
        if rc == nginx_sys::NGX_ERROR as ngx_int_t
            || rc > SENT as ngx_int_t
            || (*request).header_only() != 0
        {
            return Some(rc);
        }
        let mut chain =
            ngx_chain_t { buf: buffer(request, body.as_bytes())?, next: ptr::null_mut() };
        Some(ngx_http_output_filter(request, &mut chain))
    }
}

/// # Safety
///
/// As [`answer`].
unsafe fn buffer(request: *mut ngx_http_request_t, body: &[u8]) -> Option<*mut ngx_buf_t> {
    // SAFETY: the caller's promise; zeroes are right for what is not set.
    unsafe {
        let data = ngx_pnalloc((*request).pool, body.len().max(1)).cast::<u8>();
        let buffer = ngx_pcalloc((*request).pool, size_of::<ngx_buf_t>()).cast::<ngx_buf_t>();
        if data.is_null() || buffer.is_null() {
            return None;
        }
        data.copy_from_nonoverlapping(body.as_ptr(), body.len());
        (*buffer).pos = data;
        (*buffer).last = data.add(body.len());
        (*buffer).set_memory(u32::from(!body.is_empty()));
        (*buffer).set_last_buf(u32::from(request == (*request).main));
        (*buffer).set_last_in_chain(1);
        Some(buffer)
    }
}

/// # Safety
///
/// As [`answer`].
unsafe fn wants_json(request: *mut ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let query = headers::bytes(&(*request).args);
        match query.split(|byte| *byte == b'&').find_map(|pair| pair.strip_prefix(b"format=")) {
            Some(format) => format == b"json",
            None => {
                let accept = headers::find(request, "Accept").unwrap_or_default();
                let json = b"application/json";
                accept.windows(json.len()).any(|window| window.eq_ignore_ascii_case(json))
            }
        }
    }
}
