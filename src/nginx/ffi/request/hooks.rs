//! Functions of ours in the place of those that nginx calls for a request at its backend, and calls them in
//! their turn.

use core::cell::Cell;
use core::ffi::c_void;
use core::marker::PhantomData;
use core::mem::replace;
use core::ptr::{self, fn_addr_eq};

use nginx_sys::{
    NGX_ERROR, ngx_chain_t, ngx_chain_writer, ngx_http_request_t, ngx_http_upstream_srv_conf_t,
    ngx_int_t, ngx_output_chain_filter_pt,
};

use super::Request;
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::groups::Group;
use crate::nginx::ffi::local::Local;

const FAILED: ngx_int_t = NGX_ERROR as ngx_int_t;

/// What is called when nginx begins to look for a server of a group, before what it would have called.
pub trait Search {
    /// The short way. Nothing in it can panic, so that it needs no boundary. `false`, and nothing is done, if it
    /// is not for this request.
    fn begin(request: Request<'_>) -> bool;

    fn begin_slowly(request: Request<'_>, group: Group<'_>);
}

/// What is called when nginx is through with a backend, behind what it would have called.
pub trait Finish {
    /// Whether this status is of interest.
    fn wants(rc: ngx_int_t) -> bool;

    fn finish(request: Request<'_>, rc: ngx_int_t);
}

/// What is called when nginx sends something to a backend, before what it would have called.
pub trait Sender {
    /// What that is.
    fn former(&self) -> Option<Output>;

    fn sends(&self);
}

type Init =
    unsafe extern "C" fn(*mut ngx_http_request_t, *mut ngx_http_upstream_srv_conf_t) -> ngx_int_t;
type Finalize = unsafe extern "C" fn(*mut ngx_http_request_t, ngx_int_t);

/// What nginx was to call when it sends something to a backend, and with what.
#[derive(Clone, Copy)]
pub struct Output(ngx_output_chain_filter_pt, *mut c_void);

/// What has been there where ours is: a few functions, whatever the number of requests and groups. So each of
/// them has a function of ours to itself, and nothing has to be remembered of who had it.
pub struct Former<F>([Cell<Option<F>>; FORMERS]);

pub const FORMERS: usize = 16;

static INITS: Local<Former<Init>> = Local::new(Former::new());
static FINALIZES: Local<Former<Finalize>> = Local::new(Former::new());

impl<F: Copy + PartialEq> Former<F> {
    pub const fn new() -> Self {
        Self([const { Cell::new(None) }; FORMERS])
    }

    #[inline(always)]
    pub fn at(&self, place: usize) -> Option<F> {
        self.0.get(place).and_then(Cell::get)
    }

    #[inline(always)]
    fn begins_with(&self, former: Option<F>) -> bool {
        self.0[0].get() == former
    }

