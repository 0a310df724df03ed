//! nginx's configuration while it is read.

use core::ffi::{c_char, c_void};
use core::ptr;

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_SATISFY_ANY, NGX_OK, ngx_array_push, ngx_conf_full_name, ngx_conf_t,
    ngx_http_compile_complex_value, ngx_http_compile_complex_value_t, ngx_http_complex_value_t,
    ngx_http_core_loc_conf_t, ngx_http_handler_pt, ngx_http_phases, ngx_int_t, ngx_str_t,
};
use ngx::core::NGX_CONF_ERROR;
use ngx::http::{
    HttpModuleLocationConf, HttpModuleMainConf, HttpModuleServerConf, NgxHttpCoreModule,
};

use super::blank::Blank;
use super::boundary::guarded;
use super::headers::bytes;
use super::living::{Living, reaches};
use super::pool::Pool;
use super::request::{Handler, handler};

/// The configuration, at the place that nginx has come to. There is one of it at a time: who may change
/// it may change what this module has there.
pub struct Configuring<'c>(Conf<'c>);

type Conf<'c> = Living<'c, ngx_conf_t>;

reaches!(Conf<'c> {
    /// A configuration has a pool for as long as it is there.
    fn pool() -> Pool<'c> = pool;
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

    pub fn pool(&self) -> Pool<'c> {
        self.0.pool()
    }

    /// What stands behind the name of the directive at hand.
    pub fn arguments(&self) -> Vec<&'c [u8]> {
        // SAFETY: nginx has read a directive's words into an array of strings.
        let words = unsafe { (*self.0.see(|it| it.args)).as_slice::<ngx_str_t>() };
        // SAFETY: the strings are in the configuration's pool.
        words.iter().skip(1).map(|word| unsafe { bytes(word) }).collect()
    }

    /// The path of a file that is named relative to where nginx keeps its configuration.
    pub fn full_path(&self, name: &[u8]) -> Option<&'c [u8]> {
        let mut path = self.pool().copy(name)?;
        // SAFETY: nginx puts the full name into the pool of the cycle.
        unsafe {
            let rc = ngx_conf_full_name(self.0.see(|it| it.cycle), &mut path, 0);
            (rc == NGX_OK as ngx_int_t).then(|| bytes(&path))
        }
    }

    /// Compiles what may have variables in it. `None` where they are wrong.
    pub fn compile(&self, text: &[u8]) -> Option<&'c mut ngx_http_complex_value_t> {
        let value = self.pool().put(ngx_http_complex_value_t::blank())?;
        let mut source = self.pool().copy(text)?;
        let mut compile = ngx_http_compile_complex_value_t::blank();
        compile.cf = self.as_ptr();
        compile.value = &mut source;
        compile.complex_value = value;
        // SAFETY: the text and the value are in the configuration's pool, as nginx does it.
        let rc = unsafe { ngx_http_compile_complex_value(&mut compile) };
        (rc == NGX_OK as ngx_int_t).then_some(value)
    }

    /// The location at hand, or what is around locations.
    pub fn location(&self) -> Option<Location<'c>> {
        // SAFETY: while nginx reads its `http` block, its core module has a configuration at each place.
        unsafe {
            let core = NgxHttpCoreModule::location_conf_mut(&*self.as_ptr())?;
            Some(Location::new(core))
        }
    }

    /// The name of the server at hand.
    pub fn server_name(&self) -> Option<&'c [u8]> {
        // SAFETY: as of the location; the name is in the configuration's pool.
        unsafe {
            NgxHttpCoreModule::server_conf(&*self.as_ptr()).map(|core| bytes(&core.server_name))
        }
    }

    /// Adds a handler to a phase. `None` if there is no memory.
    pub fn add_handler<H: Handler>(&mut self, phase: ngx_http_phases) -> Option<()> {
        // SAFETY: nginx makes an array of handlers for each phase before modules set up theirs.
        unsafe {
            let core = NgxHttpCoreModule::main_conf_mut(&*self.as_ptr())?;
            let handlers = &mut core.phases.get_mut(phase as usize)?.handlers;
            let place = ngx_array_push(handlers).cast::<ngx_http_handler_pt>().as_mut()?;
            *place = Some(handler::<H>);
        }
        Some(())
    }
}

/// What nginx's core module has of a location.
pub type Location<'c> = Living<'c, ngx_http_core_loc_conf_t>;

reaches!(Location<'c> {
    /// In the pool of the configuration.
    pub fn name() -> &'c [u8] = name;
});

impl Location<'_> {
    /// Whether it is none of the configuration's own, but one that nginx makes of `if` and the like.
    pub fn is_nameless(self) -> bool {
        self.see(|it| it.noname() != 0)
    }

    /// Whether one rule that grants access is enough.
    pub fn satisfies_any(self) -> bool {
        self.see(|it| it.satisfy == NGX_HTTP_SATISFY_ANY as usize)
    }

    /// Whether something answers there.
    pub fn has_handler(self) -> bool {
        self.see(|it| it.handler.is_some())
    }

    pub fn is_handled_by<H: Handler>(self) -> bool {
        let this: unsafe extern "C" fn(_) -> _ = handler::<H>;
        self.see(|it| it.handler).is_some_and(|other| ptr::fn_addr_eq(other, this))
    }

    pub fn handle_by<H: Handler>(self) {
        self.change(|it| it.handler = Some(handler::<H>));
    }
}

/// What is done when nginx has come so far with its configuration.
pub trait Configure {
    /// `None` if it cannot be done.
    fn configure(cf: &mut Configuring<'_>) -> Option<()>;
}

pub unsafe extern "C" fn configure<C: Configure>(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: nginx passes its configuration, which it leaves alone meanwhile.
    let mut cf = unsafe { Configuring::new(cf) };
    match guarded(None, || C::configure(&mut cf)) {
        Some(()) => NGX_OK as ngx_int_t,
        None => NGX_ERROR as ngx_int_t,
    }
}

/// Makes what a module has at a place.
pub unsafe extern "C" fn create<T: Default>(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: nginx passes its configuration; what is put into its pool is dropped with that.
    guarded(ptr::null_mut(), || unsafe {
        ngx::core::Pool::from_ngx_pool((*cf).pool).allocate(T::default()).cast()
    })
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
