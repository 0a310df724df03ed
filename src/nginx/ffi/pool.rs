//! nginx's pools: memory that lasts as long as a request, or a configuration.

use core::any::type_name;
use core::ffi::c_void;
use core::iter::successors;
use core::ptr::{self, NonNull};

use nginx_sys::{NGX_ALIGNMENT, ngx_destroy_pool, ngx_log_t, ngx_pool_cleanup_t, ngx_pool_t};

use super::boundary::guarded;
use super::functions::{ngx_create_pool, ngx_palloc, ngx_pnalloc, ngx_pool_cleanup_add};
use super::living::{Living, reaches};
use super::text::Text;

pub type Pool<'p> = Living<'p, ngx_pool_t>;

/// What a pool calls when it ends.
pub type Cleanup = unsafe extern "C" fn(*mut c_void);

impl<'p> Pool<'p> {
    /// Puts a value there. It is never dropped. `None` if there is no memory.
    pub fn put<T: 'p>(self, value: T) -> Option<&'p mut T> {
        ngx_palloc(self, size_of::<T>()).map(|place| self.write(place, value))
    }

    /// Puts a value there, which is dropped when the pool ends. `None` if there is no memory, and it is
    /// dropped at once.
    pub fn keep<T: 'p>(self, value: T) -> Option<&'p mut T> {
        let cleanup = ngx_pool_cleanup_add(self, size_of::<Kept<T>>())?;
        let place = cleanup.change(|it| {
            it.handler = Some(drop_kept::<T>);
            NonNull::new(it.data)
        })?;
        Some(&mut self.write(place, Kept { kind: type_name::<T>(), value }).value)
    }

    /// Writes to memory that the pool has just given for it.
    fn write<T: 'p>(self, place: NonNull<c_void>, value: T) -> &'p mut T {
        const { assert!(align_of::<T>() <= NGX_ALIGNMENT) };
        let place = place.cast::<T>();
        // SAFETY: the memory is the pool's as long as that lives, aligned as nginx's types are, and
        // nobody else's.
        unsafe {
            place.write(value);
            &mut *place.as_ptr()
        }
    }

    /// What was put there by [`Pool::keep`], the latest of its type.
    pub fn kept<T: 'p>(self) -> Option<&'p T> {
        let kept = self.find(drop_kept::<T>).map(NonNull::cast::<Kept<T>>);
        // SAFETY: what has this cleanup was put there by `keep`. As the compiler may take functions that do
        // the same for one, it may be of another type, but begins as this does.
        unsafe {
            let mut ours = kept.filter(|it| (*it.as_ptr()).kind == type_name::<T>());
            ours.next().map(|it| &(*it.as_ptr()).value)
        }
    }

    /// Puts a copy of a text there. `None` if there is no memory.
    pub fn copy(self, text: &[u8]) -> Option<Text<'p>> {
        let data = ngx_pnalloc(self, text.len().max(1))?.cast::<u8>();
        // SAFETY: the memory is as long as the text, and new.
        unsafe {
            data.copy_from_nonoverlapping(NonNull::from(text).cast(), text.len());
            Some(Text::of(NonNull::slice_from_raw_parts(data, text.len()).as_ref()))
        }
    }

    /// What stands there for `cleanup` to end, the latest first.
    pub fn find(self, cleanup: Cleanup) -> impl Iterator<Item = NonNull<c_void>> {
        let is_it = move |handler| ptr::fn_addr_eq(handler, cleanup);
        let data = move |it: &ngx_pool_cleanup_t| it.handler.is_some_and(is_it).then_some(it.data);
        let all = successors(self.last_cleanup(), |it| it.next());
        all.filter_map(move |it| NonNull::new(it.see(data)?))
    }
}

reaches!(Pool<'p> {
    /// As long as the pool, if there is one.
    fn last_cleanup() -> Option<Planned<'p>> = cleanup;
});

type Planned<'p> = Living<'p, ngx_pool_cleanup_t>;

reaches!(Planned<'p> {
    /// As the last.
    fn next() -> Option<Planned<'p>> = next;
});

/// What a pool keeps.
#[repr(C)]
struct Kept<T> {
    kind: &'static str,
    value: T,
}

unsafe extern "C" fn drop_kept<T>(kept: *mut c_void) {
    // SAFETY: nginx passes what `keep` put there, once, when the pool ends.
    guarded((), || unsafe { kept.cast::<Kept<T>>().drop_in_place() });
}

/// A pool of this module's own, which ends with it.
pub struct OwnPool(Pool<'static>);

impl OwnPool {
    /// `None` if there is no memory.
    pub fn new(size: usize, log: *mut ngx_log_t) -> Option<Self> {
        ngx_create_pool(size, log).map(Self)
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
