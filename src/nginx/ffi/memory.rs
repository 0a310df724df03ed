//! nginx's shared memory.

use core::ffi::c_void;
use core::ptr::NonNull;
use core::slice;

use nginx_sys::{
    NGX_ERROR, NGX_LOG_EMERG, NGX_OK, ngx_int_t, ngx_log_t, ngx_shm_zone_t, ngx_shmtx_t,
    ngx_slab_pool_t,
};

use super::boundary::guarded;
use super::configuring::Configuring;
use super::cycle::Cycle;
use super::functions::{ngx_shared_memory_add, ngx_slab_alloc};
use super::globals::page_size;
use super::identity::module;
use super::living::{List, Living, reaches};
use super::text::Text;

/// A piece of shared memory.
pub type Memory<'m> = Living<'m, ngx_shm_zone_t>;

/// What nginx keeps in it to share it out.
pub type Slab<'m> = Living<'m, ngx_slab_pool_t>;

/// What a configuration has in mind with its memory.
pub trait Owner {
    /// Makes what is to be in the memory, or takes over what is there. Called in the master, while the
    /// workers of the configuration before still run, and before the new one can no longer fail;
    /// `before` is that of the former configuration, if its memory is taken over.
    fn init(&self, before: Option<&Self>, memory: Memory<'static>) -> Result<(), String>;
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
        let mut name = Text::of(name.as_bytes());
        let memory = ngx_shared_memory_add(self.conf(), &mut name, size, tag())?;
        memory.change(|it| {
            it.init = Some(init::<O>);
            it.data = owner.cast();
        });
        Some(memory)
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

reaches!(Cycle<'c> {
    /// As long as the configuration that has asked for it.
    fn memories() -> List<'c, ngx_shm_zone_t> = shared_memory;
});

impl<'c> Cycle<'c> {
    /// This module's memory of this name.
    pub fn memory(self, name: &str) -> Option<Memory<'c>> {
        let is_ours = |memory: &Memory<'_>| memory.see(|it| it.tag) == tag();
        self.memories().filter(is_ours).find(|memory| memory.name() == name.as_bytes())
    }
}

reaches!(Memory<'m> {
    /// In the pool of the configuration, or static.
    fn name() -> &'m [u8] = shm.name;

    /// At the beginning of the memory, if that has been had.
    pub fn slab() -> Option<Slab<'m>> = shm.addr;
});

impl<'m> Memory<'m> {
    pub fn size(self) -> usize {
        self.see(|it| it.shm.size)
    }

    pub fn log(self) -> *mut ngx_log_t {
        self.see(|it| it.shm.log)
    }
}

impl<'m> Slab<'m> {
    /// What was put there.
    pub fn data(self) -> Option<NonNull<c_void>> {
        NonNull::new(self.see(|it| it.data))
    }

    pub fn set_data(self, data: NonNull<c_void>) {
        self.change(|it| it.data = data.as_ptr());
    }

    /// All of the memory that is left, as one piece.
    pub fn take_all(self) -> Option<&'m mut [u8]> {
        let size = self.see(|it| it.pfree) * page_size();
        let memory = ngx_slab_alloc(self, size)?.cast();
        // SAFETY: it is as large, and nobody else's.
        Some(unsafe { slice::from_raw_parts_mut(memory.as_ptr(), size) })
    }

    /// What keeps other processes from what is in the memory.
    pub fn mutex(self) -> Living<'m, ngx_shmtx_t> {
        self.part(|it| &mut it.mutex)
    }
}
