//! nginx's configuration while it is read.

use core::ffi::{c_char, c_void};
use core::mem::transmute;
use core::ptr;

use nginx_sys::{
    NGX_ERROR, NGX_OK, ngx_array_push, ngx_conf_t, ngx_http_compile_complex_value,
    ngx_http_compile_complex_value_t, ngx_http_complex_value_t, ngx_http_core_srv_conf_t,
    ngx_http_handler_pt, ngx_http_phases, ngx_http_upstream_main_conf_t, ngx_int_t,
};
use ngx::core::NGX_CONF_ERROR;
use ngx::http::{
    HttpModuleLocationConf, HttpModuleMainConf, HttpModuleServerConf, NgxHttpCoreModule,
    NgxHttpUpstreamModule,
};

use super::blank::Blank;
use super::boundary::guarded;
use super::cycle::Cycle;
use super::functions::ngx_conf_full_name;
use super::groups::Group;
use super::living::{Living, reaches};
use super::location::Location;
use super::pool::Pool;
use super::request::{Handler, handler, raw};
use super::text::{Template, Text};

/// The configuration, at the place that nginx has come to. There is one of it at a time: who may change
/// it may change what this module has there.
#[repr(transparent)]
pub struct Configuring<'c>(Conf<'c>);

pub(super) type Conf<'c> = Living<'c, ngx_conf_t>;

reaches!(Conf<'c> {
    /// A configuration has a pool for as long as it is there.
    fn pool() -> Pool<'c> = pool;

    /// What it is the configuration of.
    pub(super) fn cycle() -> Cycle<'c> = cycle;

    /// The words of the directive at hand, in the configuration's pool.
    fn words() -> &'c [Text<'c>] = args;
});

impl<'c> Configuring<'c> {
    /// # Safety
    ///
    /// It is nginx's, which reads or merges its configuration, or sets up what has been read; and there
    /// is no other of it.
    pub unsafe fn new(cf: *mut ngx_conf_t) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { Living::new(cf) })
    }

    /// For nginx's functions.
    pub fn as_ptr(&self) -> *mut ngx_conf_t {
        self.0.as_ptr()
    }

    pub(super) fn conf(&self) -> Conf<'c> {
        self.0
    }

    pub fn pool(&self) -> Pool<'c> {
        self.0.pool()
    }

    /// The name of the directive at hand.
    pub fn name(&self) -> &'c [u8] {
        self.0.words().first().map_or(&[], |name| name.bytes())
    }

    /// What stands behind that name.
    pub fn arguments(&self) -> Vec<&'c [u8]> {
        self.0.words().iter().skip(1).map(|word| word.bytes()).collect()
    }

    /// The path of a file that is named relative to where nginx keeps its configuration.
    pub fn full_path(&self, name: &[u8]) -> Option<&'c [u8]> {
        let mut path = self.pool().copy(name)?;
        let rc = ngx_conf_full_name(self.0.cycle(), &mut path, 0);
        (rc == NGX_OK as ngx_int_t).then(|| path.bytes())
    }

    /// Compiles what may have variables in it. `None` where they are wrong, and no template where there are
    /// none.
    pub fn compile(&self, text: &[u8]) -> Option<Option<Template>> {
        let value = self.pool().put(ngx_http_complex_value_t::blank())?;
        let mut source = self.pool().copy(text)?.raw();
        let mut compile = ngx_http_compile_complex_value_t::blank();
        compile.cf = self.as_ptr();
        compile.value = &mut source;
        compile.complex_value = value;
        // SAFETY: the text and the value are in the configuration's pool, as nginx does it.
        let rc = unsafe { ngx_http_compile_complex_value(&mut compile) };
        (rc == NGX_OK as ngx_int_t).then(|| (!value.lengths.is_null()).then(|| Template::of(value)))
    }

    /// What a module has for all of the `http` block.
    pub fn main_conf_mut<M>(&mut self) -> Option<&mut M::MainConf>
    where
        M: HttpModuleMainConf<MainConf: 'static>,
    {
        self.0.see(M::main_conf_mut)
    }

    /// The location at hand, or what is around locations.
    pub fn location(&self) -> Option<Location<'c>> {
        self.0.see(NgxHttpCoreModule::location_conf_mut).map(Location::of)
    }

    /// The name of the server at hand.
    pub fn server_name(&self) -> Option<&'c [u8]> {
        let core = self.0.see(NgxHttpCoreModule::server_conf_mut);
        core.map(|core| Server::of(core).name())
    }

    /// The groups of servers, behind the `http` block.
    pub fn groups(&self) -> Option<&'c [Group<'c>]> {
        let all = self.0.see(NgxHttpUpstreamModule::main_conf_mut)?;
        Some(All::of(all).groups())
    }

    /// Adds a handler to a phase. `None` if there is no memory.
    pub fn add_handler<H: Handler>(&mut self, phase: ngx_http_phases) -> Option<()> {
        let core = self.0.see(NgxHttpCoreModule::main_conf_mut)?;
        let handlers = &mut core.phases.get_mut(phase as usize)?.handlers;
        // SAFETY: nginx makes an array of handlers for each phase before modules set up theirs.
        let place = unsafe { ngx_array_push(handlers).cast::<ngx_http_handler_pt>().as_mut()? };
        *place = Some(raw(handler::<H>));
        Some(())
    }
}

