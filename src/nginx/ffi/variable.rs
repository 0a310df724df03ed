//! nginx's variables.

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_VAR_NOCACHEABLE, NGX_OK, ngx_http_request_t, ngx_http_variable_value_t,
    ngx_int_t,
};

use super::boundary::guarded;
use super::configuring::Configuring;
use super::functions::ngx_http_add_variable;
use super::living::Living;
use super::request::Request;
use super::text::Text;

/// A variable that is looked at anew each time.
pub trait Variable {
    /// `None` where there is nothing to say: it is `-` then.
    fn text(request: Request<'_>) -> Option<Vec<u8>>;
}

impl Configuring<'_> {
    /// `None` if there is no memory, or another variable of this name.
    pub fn add_variable<V: Variable>(&mut self, name: &'static str) -> Option<()> {
        // It has no capitals.
        let mut name = Text::of(name.as_bytes());
        let variable =
            ngx_http_add_variable(self.conf(), &mut name, NGX_HTTP_VAR_NOCACHEABLE as usize)?;
        variable.change(|it| it.get_handler = Some(get::<V>));
        Some(())
    }
}

unsafe extern "C" fn get<V: Variable>(
    request: *mut ngx_http_request_t,
    value: *mut ngx_http_variable_value_t,
    _: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes a request, and a value to fill in, which it keeps meanwhile.
    let (request, value) = unsafe { (Request::new(request), Living::new(value)) };
    let filled = guarded(None, || {
        let text = V::text(request).unwrap_or_else(|| b"-".to_vec());
        let copy = request.pool().copy(&text)?.raw();
        let length = u32::try_from(copy.len).ok()?;
        value.change(|it| {
            it.data = copy.data;
            it.set_len(length);
            it.set_valid(1);
            it.set_no_cacheable(0);
            it.set_not_found(0);
        });
        Some(())
    });
    if filled.is_some() { NGX_OK as ngx_int_t } else { NGX_ERROR as ngx_int_t }
}
