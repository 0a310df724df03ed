//! nginx's strings.

use core::marker::PhantomData;
use core::ptr::NonNull;
use core::slice;

use nginx_sys::{ngx_array_t, ngx_http_complex_value_t, ngx_str_t, ngx_table_elt_t};

use super::living::{Living, Reached, reaches};

/// A string of nginx's, whose bytes live that long.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Text<'l>(ngx_str_t, PhantomData<&'l [u8]>);

impl<'l> Text<'l> {
    /// nginx's types let it write there, which it does where a text may be in capitals that it does not want.
    pub const fn of(text: &'l [u8]) -> Self {
        Self(ngx_str_t { len: text.len(), data: text.as_ptr().cast_mut() }, PhantomData)
    }

    pub fn bytes(self) -> &'l [u8] {
        if self.0.len == 0 {
            return &[];
        }
        // SAFETY: a text lives as long as it says, and is as long, whether it is Rust's or nginx's.
        unsafe { slice::from_raw_parts(self.0.data, self.0.len) }
    }

    /// For nginx's structures.
    pub fn raw(self) -> ngx_str_t {
        self.0
    }
}

impl Reached<ngx_str_t> for Text<'_> {
    unsafe fn from(from: ngx_str_t) -> Self {
        Self(from, PhantomData)
    }
}

impl Reached<ngx_str_t> for &[u8] {
    unsafe fn from(from: ngx_str_t) -> Self {
        Text(from, PhantomData).bytes()
    }
}

/// A text with variables in it, as a part of the configuration in which it stands.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Template(NonNull<ngx_http_complex_value_t>);

impl Template {
    pub(super) fn of(value: &mut ngx_http_complex_value_t) -> Self {
        Self(NonNull::from(value))
    }
}

/// Values with variables in them, one of which may hold, as a part of the configuration in which they stand.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Predicates(NonNull<ngx_array_t>);

impl Predicates {
    /// What nginx's own directive for them has made. `None` where there are none.
    pub fn of(values: *mut ngx_array_t) -> Option<Self> {
        NonNull::new(values).map(Self)
    }
}

/// A header of a request, as nginx keeps it in the request's pool.
pub type Header<'l> = Living<'l, ngx_table_elt_t>;

reaches!(Header<'l> {
    /// In the request's buffers, or in its pool.
    pub fn name() -> &'l [u8] = key;

    /// As its name.
    pub fn value() -> &'l [u8] = value;
});