type Server<'c> = Living<'c, ngx_http_core_srv_conf_t>;

reaches!(Server<'c> {
    /// In the pool of the configuration.
    fn name() -> &'c [u8] = server_name;
});

/// What nginx's upstream module has for all of the `http` block.
type All<'a> = Living<'a, ngx_http_upstream_main_conf_t>;

reaches!(All<'a> {
    /// As long as the configuration.
    fn groups() -> &'a [Group<'a>] = upstreams;
});

impl Location<'_> {
    pub fn is_handled_by<H: Handler>(self) -> bool {
        self.see(|it| it.handler).is_some_and(|it| ptr::fn_addr_eq(it, raw(handler::<H>)))
    }

    pub fn handle_by<H: Handler>(self) {
        self.change(|it| it.handler = Some(raw(handler::<H>)));
    }
}

/// What is done when nginx has come so far with its configuration.
pub trait Configure {
    /// `None` if it cannot be done.
    fn configure(cf: &mut Configuring<'_>) -> Option<()>;
}

/// What is called with a configuration, as nginx has it.
pub const fn raw_of<R>(
    takes: extern "C" fn(Configuring<'_>) -> R,
) -> unsafe extern "C" fn(*mut ngx_conf_t) -> R {
    // SAFETY: nginx passes its configuration, as the pointer that it is, and leaves it alone meanwhile.
    unsafe { transmute::<extern "C" fn(Configuring<'_>) -> R, _>(takes) }
}

pub extern "C" fn configure<C: Configure>(mut cf: Configuring<'_>) -> ngx_int_t {
    match guarded(None, || C::configure(&mut cf)) {
        Some(()) => NGX_OK as ngx_int_t,
        None => NGX_ERROR as ngx_int_t,
    }
}

/// Makes what a module has at a place.
pub extern "C" fn create<T: Default>(cf: Configuring<'_>) -> *mut c_void {
    let made = guarded(None, || cf.pool().keep(T::default()));
    made.map_or(ptr::null_mut(), |made| ptr::from_mut(made).cast())
}

/// What a module has at a place, and takes over from around it.
pub trait Merge {
    /// `None` if they cannot stand together, which has been said then.
    fn merge(&mut self, outer: &Self, cf: &mut Configuring<'_>) -> Option<()>;
}

/// For what was made by [`create`] with this type.
pub unsafe extern "C" fn merge<T: Merge>(
    cf: *mut ngx_conf_t,
    outer: *mut c_void,
    inner: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes its configuration, and what `create` made; they are never the same.
    let (mut cf, outer, inner) =
        unsafe { (Configuring::new(cf), &*outer.cast::<T>(), &mut *inner.cast::<T>()) };
    match guarded(None, || inner.merge(outer, &mut cf)) {
        Some(()) => ptr::null_mut(),
        None => NGX_CONF_ERROR.cast(),
    }
}
