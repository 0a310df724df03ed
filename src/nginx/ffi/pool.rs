//! nginx's pools: memory that lasts as long as a request, or a configuration.

use core::ffi::c_void;
use core::ptr::{self, NonNull};

use nginx_sys::{
    NGX_ALIGNMENT, ngx_create_pool, ngx_destroy_pool, ngx_log_t, ngx_palloc, ngx_pnalloc,
    ngx_pool_t, ngx_str_t,
};

use super::living::Living;

pub type Pool<'p> = Living<'p, ngx_pool_t>;

/// What a pool calls when it ends.
pub type Cleanup = unsafe extern "C" fn(*mut c_void);

impl<'p> Pool<'p> {
    /// Puts a value there. It is never dropped. `None` if there is no memory.
    pub fn put<T: 'p>(self, value: T) -> Option<&'p mut T> {
        const { assert!(align_of::<T>() <= NGX_ALIGNMENT) };
        // SAFETY: the memory is the pool's as long as that lives, aligned as nginx's types are, and
        // nobody else's.
        unsafe {
            let place = NonNull::new(ngx_palloc(self.as_ptr(), size_of::<T>()))?.cast::<T>();
            place.write(value);
            Some(&mut *place.as_ptr())
        }
    }

    /// Puts a copy of a text there. `None` if there is no memory.
    pub fn copy(self, text: &[u8]) -> Option<ngx_str_t> {
        // SAFETY: the memory is as long as the text, and new.
        unsafe {
            let data = ngx_pnalloc(self.as_ptr(), text.len().max(1)).cast::<u8>();
            if data.is_null() {
                return None;
            }
            data.copy_from_nonoverlapping(text.as_ptr(), text.len());
            Some(ngx_str_t { len: text.len(), data })
        }
    }

    /// What stands there for `cleanup` to end, the latest of its kind.
    pub fn find(self, cleanup: Cleanup) -> Option<NonNull<c_void>> {
        let mut next = self.see(|it| it.cleanup);
        // SAFETY: the list of the pool's cleanups is nginx's own, and lasts as long as the pool.
        while let Some(found) = unsafe { next.as_ref() } {
            if found.handler.is_some_and(|handler| ptr::fn_addr_eq(handler, cleanup)) {
                return NonNull::new(found.data);
            }
            next = found.next;
        }
        None
    }
}

/// A pool of this module's own, which ends with it.
pub struct OwnPool(Pool<'static>);

impl OwnPool {
    /// `None` if there is no memory.
    pub fn new(size: usize, log: *mut ngx_log_t) -> Option<Self> {
        // SAFETY: a new pool, which nobody else has.
        unsafe { Living::maybe(ngx_create_pool(size, log)).map(Self) }
    }

    pub fn get(&self) -> Pool<'_> {
        self.0
    }
}

impl Drop for OwnPool {
    fn drop(&mut self) {
        // SAFETY: who was given something of it has borrowed this, and does so no more.
        unsafe { ngx_destroy_pool(self.0.as_ptr()) };
    }
}
