//! What a request shows of the backend that was asked for its answer.

use core::ptr;

use nginx_sys::{
    NGX_HTTP_GET, NGX_HTTP_HEAD, ngx_event_pipe_t, ngx_http_upstream_resolved_t,
    ngx_http_upstream_state_t, ngx_http_upstream_t, ngx_msec_t, ngx_resolver_t,
};

use super::Request;
use crate::nginx::ffi::client::Connection;
use crate::nginx::ffi::groups::{self, Group};
use crate::nginx::ffi::living::{Living, Reached, reaches};
use crate::nginx::ffi::location::Location;

type State = ngx_http_upstream_state_t;

pub(in crate::nginx::ffi) type Upstream<'r> = Living<'r, ngx_http_upstream_t>;

/// nginx's sign for a time that has not come.
const NEVER: ngx_msec_t = ngx_msec_t::MAX;

reaches!(Request<'r> {
    /// In the request's pool.
    pub(in crate::nginx::ffi) fn upstream() -> Option<Upstream<'r>> = upstream;

    /// An array that nginx's upstream module has put into the request's pool, or none.
    fn states() -> &'r [State] = upstream_states;
});

reaches!(Upstream<'r> {
    /// The servers that are asked: part of the configuration that the request is served with.
    fn group() -> Option<Group<'r>> = upstream;

    /// What came of an address with variables, in the request's pool.
    fn resolved() -> Option<Living<'r, ngx_http_upstream_resolved_t>> = resolved;

    /// In the configuration, or in the request's pool.
    fn schema() -> &'r [u8] = schema;

    /// The connection to the backend, which nginx forgets when it closes it.
    fn backend() -> Option<Connection<'r>> = peer.connection;

    /// What brings the answer of an upstream that is buffered: in the request's pool.
    fn pipe() -> Option<Living<'r, ngx_event_pipe_t>> = pipe;
});

impl<'r> Request<'r> {
    /// Whether a backend was to be asked.
    pub fn has_backend(self) -> bool {
        self.see(|it| !it.upstream_states.is_null())
    }

    /// Whether the backend has answered for all that nginx sees at a glance. A request that no backend
    /// was asked for counts as answered.
    #[inline(always)]
    pub fn is_answered(self) -> bool {
        match self.states() {
            [] => true,
            [only] => only.header_time != NEVER && !self.connection().was_left(),
            _ => false,
        }
    }

    /// What shows in the attempts to get an answer from a backend.
    fn in_states<R>(self, look: impl FnOnce(&[State]) -> R) -> R {
        look(self.states())
    }

    /// Whether a backend was asked that has not answered, or not to the end: it may be at work still.
    pub fn is_abandoned(self) -> bool {
        let unanswered = |state: &State| state.bytes_sent > 0 && state.header_time == NEVER;
        let (waited_for, begun) = self.in_states(|states| {
            let begun = states.last().is_some_and(|state| state.header_time != NEVER);
            (states.iter().any(unanswered), begun)
        });
        let is_incomplete = || self.upstream().is_some_and(|upstream| !is_complete(upstream));
        waited_for || (begun && self.connection().was_left() && is_incomplete())
    }

    /// Whether the answer ended in the middle of its body, and not for the client.
    pub fn was_broken_off(self) -> bool {
        !self.connection().is_broken() && self.upstream().is_some_and(broke_off)
    }

    /// The status of the last attempt to get an answer from the backend, if that is an error.
    pub fn failure_of_backend(self) -> Option<u32> {
        let status = self.in_states(|states| Some(states.last()?.status))?;
        u32::try_from(status).ok().filter(|status| *status >= 500)
    }

