//! nginx's cycles: a configuration that is taken up, and what belongs to it.

use nginx_sys::{
    NGX_ERROR, NGX_OK, ngx_core_conf_t, ngx_core_module, ngx_cycle, ngx_cycle_t, ngx_int_t,
    ngx_log_t,
};

use super::boundary::guarded;
use super::living::Living;

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

impl Cycle<'_> {
    /// What shows in the cycle that nginx runs with at the moment; `None` while it starts.
    pub fn in_running<R>(look: impl FnOnce(Cycle<'_>) -> R) -> Option<R> {
        // SAFETY: `ngx_cycle` is the running cycle until a new configuration is in place, which is not
        // as long as this thread is here.
        let running = unsafe { Living::maybe(ngx_cycle) }?;
        running.see(|it| !it.conf_ctx.is_null()).then(|| look(running))
    }

    pub fn log(self) -> *mut ngx_log_t {
        self.see(|it| it.log)
    }

    /// How many workers its configuration asks for.
    pub fn worker_processes(self) -> Option<usize> {
        // SAFETY: the core module has a configuration in each cycle that runs.
        let conf = unsafe {
            let conf = *self.see(|it| it.conf_ctx).add(ngx_core_module.index);
            conf.cast::<ngx_core_conf_t>().as_ref()?
        };
        usize::try_from(conf.worker_processes).ok()
    }
}
