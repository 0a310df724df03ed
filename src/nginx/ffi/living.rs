//! What is nginx's, and lives while it is used here. That is promised once, where nginx passes it.

use core::marker::PhantomData;
use core::ptr::NonNull;
use core::slice;

use nginx_sys::{ngx_array_t, ngx_list_part_t, ngx_list_t, ngx_slab_pool_t};

use ngx::http::{HttpModuleConfExt, HttpModuleLocationConf, HttpModuleMainConf};

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

impl<'l, T> Living<'l, T> {
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

    /// What nginx has given as a reference.
    #[inline(always)]
    pub(super) fn of(reference: &'l mut T) -> Self {
        Self { pointer: NonNull::from(reference), life: PhantomData }
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

    /// A part of it, which lives as long.
    pub(super) fn part<P>(self, part: impl FnOnce(&mut T) -> &mut P) -> Living<'l, P> {
        self.change(|it| Living { pointer: NonNull::from(part(it)), life: PhantomData })
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

impl<'l, T: HttpModuleConfExt> Living<'l, T> {
    /// What a module has for all of the `http` block.
    pub fn main_conf<M: HttpModuleMainConf<MainConf: 'static>>(self) -> Option<&'l M::MainConf> {
        self.see(M::main_conf)
    }

    /// What a module has at the place at hand.
    #[inline]
    pub fn location_conf<M: HttpModuleLocationConf<LocationConf: 'static>>(
        self,
    ) -> Option<&'l M::LocationConf> {
        self.see(M::location_conf)
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

/// What nginx keeps at the beginning of shared memory, if there is any.
impl Reached<*mut u8> for Option<Living<'_, ngx_slab_pool_t>> {
    unsafe fn from(from: *mut u8) -> Self {
        NonNull::new(from.cast()).map(|pointer| Living { pointer, life: PhantomData })
    }
}

impl<T> Reached<ngx_array_t> for &[T] {
    unsafe fn from(from: ngx_array_t) -> Self {
        let elements = from.elts.cast::<T>();
        let elements = if from.nelts == 0 { NonNull::dangling().as_ptr() } else { elements };
        // SAFETY: an array that lives has as many elements as it says, of the type that is asked for.
        unsafe { slice::from_raw_parts(elements, from.nelts) }
    }
}

/// An array, or none: its elements.
impl<T> Reached<*mut ngx_array_t> for &[T] {
    unsafe fn from(from: *mut ngx_array_t) -> Self {
        // SAFETY: the caller's promise.
        unsafe { from.as_ref().map_or(&[], |array| Reached::from(*array)) }
    }
}

/// What stands in a list of nginx's.
pub struct List<'l, T> {
    part: ngx_list_part_t,
    next: usize,
    life: PhantomData<&'l T>,
}

impl<T> Reached<ngx_list_t> for List<'_, T> {
    unsafe fn from(from: ngx_list_t) -> Self {
        Self { part: from.part, next: 0, life: PhantomData }
    }
}

impl<'l, T> Iterator for List<'l, T> {
    type Item = Living<'l, T>;

    fn next(&mut self) -> Option<Self::Item> {
        // SAFETY: a list lives with all of its parts, each of which has as many elements as it says.
        unsafe {
            while self.next == self.part.nelts {
                self.part = *self.part.next.as_ref()?;
                self.next = 0;
            }
            let found = self.part.elts.cast::<T>().add(self.next);
            self.next += 1;
            Living::maybe(found)
        }
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
