//! What is nginx's, and lives while it is used here. That is promised once, where nginx passes it.

use core::marker::PhantomData;
use core::ptr::NonNull;
use core::slice;

use nginx_sys::{ngx_str_t, ngx_table_elt_t};

/// A `T` of nginx's, at least until the end of `'l`. It may be copied, as nginx itself has pointers to
/// it in many places; and as nginx may change it whenever it is called, what one sees in it is a copy.
#[repr(transparent)]
pub struct Living<'l, T> {
    pointer: NonNull<T>,
    life: PhantomData<&'l T>,
}

impl<T> Clone for Living<'_, T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Living<'_, T> {}

impl<T> PartialEq for Living<'_, T> {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.pointer == other.pointer
    }
}

impl<T> Living<'_, T> {
    /// # Safety
    ///
    /// What the pointer leads to is not freed before the end of the lifetime, nor while nginx has
    /// pointers to it, and belongs to this thread. So does what it leads to in its turn.
    #[inline(always)]
    pub unsafe fn new(pointer: *mut T) -> Self {
        // SAFETY: what the caller promises to live is not null.
        let pointer = unsafe { NonNull::new_unchecked(pointer) };
        Self { pointer, life: PhantomData }
    }

    /// `None` for null.
    ///
    /// # Safety
    ///
    /// As [`Living::new`], if it is not null.
    #[inline(always)]
    pub unsafe fn maybe(pointer: *mut T) -> Option<Self> {
        NonNull::new(pointer).map(|pointer| Self { pointer, life: PhantomData })
    }

    /// For nginx's functions.
    #[inline(always)]
    pub fn as_ptr(self) -> *mut T {
        self.pointer.as_ptr()
    }

    /// What `look` sees there. It must not call nginx, which may write there, so that only what gives
    /// nginx's things to the floors above may look.
    #[inline(always)]
    pub(super) fn see<R>(self, look: impl FnOnce(&T) -> R) -> R {
        // SAFETY: it lives, and nobody writes to it during the look.
        look(unsafe { self.pointer.as_ref() })
    }

    /// As [`Living::see`], for what is to be changed there.
    #[inline(always)]
    pub(super) fn change<R>(self, change: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: it lives, and nobody else looks at it during the change.
        change(unsafe { &mut *self.pointer.as_ptr() })
    }
}

/// What can be reached from what lives, and lives as long.
pub(super) trait Reached<From> {
    /// # Safety
    ///
    /// It lives, if it is there; it may be missing only where that can be said.
    unsafe fn from(from: From) -> Self;
}

impl<T> Reached<*mut T> for Living<'_, T> {
    #[inline(always)]
    unsafe fn from(from: *mut T) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::new(from) }
    }
}

impl<T> Reached<*mut T> for Option<Living<'_, T>> {
    #[inline(always)]
    unsafe fn from(from: *mut T) -> Self {
        NonNull::new(from).map(|pointer| Living { pointer, life: PhantomData })
    }
}

impl Reached<ngx_str_t> for &[u8] {
    unsafe fn from(from: ngx_str_t) -> Self {
        if from.len == 0 {
            return &[];
        }
        // SAFETY: a text that lives and is not empty is as long as it says.
        unsafe { slice::from_raw_parts(from.data, from.len) }
    }
}

impl Reached<*mut ngx_table_elt_t> for Option<&[u8]> {
    unsafe fn from(from: *mut ngx_table_elt_t) -> Self {
        // SAFETY: a header that lives has a value that does.
        unsafe { from.as_ref().map(|header| Reached::from(header.value)) }
    }
}

/// What lives as long as that which leads to it, and why: a line for each.
macro_rules! reaches {
    ($from:ident<$life:lifetime> {
        $($(#[$why:meta])* $visibility:vis fn $name:ident() -> $what:ty = $($field:ident).+;)*
    }) => {
        impl<$life> $from<$life> {
            $(
                $(#[$why])*
                #[inline(always)]
                $visibility fn $name(self) -> $what {
                    // SAFETY: the reason stands at the line.
                    unsafe { $crate::nginx::ffi::living::Reached::from(self.see(|it| it.$($field).+)) }
                }
            )*
        }
    };
}

pub(super) use reaches;
