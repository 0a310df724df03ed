//! Whether nginx reads a request's body to its end before it connects to the backend.

use core::cell::OnceCell;
use core::ffi::CStr;

use super::cycle::Cycle;
use super::local::Local;
use super::request::Request;
use nginx_sys::{ngx_http_upstream_conf_t, ngx_module_t};

/// The modules that pass requests with bodies on. The configuration of each begins with an
/// [`ngx_http_upstream_conf_t`].
const NAMES: [&CStr; 4] = [
    c"ngx_http_proxy_module",
    c"ngx_http_fastcgi_module",
    c"ngx_http_uwsgi_module",
    c"ngx_http_scgi_module",
];

/// Passes bodies on as they come, always.
const STREAMING: &CStr = c"ngx_http_grpc_module";

/// Where these modules keep what belongs to a location.
#[derive(Default)]
struct Known {
    buffering: [Option<usize>; NAMES.len()],
    streaming: Option<usize>,
}

static KNOWN: Local<OnceCell<Known>> = Local::new(OnceCell::new());

/// For a request whose location was chosen.
pub fn buffer_body(request: Request<'_>) -> bool {
    let known = KNOWN.get().get_or_init(find);
    // SAFETY: a request has the configuration of each module of http, and that of these begins so.
    let conf = |index: usize| unsafe {
        (*(*request.as_ptr()).loc_conf.add(index)).cast::<ngx_http_upstream_conf_t>().as_ref()
    };
    let passes = |conf: &&ngx_http_upstream_conf_t| !conf.upstream.is_null();
    if known.streaming.and_then(conf).as_ref().is_some_and(passes) {
        return false;
    }
    let confs = || known.buffering.into_iter().flatten().filter_map(conf);
    let buffers = |conf: &ngx_http_upstream_conf_t| conf.request_buffering != 0;
    // An address with variables is not known to be anybody's: what holds for all of them then holds.
    request.has_content_handler()
        && confs().find(passes).map_or_else(|| confs().all(buffers), buffers)
}

fn find() -> Known {
    let mut known = Known::default();
    Cycle::in_running(|cycle| cycle.modules().for_each(|module| known.note(module)));
    known
}

impl Known {
    fn note(&mut self, module: &ngx_module_t) {
        if module.name.is_null() {
            return;
        }
        // SAFETY: the name of a module is a C string.
        let name = unsafe { CStr::from_ptr(module.name) };
        let places = NAMES.iter().zip(&mut self.buffering);
        for (_, place) in places.filter(|(known, _)| **known == name) {
            *place = Some(module.ctx_index);
        }
        if name == STREAMING {
            self.streaming = Some(module.ctx_index);
        }
    }
}
