//! Directives that stand in `http` alone.

use core::ffi::{c_char, c_void};
use core::ptr;
use std::path::PathBuf;

use nginx_sys::{
    NGX_OK, ngx_command_t, ngx_conf_full_name, ngx_conf_t, ngx_int_t, ngx_parse_size, ngx_str_t,
};
use ngx::core::NGX_CONF_ERROR;

use super::{Directive, complain, directive};
use crate::nginx::conf::MainConf;
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::headers;
use crate::nginx::ffi::paths::path_of;
use crate::nginx::setup::zone::add_zone;

pub unsafe extern "C" fn set_state_file(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    guarded(NGX_CONF_ERROR.cast(), || {
        // SAFETY: nginx passes its configuration in the making, and a main configuration of ours.
        let (directive, main) = unsafe { (directive(cf), &mut *conf.cast::<MainConf>()) };
        // SAFETY: as above.
        let set = unsafe { full_path(cf, directive.value()) }
            .and_then(|path| Directive::once(&mut main.state_file, path));
        let Err(problem) = set else { return ptr::null_mut() };
        complain(cf, "intermission_state_file", &directive, &problem);
        NGX_CONF_ERROR.cast()
    })
}

/// # Safety
///
/// `cf` is nginx's, while it reads a directive.
unsafe fn full_path(cf: *mut ngx_conf_t, path: &[u8]) -> Result<PathBuf, String> {
    let mut name = ngx_str_t { len: path.len(), data: path.as_ptr().cast_mut() };
    // SAFETY: the caller's promise; nginx puts the full name into its pool.
    unsafe {
        let full = ngx_conf_full_name((*cf).cycle, &mut name, 0) == NGX_OK as ngx_int_t;
        if path.is_empty() || !full {
            return Err("expected the path of a file".to_owned());
        }
        let path = path_of(headers::bytes(&name));
        match path.parent().is_some_and(|directory| directory.is_dir()) && !path.is_dir() {
            true => Ok(path),
            false => Err("expected the path of a file in a directory that exists".to_owned()),
        }
    }
}

pub unsafe extern "C" fn set_zone(
    cf: *mut ngx_conf_t,
    _: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    guarded(NGX_CONF_ERROR.cast(), || {
        // SAFETY: nginx passes its configuration in the making, and a main configuration of ours.
        let (directive, main) = unsafe { (directive(cf), &mut *conf.cast::<MainConf>()) };
        // SAFETY: as above.
        let Err(problem) = (unsafe { zone_of_size(cf, main, directive.value()) }) else {
            return ptr::null_mut();
        };
        complain(cf, "intermission_zone", &directive, &problem);
        NGX_CONF_ERROR.cast()
    })
}

/// # Safety
///
/// `cf` is nginx's, while it reads a directive.
unsafe fn zone_of_size(
    cf: *mut ngx_conf_t,
    main: &mut MainConf,
    size: &[u8],
) -> Result<(), String> {
    const LEAST: usize = 64 * 1024;
    if !main.zone.is_null() {
        return Err("is duplicate".to_owned());
    }
    let mut text = ngx_str_t { len: size.len(), data: size.as_ptr().cast_mut() };
    // SAFETY: the string is valid for its length.
    let size = usize::try_from(unsafe { ngx_parse_size(&mut text) }).ok();
    let size = size.filter(|size| *size >= LEAST && *size <= isize::MAX as usize / 2);
    let size = size.ok_or_else(|| "expected a size of at least 64k, such as 1m".to_owned())?;
    // SAFETY: the caller's promise.
    unsafe { add_zone(cf, main, size) }.ok_or_else(|| "it cannot be added".to_owned())
}
