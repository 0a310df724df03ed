//! Who may call: local clients only, unless said otherwise, and no other site's pages.

use core::net::SocketAddr;

use rustix::net::{AddressFamily, getpeername};

use super::answer::Answer;
use crate::control::args::shown;
use crate::control::{is_cross_site, is_silent_browser};
use crate::nginx::conf::{Control, LocConf};
use crate::nginx::ffi::client::Connection;
use crate::nginx::ffi::request::Request;

pub fn check(request: Request<'_>, conf: &LocConf) -> Result<(), Answer> {
    let host = request.host().unwrap_or_default();
    if is_cross_site(request.header("Sec-Fetch-Site"), request.header("Origin"), host) {
        return Err(Answer::error(403, "Forbidden: this call comes from another site's page."));
    }
    let mut proxies = ["X-Forwarded-For", "Forwarded", "X-Real-IP"].iter();
    let forwarded = proxies.find(|name| request.header(name).is_some());
    match (conf.control, forwarded) {
        (Some(Control::Any), _) => Ok(()),
        (_, Some(name)) => Err(Answer::error(
            403,
            format!("Forbidden: the call came through a proxy ({name}), so it is not local."),
        )),
        _ if is_local(request.connection()) => Ok(()),
        _ => Err(Answer::error(
            403,
            "Forbidden: this location takes calls of local clients only (see intermission_control).",
        )),
    }
}

/// Lets no browser change a state that does not say whose page wants it. What changes nothing may be
/// looked at: another site's page cannot read the answer.
pub fn check_change(request: Request<'_>) -> Result<(), Answer> {
    let (site, origin) = (request.header("Sec-Fetch-Site"), request.header("Origin"));
    if is_silent_browser(site, origin, request.user_agent()) {
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
pub fn name(request: Request<'_>) -> String {
    shown(request.connection().address())
}

/// Whether the other side of a socket is this machine, whatever headers or a PROXY protocol say.
/// A socket that has no one other side (HTTP/3) is not local.
fn is_local(client: Connection<'_>) -> bool {
    let address = client.socket().and_then(|socket| getpeername(socket).ok().flatten());
    address.is_some_and(|address| {
        address.address_family() == AddressFamily::UNIX
            || SocketAddr::try_from(address)
                .is_ok_and(|address| address.ip().to_canonical().is_loopback())
    })
}
