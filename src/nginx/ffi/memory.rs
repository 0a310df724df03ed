//! nginx's shared memory.

use core::ffi::c_void;
use core::ptr::NonNull;

use nginx_sys::{
    NGX_ERROR, NGX_LOG_EMERG, NGX_OK, ngx_int_t, ngx_log_t, ngx_shared_memory_add, ngx_shm_zone_t,
    ngx_slab_alloc, ngx_slab_pool_t, ngx_str_t,
};

use super::boundary::guarded;
use super::configuring::Configuring;
use super::cycle::Cycle;
use super::globals::page_size;
use super::headers::bytes;
use super::identity::module;
use super::living::Living;

/// A piece of shared memory.
pub type Memory<'m> = Living<'m, ngx_shm_zone_t>;

/// What nginx keeps in it to share it out.
pub type Slab<'m> = Living<'m, ngx_slab_pool_t>;

/// What a configuration has in mind with its memory.
pub trait Owner {
    /// Makes what is to be in the memory, or takes over what is there. Called in the master, while the
    /// workers of the configuration before still run, and before the new one can no longer fail;
    /// `before` is that of the former configuration, if its memory is taken over.
    fn init(&self, before: Option<&Self>, memory: Memory<'_>) -> Result<(), String>;
}

impl<'c> Configuring<'c> {
    /// Asks for shared memory. `None` if it cannot be had.
    ///
    /// # Safety
    ///
    /// The owner lives as long as this configuration, and nobody else changes it once that has been
    /// read; all memory of this module has such an owner.
    pub unsafe fn add_memory<O: Owner>(
        &mut self,
        name: &'static str,
        size: usize,
        owner: *mut O,
    ) -> Option<Memory<'c>> {
        let mut name = ngx_str_t { len: name.len(), data: name.as_ptr().cast_mut() };
        // SAFETY: the name and the tag are static; the caller's promise.
        unsafe {
            let memory = ngx_shared_memory_add(self.as_ptr(), &mut name, size, tag()).as_mut()?;
            memory.init = Some(init::<O>);
            memory.data = owner.cast();
            Some(Memory::new(memory))
        }
    }
}

unsafe extern "C" fn init<O: Owner>(memory: *mut ngx_shm_zone_t, before: *mut c_void) -> ngx_int_t {
    // SAFETY: nginx passes memory that this is the `init` of, and the owner that the memory of the
    // running configuration has, if it is taken over.
    let (memory, owner, before) = unsafe {
        let memory = Memory::new(memory);
        let owner = memory.see(|it| it.data).cast::<O>().as_ref();
        (memory, owner, before.cast::<O>().as_ref())
    };
    let init = || owner.map_or(Ok(()), |owner| owner.init(before, memory));
    match guarded(Err("intermission: the zone cannot be made".to_owned()), init) {
        Ok(()) => NGX_OK as ngx_int_t,
        Err(problem) => {
            ngx::ngx_log_error!(NGX_LOG_EMERG, memory.log(), "{problem}");
            NGX_ERROR as ngx_int_t
        }
    }
}

/// What tells this module's memory from others'.
fn tag() -> *mut c_void {
    core::ptr::from_ref(module()).cast_mut().cast()
}

impl<'c> Cycle<'c> {
    /// This module's memory of this name.
    pub fn memory(self, name: &str) -> Option<Memory<'c>> {
        let mut part = self.see(|it| it.shared_memory.part);
        loop {
            let first = part.elts.cast::<ngx_shm_zone_t>();
            for at in 0..part.nelts {
                // SAFETY: the elements of a part of nginx's list, whose names are in the cycle's pool.
                let (memory, known_as) = unsafe {
                    let memory = Memory::new(first.add(at));
                    (memory, bytes(&memory.see(|it| it.shm.name)))
                };
                if known_as == name.as_bytes() && memory.see(|it| it.tag) == tag() {
                    return Some(memory);
                }
            }
            // SAFETY: the next part of that list, or null.
            part = unsafe { *part.next.as_ref()? };
        }
    }
}

impl<'m> Memory<'m> {
    pub fn size(self) -> usize {
        self.see(|it| it.shm.size)
    }

    pub fn log(self) -> *mut ngx_log_t {
        self.see(|it| it.shm.log)
    }

    /// `None` if the memory has not been had yet.
    pub fn slab(self) -> Option<Slab<'m>> {
        // SAFETY: nginx puts it at the beginning of the memory.
        unsafe { Living::maybe(self.see(|it| it.shm.addr).cast()) }
    }
}

impl Slab<'_> {
    /// What was put there.
    pub fn data(self) -> Option<NonNull<c_void>> {
        NonNull::new(self.see(|it| it.data))
    }

    pub fn set_data(self, data: NonNull<c_void>) {
        self.change(|it| it.data = data.as_ptr());
    }

    /// All of the memory that is left, as one piece, and its size.
    pub fn take_all(self) -> Option<(NonNull<c_void>, usize)> {
        let size = self.see(|it| it.pfree) * page_size();
        // SAFETY: nginx has made what shares the memory out.
        let memory = unsafe { ngx_slab_alloc(self.as_ptr(), size) };
        Some((NonNull::new(memory)?, size))
    }
}