    /// The place of a function among them, if there is room.
    pub fn place_of(&self, former: F) -> Option<usize> {
        let at = self.0.iter().position(|it| it.get().is_none_or(|known| known == former))?;
        self.0[at].set(Some(former));
        Some(at)
    }
}

macro_rules! at_each_place {
    ($function:ident) => {
        [
            $function::<T, 0>,
            $function::<T, 1>,
            $function::<T, 2>,
            $function::<T, 3>,
            $function::<T, 4>,
            $function::<T, 5>,
            $function::<T, 6>,
            $function::<T, 7>,
            $function::<T, 8>,
            $function::<T, 9>,
            $function::<T, 10>,
            $function::<T, 11>,
            $function::<T, 12>,
            $function::<T, 13>,
            $function::<T, 14>,
            $function::<T, 15>,
        ]
    };
}

pub(in crate::nginx::ffi) use at_each_place;

struct Ours<T>(PhantomData<T>);

impl<T: Search> Ours<T> {
    const INITS: [Init; FORMERS] = at_each_place!(init);
}

impl<T: Finish> Ours<T> {
    const FINALIZES: [Finalize; FORMERS] = at_each_place!(finalize);
}

/// Lets `S` know, from now on, of every search for a server of a group. Nobody knows of one where there is no
/// room for what nginx would have called.
pub fn search_with<S: Search>(group: Group<'_>) {
    group.change(|it| {
        let place = it.peer.init.and_then(|former| INITS.get().place_of(former));
        it.peer.init = place.map(|place| Ours::<S>::INITS[place]).or(it.peer.init);
    });
}

unsafe extern "C" fn init<S: Search, const PLACE: usize>(
    request: *mut ngx_http_request_t,
    group: *mut ngx_http_upstream_srv_conf_t,
) -> ngx_int_t {
    let former = INITS.get().at(PLACE);
    // SAFETY: nginx passes a request that has an upstream, and keeps it until it has an answer; and its group,
    // which the configuration has.
    let (living, servers) = unsafe { (Request::new(request), Group::new(group)) };
    if !S::begin(living) {
        search_slowly::<S>(living, servers);
    }
    match former {
        // SAFETY: what this stands in for is given what this was given.
        Some(former) => unsafe { former(request, group) },
        None => FAILED,
    }
}

unsafe extern "C" fn finalize<F: Finish, const PLACE: usize>(
    request: *mut ngx_http_request_t,
    rc: ngx_int_t,
) {
    let former = FINALIZES.get().at(PLACE);
    if F::wants(rc) {
        return finish_slowly::<F>(request, rc, former);
    }
    finish_as_before(request, rc, former);
}

#[inline(always)]
fn finish_as_before(request: *mut ngx_http_request_t, rc: ngx_int_t, former: Option<Finalize>) {
    if let Some(former) = former {
        // SAFETY: what this stands in for is given what this was given.
        unsafe { former(request, rc) };
    }
}

// Both are C's, so that the compiler knows that they do not unwind, and need not be ready for that.

#[cold]
#[inline(never)]
extern "C" fn search_slowly<S: Search>(request: Request<'_>, group: Group<'_>) {
    guarded((), || S::begin_slowly(request, group));
}

#[cold]
#[inline(never)]
extern "C" fn finish_slowly<F: Finish>(
    request: *mut ngx_http_request_t,
    rc: ngx_int_t,
    former: Option<Finalize>,
) {
    finish_as_before(request, rc, former);
    // SAFETY: nginx has passed the request, whose upstream has this as its last call: it is there until its
    // cleanup, behind this.
    let request = unsafe { Request::new(request) };
    guarded((), || F::finish(request, rc));
}

unsafe extern "C" fn send<S: Sender>(sender: *mut c_void, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: nginx passes what `send_through` was given, while the request is there.
    let sender = unsafe { &*sender.cast::<S>() };
    guarded((), || sender.sends());
    match sender.former() {
        // SAFETY: what this stands in for is given what it was to be given.
        Some(Output(Some(filter), context)) => unsafe { filter(context, chain) },
        _ => FAILED,
    }
}

impl Request<'_> {
    /// As [`Self::finish_with`], if what nginx would have called is the first that it ever did. `false`, and
    /// nothing is done, if not.
    #[inline(always)]
    pub fn finish_shortly_with<F: Finish>(self) -> bool {
        let Some(upstream) = self.upstream() else { return false };
        let is_first = FINALIZES.get().begins_with(upstream.see(|it| it.finalize_request));
        if is_first {
            upstream.change(|it| it.finalize_request = Some(Ours::<F>::FINALIZES[0]));
        }
        is_first
    }

    /// Lets `F` know when nginx is through with the backend. `false`, and nothing is done, if it will
    /// already, or cannot.
    pub fn finish_with<F: Finish>(self) -> bool {
        let Some(upstream) = self.upstream() else { return false };
        let is_ours = |it: Finalize| Ours::<F>::FINALIZES.iter().any(|&own| fn_addr_eq(own, it));
        let former = upstream.see(|it| it.finalize_request).filter(|it| !is_ours(*it));
        let place = former.and_then(|former| FINALIZES.get().place_of(former));
        let ours = place.and_then(|place| Ours::<F>::FINALIZES.get(place));
        ours.is_some_and(|ours| {
            upstream.change(|it| it.finalize_request = Some(*ours));
            true
        })
    }

    /// Lets the sender know when nginx sends something to the backend; what was to be called then is
    /// the sender's to keep.
    ///
    /// # Safety
    ///
    /// The sender lives as long as the request does.
    pub unsafe fn send_through<S: Sender>(self, sender: &S) -> Option<Output> {
        let context = ptr::from_ref(sender).cast_mut().cast();
        self.upstream()?.change(|it| {
            let former = it.output.output_filter.replace(send::<S>);
            let former_context = replace(&mut it.output.filter_ctx, context);
            // What nginx takes where a module has said nothing.
            let plain = Output(Some(ngx_chain_writer), (&raw mut it.writer).cast());
            Some(former.map_or(plain, |former| Output(Some(former), former_context)))
        })
    }
}
