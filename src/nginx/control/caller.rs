//! Who may call: local clients only, unless said otherwise, and no other site's pages.

use core::net::SocketAddr;

use nginx_sys::ngx_http_request_t;
use rustix::net::{AddressFamily, getpeername};

use super::answer::Answer;
use crate::control::args::shown;
use crate::control::{is_cross_site, is_silent_browser};
use crate::nginx::conf::{Control, LocConf};
use crate::nginx::ffi::headers;
use crate::nginx::ffi::watched::borrowed;

/// # Safety
///
/// `request` is a living request.
pub unsafe fn check(request: *mut ngx_http_request_t, conf: &LocConf) -> Result<(), Answer> {
    // SAFETY: the caller's promise.
    unsafe {
        let host = headers::host(request).unwrap_or_default();
        let (site, origin) =
            (headers::find(request, "Sec-Fetch-Site"), headers::find(request, "Origin"));
        if is_cross_site(site, origin, host) {
            return Err(Answer::error(403, "Forbidden: this call comes from another site's page."));
        }
        let forwarded = ["X-Forwarded-For", "Forwarded", "X-Real-IP"]
            .iter()
            .find(|name| headers::find(request, name).is_some());
        match (conf.control, forwarded) {
            (Some(Control::Any), _) => Ok(()),
            (_, Some(name)) => Err(Answer::error(
                403,
                format!("Forbidden: the call came through a proxy ({name}), so it is not local."),
            )),
            _ if is_local((*(*request).connection).fd) => Ok(()),
            _ => Err(Answer::error(
                403,
                "Forbidden: this location takes calls of local clients only (see \
                 intermission_control).",
            )),
        }
    }
}

/// Lets no browser change a state that does not say whose page wants it. What changes nothing may be
/// looked at: another site's page cannot read the answer.
///
/// # Safety
///
/// `request` is a living request.
pub unsafe fn check_change(request: *mut ngx_http_request_t) -> Result<(), Answer> {
    // SAFETY: the caller's promise.
    let is_silent = unsafe {
        let header = |name| headers::find(request, name);
        is_silent_browser(header("Sec-Fetch-Site"), header("Origin"), header("User-Agent"))
    };
    if is_silent {
        return Err(Answer::error(
            403,
            "Forbidden: this browser does not say whether another site's page makes this call. Open \
             the dashboard (this address without its last part) and press the button there, or call \
             from a script.",
        ));
    }
    Ok(())
}

/// Who makes the call, for the log.
///
/// # Safety
///
/// `request` is a living request.
pub unsafe fn name(request: *mut ngx_http_request_t) -> String {
    // SAFETY: the caller's promise.
    shown(unsafe { headers::bytes(&(*(*request).connection).addr_text) })
}

/// Whether the other side of a socket is this machine, whatever headers or a PROXY protocol say.
/// A socket that has no one other side (HTTP/3) is not local.
///
/// # Safety
///
/// The socket is open.
unsafe fn is_local(fd: i32) -> bool {
    // SAFETY: the caller's promise.
    let socket = unsafe { borrowed(fd) };
    let Some(address) = socket.and_then(|socket| getpeername(socket).ok().flatten()) else {
        return false;
    };
    address.address_family() == AddressFamily::UNIX
        || SocketAddr::try_from(address)
            .is_ok_and(|address| address.ip().to_canonical().is_loopback())
}
