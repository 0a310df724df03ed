//! Directives that stand in `http` alone.

use std::path::PathBuf;

use super::Directive;
use crate::nginx::conf::MainConf;
use crate::nginx::ffi::configuring::Configuring;
use crate::nginx::ffi::functions::ngx_parse_size;
use crate::nginx::ffi::paths::path_of;
use crate::nginx::ffi::text::Text;
use crate::nginx::setup::zone::add_zone;

pub fn state_file(directive: &mut Directive<'_>) -> Result<(), String> {
    let path = full_path(&directive.cf, directive.value())?;
    Directive::once(&mut main(&mut directive.cf)?.state_file, path)
}

fn full_path(cf: &Configuring<'_>, path: &[u8]) -> Result<PathBuf, String> {
    let full = Some(path).filter(|path| !path.is_empty()).and_then(|path| cf.full_path(path));
    let path = path_of(full.ok_or_else(|| "expected the path of a file".to_owned())?);
    match path.parent().is_some_and(|directory| directory.is_dir()) && !path.is_dir() {
        true => Ok(path),
        false => Err("expected the path of a file in a directory that exists".to_owned()),
    }
}

pub fn zone(directive: &mut Directive<'_>) -> Result<(), String> {
    const LEAST: usize = 64 * 1024;
    // More than all names there could be; and what no machine has, nginx refuses in words of its own.
    const MOST: usize = 1024 * 1024 * 1024;
    if main(&mut directive.cf)?.has_memory() {
        return Err("is duplicate".to_owned());
    }
    let size = size(directive.value());
    let size = size.filter(|size| *size >= LEAST && *size <= MOST);
    let size = size.ok_or_else(|| "expected a size from 64k to 1024m, such as 1m".to_owned())?;
    add_zone(&mut directive.cf, size).ok_or_else(|| "it cannot be added".to_owned())
}

fn size(text: &[u8]) -> Option<usize> {
    usize::try_from(ngx_parse_size(&mut Text::of(text))).ok()
}

fn main<'m>(cf: &'m mut Configuring<'_>) -> Result<&'m mut MainConf, String> {
    MainConf::of(cf).ok_or_else(|| "no http block".to_owned())
}
