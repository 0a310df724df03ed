//! The dashboard: a page for people, from which they call what scripts call.

use nginx_sys::ngx_http_request_t;
use ngx::http::{HttpModuleLocationConf, NgxHttpCoreModule};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rustix::rand::{GetRandomFlags, getrandom};

use super::answer::Answer;
use crate::control::Call;
use crate::nginx::ffi::headers;

const PAGE: &str = include_str!("dashboard.html");

/// Stands in the page where the nonce of a response goes.
const NONCE: &str = "%NONCE%";

/// What has to be escaped in a segment of a path.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Nothing from elsewhere, no script or style but the page's own, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'nonce-%NONCE%'; style-src 'nonce-%NONCE%'; \
                      img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

pub fn page() -> Result<Answer, Answer> {
    let nonce = nonce().ok_or_else(|| Answer::error(500, "The system has no random bytes."))?;
    let page = Answer::of_document("text/html; charset=utf-8", PAGE.replace(NONCE, &nonce));
    Ok(page
        .with_header("Content-Security-Policy", POLICY.replace(NONCE, &nonce))
        .with_header("Referrer-Policy", "same-origin"))
}

/// A number used once, so that no other page can know it.
fn nonce() -> Option<String> {
    let mut bytes = [0_u8; 16];
    let written = getrandom(&mut bytes, GetRandomFlags::empty());
    (written == Ok(bytes.len())).then(|| format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// Whether the path is the control location itself, and ends in a slash. That goes before the
/// names of calls: the location can have one of those.
///
/// # Safety
///
/// `request` is a living request.
pub unsafe fn is_asked_for(request: *mut ngx_http_request_t) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let path = headers::bytes(&(*request).uri).strip_suffix(b"/");
        path.is_some_and(|path| Some(path) == location(request))
    }
}

/// Leads from the control location's name to the dashboard, which needs the slash behind it for its
/// relative addresses. The address is relative too, as it may be another one outside of a proxy.
///
/// # Safety
///
/// `request` is a living request.
pub unsafe fn redirect(request: *mut ngx_http_request_t) -> Option<Answer> {
    // SAFETY: the caller's promise.
    let (path, method, location) = unsafe {
        let (path, method) = (&(*request).uri, &(*request).method_name);
        (headers::bytes(path), headers::bytes(method), location(request)?)
    };
    if path != location || !Call::Dashboard.allows(method) {
        return None;
    }
    let name = path.rsplit(|byte| *byte == b'/').next()?;
    let target = format!("./{}/", percent_encode(name, ESCAPED));
    Some(
        Answer::line(301, format!("The dashboard is at {target}.")).with_header("Location", target),
    )
}

/// The path of the control location, without a slash at its end, if it has a path that others can
/// be below of.
///
/// # Safety
///
/// `request` is a living request.
unsafe fn location<'a>(request: *mut ngx_http_request_t) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise; a location's name lives as long as its configuration.
    unsafe {
        let core = NgxHttpCoreModule::location_conf(&*request)?;
        let name = headers::bytes(&core.name);
        let is_exact = core.exact_match() != 0;
        (name.starts_with(b"/") && !is_exact).then(|| name.strip_suffix(b"/").unwrap_or(name))
    }
}