    /// The names of the servers that were asked, or tried.
    pub fn servers(self) -> Vec<&'r [u8]> {
        self.in_states(|states| {
            // SAFETY: the names are in nginx's configuration, or in the request's pool.
            let name = |it: &State| unsafe { it.peer.as_ref().map(|name| Reached::from(*name)) };
            states.iter().filter_map(name).collect()
        })
    }

    /// Whether the servers are found by their name at each request, so that they may be others next time.
    pub fn looks_servers_up(self) -> bool {
        let looks_up = |it: &ngx_http_upstream_resolved_t| it.sockaddr.is_null();
        self.upstream().is_some_and(|upstream| {
            upstream.group().is_none() && upstream.resolved().is_some_and(|it| it.see(looks_up))
        })
    }

    /// Whether there is somebody to ask for the address that belongs to a name.
    pub fn has_resolver(self) -> bool {
        let has_server = |it: Living<'_, ngx_resolver_t>| it.see(|it| it.connections.nelts > 0);
        self.location().and_then(Location::resolver).is_some_and(has_server)
    }

    /// The names of the servers that can be asked for it.
    pub fn servers_of_group(self) -> Vec<Vec<u8>> {
        let group = self.upstream().and_then(|upstream| upstream.group());
        group.map(groups::servers_of).unwrap_or_default()
    }

    /// Whether nothing of a request can have been sent to any server, so that it may be sent again,
    /// and no other server is left for it.
    pub fn is_unsent(self) -> bool {
        let Some(upstream) = self.upstream() else { return false };
        let silent = |state: &State| state.bytes_sent == 0 && state.bytes_received == 0;
        // A connection that is there has sent nothing, unless in TLS, which nginx does not count.
        let sent = upstream.see(|it| it.request_sent() != 0);
        let clean = upstream
            .backend()
            .is_none_or(|it| !sent && it.see(|it| it.sent == 0 && it.ssl.is_null()));
        self.is_at_its_end()
            && self.see(|it| it.request_body_no_buffering() == 0)
            && self.in_states(|states| states.iter().all(silent))
            && clean
    }

    /// Whether nobody has been answered, and no other server is left to be asked.
    pub fn is_at_its_end(self) -> bool {
        let Some(upstream) = self.upstream() else { return false };
        let last =
            self.in_states(|states| states.last().map_or(ptr::null_mut(), |state| state.peer));
        // Where there is no server left, nginx names the group.
        let is_group = |group| groups::is_named(group, last);
        let tried = !last.is_null() && !upstream.group().is_some_and(is_group);
        !self.connection().is_broken()
            && upstream.see(|it| it.header_sent() == 0)
            && (upstream.see(|it| it.peer.tries == 0) || !tried)
    }

    /// Whether no byte of an answer has come.
    pub fn has_heard_nothing(self) -> bool {
        self.in_states(|states| states.iter().all(|state| state.bytes_received == 0))
    }

    /// Whether the server is asked in plain HTTP.
    pub fn speaks_http(self) -> bool {
        self.upstream().is_some_and(|upstream| upstream.schema() == b"http://")
    }

    /// Whether it only asks (GET or HEAD), without a body.
    pub fn changes_nothing(self) -> bool {
        self.see(|it| {
            let only_asks = [NGX_HTTP_GET as usize, NGX_HTTP_HEAD as usize].contains(&it.method);
            only_asks && it.headers_in.content_length_n <= 0 && it.headers_in.chunked() == 0
        })
    }

    /// Whether there is an upstream that is not through yet.
    pub fn has_open_upstream(self) -> bool {
        self.upstream().is_some_and(|upstream| upstream.see(|it| !it.cleanup.is_null()))
    }

    /// No answer of the backend is kept in a cache.
    pub fn keep_out_of_cache(self) {
        if let Some(upstream) = self.upstream() {
            upstream.change(|it| it.set_cacheable(0));
        }
    }

    /// The backend is asked as if nobody had been.
    pub fn forget_backend(self) {
        self.change(|it| it.upstream_states = ptr::null_mut());
    }
}

/// Whether all of the answer has come, as far as it shows.
fn is_complete(upstream: Upstream<'_>) -> bool {
    if upstream.see(|it| it.buffering() == 0) {
        return upstream.see(|it| it.length == 0);
    }
    upstream
        .pipe()
        .is_none_or(|pipe| pipe.see(|it| it.upstream_done() != 0 || it.upstream_eof() != 0))
}

fn broke_off(upstream: Upstream<'_>) -> bool {
    if upstream.see(|it| it.buffering() == 0) {
        // What is missing; -1 where the end of the connection ends the body.
        return upstream.see(|it| it.length > 0);
    }
    let broke_off = |pipe: &ngx_event_pipe_t| {
        let early_end = pipe.upstream_eof() != 0 && pipe.upstream_done() == 0 && pipe.length != -1;
        pipe.upstream_error() != 0 || (early_end && pipe.downstream_error() == 0)
    };
    upstream.pipe().is_some_and(|pipe| pipe.see(broke_off))
}
