//! The content handler of a control location.

// A call is answered once, and an error is an answer like others.
#![allow(clippy::result_large_err)]

mod answer;
mod caller;
mod calls;
mod changes;
mod dashboard;
mod reports;
mod suspend;
mod wait;
mod written;

use nginx_sys::{NGX_DONE, NGX_HTTP_INTERNAL_SERVER_ERROR, ngx_int_t};

use crate::control::args::{Args, Disable, Enable, retry_after, shown};
use crate::control::{CALLS, Call};
use crate::nginx::conf::LocConf;
use crate::nginx::conf::app::app_name;
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::request::{Handler, Request};
use crate::nginx::host::Worker;
use crate::shm::MAX_NAME;
use answer::Answer;
use changes::{Calling, Reply};

const FAILED: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// The handler of a control location.
pub struct Control;

impl Handler for Control {
    fn handle(request: Request<'_>) -> ngx_int_t {
        guarded(FAILED, || {
            if let Err(rc) = request.discard_body() {
                return rc;
            }
            let changes = written::changes();
            match reply(request).unwrap_or_else(Reply::Now) {
                Reply::Now(answer) if written::changes() == changes => {
                    answer::send(request, &answer).unwrap_or(FAILED)
                }
                Reply::Now(answer) => written::send(request, answer),
                Reply::Later => NGX_DONE as ngx_int_t,
            }
        })
    }
}

fn reply(request: Request<'_>) -> Result<Reply, Answer> {
    let broken = || Answer::error(500, "The module is not set up in this process.");
    let conf = LocConf::of(request).ok_or_else(broken)?;
    let worker = Worker::here().ok_or_else(broken)?;
    caller::check(request, conf)?;
    let call = match Call::of_path(request.uri()) {
        Some(call) => call,
        None if dashboard::is_asked_for(request) => Call::Dashboard,
        None => return Err(dashboard::redirect(request).unwrap_or_else(no_such_call)),
    };
    if !call.allows(request.method()) {
        return Err(wrong_method(call));
    }
    if call.changes_state() {
        caller::check_change(request)?;
    }
    let args = Args::parse(call, request.query()).map_err(Answer::bad_request)?;
    check_format(&args)?;
    if !request.is_main() {
        check_subrequest(&args)?;
    }
    answer_call(&Calling { request, worker, conf }, call, &args)
}

fn answer_call(calling: &Calling<'_>, call: Call, args: &Args<'_>) -> Result<Reply, Answer> {
    let policy = calling.conf.policy();
    let disable = || Disable::parse(args, policy).map_err(Answer::bad_request);
    if args.get("app") == Some(b"*") {
        return match call {
            Call::Status => Ok(Reply::Now(calling.status_of_all())),
            Call::Metrics => Ok(Reply::Now(calling.metrics_of_all())),
            Call::Dashboard => dashboard::page().map(Reply::Now),
            Call::Disable if args.get("canary").is_none() && args.get("pause").is_none() => {
                Ok(Reply::Now(calling.disable_all(&disable()?)))
            }
            _ => Err(Answer::bad_request("argument \"app\" is \"*\": this call takes one app")),
        };
    }
    let app = app_of(calling.request, args)?;
    match call {
        Call::Metrics if args.get("app").is_none() => Ok(Reply::Now(calling.metrics_of_all())),
        Call::Metrics => Ok(Reply::Now(calling.metrics(&app))),
        Call::Dashboard => dashboard::page().map(Reply::Now),
        Call::Status => Ok(Reply::Now(calling.status(&app))),
        Call::Enable => calling.enable(&app, &Enable::parse(args).map_err(Answer::bad_request)?),
        Call::Disable => Ok(calling.disable(&app, &disable()?)),
        Call::Maintenance => {
            let retry_after = retry_after(args).map_err(Answer::bad_request)?;
            calling.maintenance(&app, retry_after).map(Reply::Now)
        }
    }
}

fn no_such_call() -> Answer {
    Answer::error(404, format!("There is no such call. There are: {CALLS}."))
}

fn wrong_method(call: Call) -> Answer {
    let methods = call.methods();
    Answer::error(405, format!("This call takes {methods}.")).with_header("Allow", methods)
}

fn check_format(args: &Args<'_>) -> Result<(), Answer> {
    match args.get("format") {
        None | Some(b"json" | b"text") => Ok(()),
        Some(other) => Err(Answer::bad_request(format!(
            "argument \"format\" is \"{}\": expected json or text",
            shown(other)
        ))),
    }
}

/// A subrequest (of `mirror`, say) cannot wait: the connection's events are those of another request.
fn check_subrequest(args: &Args<'_>) -> Result<(), Answer> {
    match ["drain", "canary"].into_iter().find(|name| args.get(name).is_some()) {
        None => Ok(()),
        Some(name) => {
            Err(Answer::bad_request(format!("argument \"{name}\" waits, which no subrequest can")))
        }
    }
}

fn app_of(request: Request<'_>, args: &Args<'_>) -> Result<Vec<u8>, Answer> {
    let name = match args.get("app") {
        Some(b"") => Some(b"default".to_vec()),
        Some(name) => Some(name.to_vec()),
        None => app_name(request),
    };
    let name = name.ok_or_else(|| Answer::bad_request("the app's name cannot be evaluated"))?;
    if name.len() > MAX_NAME {
        let why = format!("argument \"app\" is longer than {MAX_NAME} bytes");
        return Err(Answer::bad_request(why));
    }
    Ok(name)
}
