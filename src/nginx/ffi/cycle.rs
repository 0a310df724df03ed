//! nginx's cycles: a configuration that is taken up, and what belongs to it.

use core::iter::from_fn;

use nginx_sys::{
    NGX_ERROR, NGX_OK, ngx_core_conf_t, ngx_core_module, ngx_cycle_t, ngx_int_t, ngx_log_t,
    ngx_module_t,
};

use super::boundary::guarded;
use super::globals::running_cycle;
use super::living::{Living, reaches};

pub type Cycle<'c> = Living<'c, ngx_cycle_t>;

/// What is done when a cycle begins: in the master, or in a process of its own.
pub trait Begin {
    /// `None` if it cannot be done.
    fn begin(cycle: Cycle<'_>) -> Option<()>;
}

pub unsafe extern "C" fn begin<B: Begin>(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: nginx passes the cycle that begins, which stays meanwhile.
    let cycle = unsafe { Cycle::new(cycle) };
    match guarded(None, || B::begin(cycle)) {
        Some(()) => NGX_OK as ngx_int_t,
        None => NGX_ERROR as ngx_int_t,
    }
}

type Core<'c> = Living<'c, ngx_core_conf_t>;

reaches!(Core<'c> {
    /// In the pool of the cycle.
    fn pid_file() -> &'c [u8] = pid;

    /// As the other.
    fn old_pid_file() -> &'c [u8] = oldpid;
});

impl<'c> Cycle<'c> {
    /// What shows in the cycle that nginx runs with at the moment; `None` while it starts.
    pub fn in_running<R>(look: impl FnOnce(Cycle<'_>) -> R) -> Option<R> {
        // It is that until a new configuration is in place, which is not as long as this thread is here.
        let running = running_cycle()?;
        running.see(|it| !it.conf_ctx.is_null()).then(|| look(running))
    }

    pub fn log(self) -> *mut ngx_log_t {
        self.see(|it| it.log)
    }

    /// How many workers its configuration asks for.
    pub fn worker_processes(self) -> Option<usize> {
        usize::try_from(self.core()?.see(|it| it.worker_processes)).ok()
    }

    /// The files in which nginx notes its master's process id: this one's, and that of one which it replaces.
    pub fn pid_files(self) -> Vec<&'c [u8]> {
        self.core().into_iter().flat_map(|core| [core.pid_file(), core.old_pid_file()]).collect()
    }

    /// The modules that nginx knows.
    pub(super) fn modules(self) -> impl Iterator<Item = &'c ngx_module_t> {
        let mut next = self.see(|it| it.modules);
        from_fn(move || {
            // SAFETY: they stay, and their list ends with a null.
            unsafe {
                let module = (*next).as_ref()?;
                next = next.add(1);
                Some(module)
            }
        })
    }

    /// How many connections there may be, how many of these are left, and how many nginx would take from
    /// clients that are idle.
    pub fn connections(self) -> (usize, usize, usize) {
        self.see(|it| (it.connection_n, it.free_connection_n, it.reusable_connections_n))
    }

    /// What nginx's core module has of it.
    fn core(self) -> Option<Core<'c>> {
        // SAFETY: the core module has a configuration in each cycle that runs.
        unsafe { Core::maybe((*self.see(|it| it.conf_ctx).add(ngx_core_module.index)).cast()) }
    }
}
