//! Which app a location belongs to, and its name.

use super::{LocConf, MainConf};
use crate::nginx::ffi::request::Request;
use crate::nginx::ffi::text::Template;

/// The app of a location.
#[derive(Clone, Copy)]
pub enum AppName {
    /// A name that stands in the configuration: its place in [`MainConf::names`].
    Fixed(usize),
    Evaluated(Template),
}

/// The name of the app that a request's location belongs to.
pub fn app_name(request: Request<'_>) -> Option<Vec<u8>> {
    let name = match LocConf::of(request)?.app.unwrap_or(AppName::Fixed(0)) {
        AppName::Fixed(index) => MainConf::behind(request)?.names.get(index)?.clone(),
        AppName::Evaluated(template) => request.evaluate(template)?.to_vec(),
    };
    Some(if name.is_empty() { b"default".to_vec() } else { name })
}
