//! Requests that are passed on to a backend whose address has variables in it. Where that names no group,
//! nginx makes up a server, and asks no module before it connects there: so a function of ours stands in the
//! place of the handler that gets the request ready for its backend.

use core::marker::PhantomData;
use core::ptr::fn_addr_eq;

use nginx_sys::{
    NGX_DONE, NGX_ERROR, NGX_OK, ngx_http_block_reading, ngx_http_upstream_init, ngx_int_t,
};

use super::boundary::guarded;
use super::configuring::Configuring;
use super::local::Local;
use super::location::Location;
use super::passers::passers;
use super::request::{FORMERS, Former, Raw, Request, Takes, at_each_place, raw, takes};

const FAILED: ngx_int_t = NGX_ERROR as ngx_int_t;

/// What is called when a request is ready for its backend, and nginx has not looked for a server.
pub trait Ready {
    /// Whether this request is of interest. Nothing in it can panic, so that it needs no boundary.
    fn wants(request: Request<'_>) -> bool;

    fn is_ready(request: Request<'_>);
}

type Handle = Takes<ngx_int_t>;

static HANDLERS: Local<Former<Raw<ngx_int_t>>> = Local::new(Former::new());
static CREATES: Local<Former<Raw<ngx_int_t>>> = Local::new(Former::new());

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
            it.handler = at.map(|at| raw(Ours::<R>::HANDLERS[at])).or(it.handler);
        });
    }
}

/// Gets a request ready for its backend.
extern "C" fn handle<R: Ready, const PLACE: usize>(request: Request<'_>) -> ngx_int_t {
    let Some(former) = HANDLERS.get().at(PLACE).map(takes) else { return FAILED };
    if !request.can_wait() || !R::wants(request) {
        return former(request);
    }
    // The upstream module begins nothing for a request that waits for a file. Who has to read a body first
    // shows that by a reader.
    request.change(|it| it.set_aio(1));
    request.block_reading();
    // nginx's own modules say that they are done when the request waits for its body, or its backend.
    let rc = former(request);
    request.change(|it| it.set_aio(0));
    if rc == NGX_DONE as ngx_int_t && request.tells_when_ready::<R>() && !request.reads_body() {
        // SAFETY: the request has an upstream, which has not begun, and waits for nothing else.
        unsafe { ngx_http_upstream_init(request.as_ptr()) };
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
            it.create_request = at.map(|at| raw(Ours::<R>::CREATES[at])).or(it.create_request);
        });
        true
    }
}

/// Makes what is sent to the backend.
extern "C" fn create<R: Ready, const PLACE: usize>(request: Request<'_>) -> ngx_int_t {
    let Some(former) = CREATES.get().at(PLACE).map(takes) else { return FAILED };
    let rc = former(request);
    if rc == NGX_OK as ngx_int_t {
        guarded((), || R::is_ready(request));
    }
    rc
}
