//! The life of a worker: how it begins and ends, and which processes there are.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::fs;

use nginx_sys::{
    NGX_LOG_NOTICE, NGX_LOG_WARN, NGX_OK, NGX_PROCESS_SINGLE, NGX_PROCESS_WORKER, ngx_cycle_t,
    ngx_event_t, ngx_exiting, ngx_int_t, ngx_pid, ngx_process,
};
use ngx::http::HttpModuleConfExt;

use super::{HERE, Worker};
use crate::nginx::boundary::guarded;
use crate::nginx::conf::MainConf;
use crate::nginx::module::module;
use crate::nginx::zone::{Zone, attached};
use crate::nginx::{clock, successor, wake};
use crate::shm::{Process, start_of};

/// The configuration that this process, and those forked from it, belong to.
static CYCLE: AtomicU32 = AtomicU32::new(0);

/// The zone that a cycle's configuration asks for.
///
/// # Safety
///
/// The cycle is one whose configuration was taken up.
pub unsafe fn zone_of(cycle: &ngx_cycle_t) -> Option<Zone> {
    // SAFETY: the caller's promise.
    unsafe {
        let main = cycle.http_main_conf_unchecked::<MainConf>(module())?;
        attached(main.as_ref().zone)
    }
}

/// A new configuration begins, in the master.
pub fn begin_cycle(zone: &Zone) {
    CYCLE.store(zone.next_cycle(), Relaxed);
}

pub unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    guarded((), || {
        // SAFETY: nginx's own variable, and the cycle that the process starts with.
        unsafe {
            if [NGX_PROCESS_WORKER, NGX_PROCESS_SINGLE].contains(&(ngx_process as u32)) {
                enter(&*cycle);
            }
        }
    });
    NGX_OK as ngx_int_t
}

/// # Safety
///
/// As [`zone_of`], in a worker that starts.
unsafe fn enter(cycle: &ngx_cycle_t) {
    // SAFETY: the caller's promise.
    let (Some(zone), Some(main)) =
        (unsafe { (zone_of(cycle), cycle.http_main_conf_unchecked::<MainConf>(module())) })
    else {
        return;
    };
    // SAFETY: as above.
    let worker = HERE.get().get_or_init(|| Worker::start(cycle, unsafe { main.as_ref() }, zone));
    // SAFETY: nginx's own variable.
    let pid = u32::try_from(unsafe { ngx_pid }).unwrap_or_default();
    let process = Process { pid, started: started(pid).unwrap_or_default() };
    zone.enter(worker.slot, process, clock::now());
    // SAFETY: the caller's promise.
    let listens = unsafe { wake::listen(worker.slot, Some(on_ring)) };
    if !listens {
        ngx::ngx_log_error!(
            NGX_LOG_WARN,
            cycle.log,
            "intermission: no doorbell (eventfd) can be had, so releases wait for \
             intermission_interval"
        );
    }
    // A predecessor may have died with requests that others wait for.
    zone.note_change();
    wake::ring(zone.slots().filter(|slot| *slot != worker.slot));
    if let Some(store) = &worker.store {
        store.begin(worker);
    }
    worker.look();
}

pub unsafe extern "C" fn exit_process(_: *mut ngx_cycle_t) {
    guarded((), || {
        let Some(worker) = Worker::here() else { return };
        worker.notice_exit();
        worker.save_last();
        worker.zone.leave(worker.slot);
        wake::ring(worker.zone.slots());
    });
}

impl Worker {
    /// Finds out whether nginx ends for good. After a reload there are workers of a newer
    /// configuration, and the old ones go on holding; without, nobody would be left to resume,
    /// unless another nginx took over and says through the state file what to do.
    pub(super) fn notice_exit(&self) {
        if !is_exiting() {
            return;
        }
        if self.zone.exits(self.slot, self.cycle) {
            wake::ring(self.zone.slots().filter(|slot| *slot != self.slot));
        }
        let alone = || self.store.is_none() || !successor::exists();
        let leaving = self.zone.has_ended(&self.liveness(clock::now()), &self.watch) && alone();
        if leaving && !self.leaving.replace(leaving) && self.holding.get() > 0 {
            ngx::ngx_log_error!(
                NGX_LOG_NOTICE,
                ngx::log::ngx_cycle_log().as_ptr(),
                "intermission: nginx ends, and nobody is left to resume: {} held requests of this \
                 worker are let go",
                self.holding.get()
            );
        }
        self.leaving.set(leaving);
    }
}

/// Whether this worker was told to exit.
pub(super) fn is_exiting() -> bool {
    // SAFETY: nginx's own flag.
    unsafe { ngx_exiting != 0 }
}

/// The number of the configuration that this process belongs to.
pub fn cycle() -> u32 {
    CYCLE.load(Relaxed)
}

unsafe extern "C" fn on_ring(event: *mut ngx_event_t) {
    guarded((), || {
        let Some(worker) = Worker::here() else { return };
        // SAFETY: nginx passes the event of the doorbell.
        if unsafe { wake::says_exit(event) } {
            worker.look_next();
        } else {
            worker.look();
        }
    });
}

/// Whether there is a process with this id.
pub fn exists(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return false };
    // SAFETY: signal 0 is not sent; the call only says whether it could be.
    let found = unsafe { libc::kill(pid, 0) } == 0;
    found || std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// When the process with this id started, if the system tells.
pub fn started(pid: u32) -> Option<u32> {
    start_of(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}
