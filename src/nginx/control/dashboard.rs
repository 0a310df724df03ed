//! The dashboard: a page for people, from which they call what scripts call.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rustix::rand::{GetRandomFlags, getrandom};

use super::answer::Answer;
use crate::control::Call;
use crate::nginx::ffi::request::Request;

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
pub fn is_asked_for(request: Request<'_>) -> bool {
    let path = request.uri().strip_suffix(b"/");
    path.is_some_and(|path| Some(path) == location(request))
}

/// Leads from the control location's name to the dashboard, which needs the slash behind it for its
/// relative addresses. The address is relative too, as it may be another one outside of a proxy.
pub fn redirect(request: Request<'_>) -> Option<Answer> {
    let path = request.uri();
    if path != location(request)? || !Call::Dashboard.allows(request.method()) {
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
fn location(request: Request<'_>) -> Option<&[u8]> {
    let name = request.prefix_location()?;
    name.starts_with(b"/").then(|| name.strip_suffix(b"/").unwrap_or(name))
}
