//! Requests that are passed on to a backend whose address has variables in it. Where that names no group,
//! nginx makes up a server, and asks no module before it connects there: so a function of ours stands in the
//! place of the handler that gets the request ready for its backend.

use core::marker::PhantomData;
use core::ptr::fn_addr_eq;

use nginx_sys::{
    NGX_DONE, NGX_ERROR, NGX_OK, ngx_http_block_reading, ngx_http_request_t,
    ngx_http_upstream_init, ngx_int_t,
};

use super::boundary::guarded;
use super::configuring::{Configuring, Location};
use super::local::Local;
use super::passers::{Handle, passers};
use super::request::{FORMERS, Former, Request, at_each_place};

const FAILED: ngx_int_t = NGX_ERROR as ngx_int_t;

/// What is called when a request is ready for its backend, and nginx has not looked for a server.
pub trait Ready {
    /// Whether this request is of interest. Nothing in it can panic, so that it needs no boundary.
    fn wants(request: Request<'_>) -> bool;

    fn is_ready(request: Request<'_>);
}

static HANDLERS: Local<Former<Handle>> = Local::new(Former::new());
static CREATES: Local<Former<Handle>> = Local::new(Former::new());

struct Ours<T>(PhantomData<T>);

impl<T: Ready> Ours<T> {
    const HANDLERS: [Handle; FORMERS] = at_each_place!(handle);
    const CREATES: [Handle; FORMERS] = at_each_place!(create);
}

/// Lets `R` know, from now on, of the requests of these places whose backend's address has variables in it.
pub fn ready_with<R: Ready>(cf: &Configuring<'_>, places: &[Location<'_>]) {
    let passers = passers(cf);
    let has_variables = |place: Location<'_>| passers.iter().any(|it| it.needs_request(place));
    for place in places.iter().filter(|place| has_variables(**place)) {
        place.change(|it| {
            let at = it.handler.and_then(|former| HANDLERS.get().place_of(former));
            it.handler = at.map(|at| Ours::<R>::HANDLERS[at]).or(it.handler);
        });
    }
}

/// Gets a request ready for its backend.
unsafe extern "C" fn handle<R: Ready, const PLACE: usize>(
    request: *mut ngx_http_request_t,
) -> ngx_int_t {
    let Some(former) = HANDLERS.get().at(PLACE) else { return FAILED };
    // SAFETY: nginx passes a request, which it keeps until it is told what becomes of it.
    let living = unsafe { Request::new(request) };
    if !living.can_wait() || !R::wants(living) {
        // SAFETY: what this stands in for is given what this was given.
        return unsafe { former(request) };
    }
    // The upstream module begins nothing for a request that waits for a file. Who has to read a body first
    // shows that by a reader.
    living.change(|it| it.set_aio(1));
    living.block_reading();
    // SAFETY: as above. nginx's own modules say that they are done when the request waits for its body, or
    // its backend.
    let rc = unsafe { former(request) };
    living.change(|it| it.set_aio(0));
    if rc == NGX_DONE as ngx_int_t && living.tells_when_ready::<R>() && !living.reads_body() {
        // SAFETY: the request has an upstream, which has not begun, and waits for nothing else.
        unsafe { ngx_http_upstream_init(request) };
    }
    rc
}

impl Request<'_> {
    /// Whether nobody has been answered, and nothing else is waited for.
    fn can_wait(self) -> bool {
        self.see(|it| it.header_sent() == 0 && it.aio() == 0)
    }

    fn reads_body(self) -> bool {
        let blocks: unsafe extern "C" fn(_) = ngx_http_block_reading;
        !self.see(|it| it.read_event_handler).is_some_and(|it| fn_addr_eq(it, blocks))
    }

    /// Lets `R` know when the request is ready for the backend that was chosen for it. `false`, if it was
    /// answered instead.
    fn tells_when_ready<R: Ready>(self) -> bool {
        let Some(upstream) = self.upstream().filter(|_| self.can_wait()) else { return false };
        upstream.change(|it| {
            let at = it.create_request.and_then(|former| CREATES.get().place_of(former));
            it.create_request = at.map(|at| Ours::<R>::CREATES[at]).or(it.create_request);
        });
        true
    }
}

/// Makes what is sent to the backend.
unsafe extern "C" fn create<R: Ready, const PLACE: usize>(
    request: *mut ngx_http_request_t,
) -> ngx_int_t {
    let Some(former) = CREATES.get().at(PLACE) else { return FAILED };
    // SAFETY: what this stands in for is given what this was given.
    let rc = unsafe { former(request) };
    if rc == NGX_OK as ngx_int_t {
        // SAFETY: nginx passes a request that has an upstream, and keeps it until it has an answer.
        let living = unsafe { Request::new(request) };
        guarded((), || R::is_ready(living));
    }
    rc
}
