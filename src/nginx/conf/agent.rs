//! Patterns of `intermission_privileged_user_agent`.

use nginx_sys::{ngx_conf_t, ngx_str_t};

/// What a user agent is compared with.
#[derive(Clone)]
pub enum Agent {
    Part(Vec<u8>),
    #[cfg(ngx_feature = "pcre")]
    Regex(*mut nginx_sys::ngx_regex_t),
}

impl Agent {
    /// Reads a pattern: a substring, `~regex`, or `~*regex` for any case.
    ///
    /// # Safety
    ///
    /// `cf` is nginx's, while it reads its configuration.
    pub unsafe fn parse(cf: *mut ngx_conf_t, pattern: &[u8]) -> Result<Self, String> {
        if pattern.is_empty() {
            return Err("expected a part of a user agent, \"~regex\" or \"~*regex\"".to_owned());
        }
        match pattern.strip_prefix(b"~") {
            None => Ok(Self::Part(pattern.to_vec())),
            // SAFETY: the caller's promise.
            Some(rest) => match rest.strip_prefix(b"*") {
                // SAFETY: as above.
                Some(rest) => unsafe { compile(cf, rest, true) },
                // SAFETY: as above.
                None => unsafe { compile(cf, rest, false) },
            },
        }
    }

    pub fn matches(&self, agent: &[u8]) -> bool {
        match self {
            Self::Part(part) => agent.windows(part.len()).any(|window| window == part.as_slice()),
            #[cfg(ngx_feature = "pcre")]
            Self::Regex(regex) => {
                let mut subject = ngx_str_t { len: agent.len(), data: agent.as_ptr().cast_mut() };
                // SAFETY: a compiled regex of the running configuration; no captures are asked for.
                let found = unsafe {
                    nginx_sys::ngx_regex_exec(*regex, &mut subject, core::ptr::null_mut(), 0)
                };
                found >= 0
            }
        }
    }
}

#[cfg(ngx_feature = "pcre")]
/// # Safety
///
/// As [`Agent::parse`].
unsafe fn compile(cf: *mut ngx_conf_t, regex: &[u8], any_case: bool) -> Result<Agent, String> {
    use nginx_sys::{
        NGX_ERROR, NGX_REGEX_CASELESS, ngx_pnalloc, ngx_regex_compile, ngx_regex_compile_t,
    };

    let mut message = [0u8; 256];
    // SAFETY: the structure may be zeroed; nginx copies what it keeps into the pool, where the
    // pattern, ended by a zero as PCRE 1 wants it, is put as well.
    unsafe {
        let pattern = ngx_pnalloc((*cf).pool, regex.len() + 1).cast::<u8>();
        if pattern.is_null() {
            return Err("no memory".to_owned());
        }
        pattern.copy_from_nonoverlapping(regex.as_ptr(), regex.len());
        pattern.add(regex.len()).write(0);
        let mut compile: ngx_regex_compile_t = core::mem::zeroed();
        compile.pattern = ngx_str_t { len: regex.len(), data: pattern };
        compile.pool = (*cf).pool;
        compile.options = if any_case { NGX_REGEX_CASELESS as usize } else { 0 };
        compile.err = ngx_str_t { len: message.len(), data: message.as_mut_ptr() };
        if ngx_regex_compile(&mut compile) == NGX_ERROR as isize {
            let said = message.get(..compile.err.len).unwrap_or(&message);
            return Err(format!("not a regular expression: {}", String::from_utf8_lossy(said)));
        }
        Ok(Agent::Regex(compile.regex))
    }
}

#[cfg(not(ngx_feature = "pcre"))]
/// # Safety
///
/// None is needed.
unsafe fn compile(_: *mut ngx_conf_t, _: &[u8], _: bool) -> Result<Agent, String> {
    Err("this nginx is built without PCRE, so it knows no regular expressions".to_owned())
}
