//! nginx's modules that pass requests on to a backend, and the handlers that do it.

use core::ptr::{self, fn_addr_eq};
use core::slice;

use nginx_sys::{
    NGX_HTTP_MODULE, ngx_array_t, ngx_command_t, ngx_conf_t, ngx_http_conf_ctx_t,
    ngx_http_core_loc_conf_t, ngx_http_core_module, ngx_http_max_module, ngx_http_module_t,
    ngx_http_upstream_conf_t, ngx_int_t, ngx_log_t, ngx_module_t, ngx_str_t, ngx_uint_t,
};

use super::blank::Blank;
use super::configuring::Configuring;
use super::living::Reached;
use super::location::Location;
use super::request::Raw;
use super::text::Text;

/// Their directives, as far as the address may have variables in it. The configuration of each of these modules
/// begins with an [`ngx_http_upstream_conf_t`].
const DIRECTIVES: [&[u8]; 5] =
    [b"proxy_pass", b"fastcgi_pass", b"uwsgi_pass", b"scgi_pass", b"grpc_pass"];

/// An address that has no value before there is a request, and leaves no trace in the configuration.
const ADDRESS: &[u8] = b"$1";

/// One of these modules.
pub struct Passer {
    handler: Raw<ngx_int_t>,
    index: usize,
}

impl Passer {
    /// Whether it passes the requests of a place on, to an address that has variables in it.
    pub fn needs_request(&self, place: Location<'_>) -> bool {
        let (handler, confs) = place.see(|it| (it.handler, it.loc_conf));
        let is_this = handler.is_some_and(|handler| fn_addr_eq(handler, self.handler));
        // SAFETY: a place with a handler is a location, which has the configuration of each module.
        is_this
            && unsafe {
                (**confs.add(self.index).cast::<*mut ngx_http_upstream_conf_t>()).upstream.is_null()
            }
    }
}

/// Which of them there are. Each handler is a secret of its module: so the directive is asked to set one up, in a
/// place that is no part of the configuration.
pub fn passers(cf: &Configuring<'_>) -> Vec<Passer> {
    let mut found = Vec::new();
    for module in cf.conf().cycle().modules() {
        let mut command = module.commands;
        let is_http = module.type_ == NGX_HTTP_MODULE as ngx_uint_t;
        // SAFETY: the list of a module's directives ends with one that has no name.
        unsafe {
            while is_http && !command.is_null() && (*command).name.len > 0 {
                if DIRECTIVES.contains(&Reached::from((*command).name)) {
                    found.extend(set_up(cf, module, command));
                }
                command = command.add(1);
            }
        }
    }
    found
}

/// # Safety
///
/// The directive is the module's.
unsafe fn set_up(
    cf: &Configuring<'_>,
    module: &ngx_module_t,
    directive: *mut ngx_command_t,
) -> Option<Passer> {
    // SAFETY: nginx is at its `http` block, where each module has a configuration; what is made here is in the
    // pool of what is needed until that has been read, and what it stands in as long as the call.
    unsafe {
        let mut log = ngx_log_t::blank();
        let mut words = [(*directive).name, Text::of(ADDRESS).raw()];
        let mut arguments = ngx_array_t {
            elts: words.as_mut_ptr().cast(),
            nelts: words.len(),
            size: size_of::<ngx_str_t>(),
            nalloc: words.len(),
            pool: (*cf.as_ptr()).temp_pool,
        };
        let mut around = *(*cf.as_ptr()).ctx.cast::<ngx_http_conf_ctx_t>();
        let mut confs = slice::from_raw_parts(around.loc_conf, ngx_http_max_module).to_vec();
        around.loc_conf = confs.as_mut_ptr();
        let mut aside = ngx_conf_t {
            args: &mut arguments,
            pool: (*cf.as_ptr()).temp_pool,
            conf_file: ptr::null_mut(),
            log: &mut log,
            ctx: (&raw mut around).cast(),
            ..*cf.as_ptr()
        };
        let core = &raw const ngx_http_core_module;
        for module in [core, module] {
            let module = &*module;
            let make = (*module.ctx.cast::<ngx_http_module_t>()).create_loc_conf?;
            let conf = make(&mut aside);
            *confs.get_mut(module.ctx_index).filter(|_| !conf.is_null())? = conf;
        }
        let own = confs.get(module.ctx_index)?;
        // Where nginx knows no such variables, it complains behind what is wanted here.
        (*directive).set?(&mut aside, directive, *own);
        let place = confs.get((*core).ctx_index)?;
        let handler = (*place.cast::<ngx_http_core_loc_conf_t>()).handler?;
        Some(Passer { handler, index: module.ctx_index })
    }
}
