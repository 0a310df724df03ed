//! Taking a request back that could not be sent to its backend: it is held where it is, behind its phases,
//! and the backend is asked anew when its turn comes.

use core::time::Duration;

use nginx_sys::ngx_int_t;
use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::{entrance, hold};
use crate::gate::outage::Terms;
use crate::nginx::conf::{LocConf, MOST_TRIES, Probe, Replay};
use crate::nginx::ffi::request::Request;
use crate::nginx::host::{AtBackend, Passage, Taken, Worker, look_at_answers};
use crate::worker::Patience;

/// nginx is about to answer with this status, as its upstream module found no server, or lost it. If nothing
/// of the request was sent, or it may be asked again, it takes its place in the queue, and nginx goes as far
/// as [`park`]. The request is a main one, which went through.
pub fn consider(request: Request<'_>, passage: &Passage, rc: ngx_int_t) {
    let (Some(at), Some(conf)) = (passage.at_backend(), LocConf::of(request)) else { return };
    let is_unsent = request.is_unsent() && !is_mistake(request);
    let may_wait = is_unsent || may_be_repeated(request, at, conf, rc);
    let Some(worker) = Worker::here().filter(|_| may_wait) else { return };
    // The gate was open when it came, so that nobody asked.
    if request.is_afterthought() || entrance::bypasses(request, conf) {
        return;
    }
    let probe = probe(request, conf);
    let patience = patience(conf, &probe);
    let status = u32::try_from(rc).unwrap_or_default();
    let taken = worker.take_back(passage, passage.own.arrived(), &patience, status, !is_unsent);
    let Some(until) = taken else { return };
    passage.debug(if is_unsent { "taken back" } else { "will be asked again" });
    at.replayed.set(at.replayed.get() || !is_unsent);
    look_at_answers();
    at.taken.set(Some(Taken { until, error: request.hide_error() }));
    request.keep_out_of_cache();
    if let Some(entry) = passage.entry() {
        // Those that nginx did not ask, as they failed before, may be back first.
        let others = request.servers_of_group();
        let names = request.servers().into_iter().chain(others.iter().map(Vec::as_slice));
        let names = names.filter(|_| probe != Probe::Request);
        let path = match &probe {
            Probe::Path(path) if request.speaks_http() => path,
            _ => &[][..],
        };
        worker.host.probes.learn(entry.app(), worker.outage(entry.app()), names, path);
        worker.knows_backend(entry.app());
    }
}

/// How it is seen that the backend is back. Servers that were found by their name may be others by then.
fn probe(request: Request<'_>, conf: &LocConf) -> Probe {
    if request.looks_servers_up() {
        return Probe::Request;
    }
    conf.auto_probe.clone().unwrap_or_default()
}

fn patience(conf: &LocConf, probe: &Probe) -> Patience {
    let (longest, interval) = (conf.auto_max_time(), conf.auto_interval());
    let first_probes = *probe == Probe::Request;
    let least = if first_probes { longest / MOST_TRIES } else { Duration::ZERO };
    Patience {
        terms: Terms {
            longest,
            interval: interval.max(least),
            first_probes,
            policy: conf.policy(),
        },
        looks: conf.interval(),
        max_held: conf.max_held.unwrap_or(0),
    }
}

/// Whether a request is asked again that broke off on its way: one that changes nothing, and of whose
/// answer nothing has come.
fn may_be_repeated(request: Request<'_>, at: &AtBackend, conf: &LocConf, rc: ngx_int_t) -> bool {
    conf.auto_replay == Some(Replay::Get)
        && rc == 502
        && request.changes_nothing()
        && !at.replayed.get()
        && request.has_heard_nothing()
        && request.is_at_its_end()
}

/// Whether nothing of it passes by itself.
fn is_mistake(request: Request<'_>) -> bool {
    let is_nameless = request.looks_servers_up() && !request.has_resolver();
    is_nameless || request.servers().into_iter().any(is_forbidden)
}

/// Whether a server is a socket that nginx may not connect to.
fn is_forbidden(name: &[u8]) -> bool {
    let Some(path) = name.strip_prefix(b"unix:") else { return false };
    matches!(access(path, Access::WRITE_OK), Err(Errno::ACCESS | Errno::PERM))
}

/// nginx sends the header of an answer. If that is one of a request that was taken back, it is none: the
/// request is suspended, as if nobody had asked the backend.
pub fn park(request: Request<'_>) -> bool {
    let Some(passage) = Passage::known(request) else { return false };
    let Some(at) = passage.own.at_backend() else { return false };
    let Some(taken) = at.taken.take() else { return false };
    request.forget_error(taken.error);
    request.forget_answer();
    at.parked.set(Some(request.is_header_only()));
    // nginx sends no body, and leaves the request to whoever has counted it.
    request.set_header_only(true);
    request.count_once_more();
    hold::suspend_until(passage, taken.until);
    true
}
