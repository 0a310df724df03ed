//! nginx's regular expressions.

use super::configuring::Configuring;

/// One that was compiled as a part of a configuration, if nginx can do that.
#[derive(Clone)]
pub struct Regex(#[cfg(ngx_feature = "pcre")] *mut nginx_sys::ngx_regex_t);

#[cfg(ngx_feature = "pcre")]
impl Regex {
    pub fn compile(cf: &Configuring<'_>, regex: &[u8], any_case: bool) -> Result<Self, String> {
        use super::blank::Blank;
        use nginx_sys::{
            NGX_ERROR, NGX_REGEX_CASELESS, ngx_int_t, ngx_regex_compile, ngx_regex_compile_t,
            ngx_str_t,
        };

        let mut message = [0u8; 256];
        // PCRE 1 wants a zero at its end.
        let pattern = cf.pool().copy(&[regex, b"\0"].concat());
        let pattern = pattern.ok_or_else(|| "no memory".to_owned())?;
        let mut compile = ngx_regex_compile_t::blank();
        compile.pattern = ngx_str_t { len: regex.len(), ..pattern.raw() };
        compile.pool = cf.pool().as_ptr();
        compile.options = if any_case { NGX_REGEX_CASELESS as usize } else { 0 };
        compile.err = ngx_str_t { len: message.len(), data: message.as_mut_ptr() };
        // SAFETY: the pattern and what is made of it are in the configuration's pool, and there is as
        // much room for a message as it says.
        if unsafe { ngx_regex_compile(&mut compile) } == NGX_ERROR as ngx_int_t {
            let said = message.get(..compile.err.len).unwrap_or(&message);
            return Err(format!("not a regular expression: {}", String::from_utf8_lossy(said)));
        }
        Ok(Self(compile.regex))
    }

    pub fn matches(&self, text: &[u8]) -> bool {
        use core::ptr;
        use nginx_sys::{ngx_regex_exec, ngx_str_t};

        let mut subject = ngx_str_t { len: text.len(), data: text.as_ptr().cast_mut() };
        // SAFETY: it was compiled for the configuration that is used; no captures are asked for.
        unsafe { ngx_regex_exec(self.0, &mut subject, ptr::null_mut(), 0) >= 0 }
    }
}

#[cfg(not(ngx_feature = "pcre"))]
impl Regex {
    pub fn compile(_: &Configuring<'_>, _: &[u8], _: bool) -> Result<Self, String> {
        Err("this nginx is built without PCRE, so it knows no regular expressions".to_owned())
    }

    pub fn matches(&self, _: &[u8]) -> bool {
        false
    }
}
