//! The life of a worker's process: how it begins and ends.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use nginx_sys::{
    NGX_LOG_WARN, NGX_OK, NGX_PROCESS_SINGLE, NGX_PROCESS_WORKER, ngx_cycle_t, ngx_event_t,
    ngx_int_t, ngx_pid, ngx_process, ngx_process_slot,
};
use ngx::http::HttpModuleConfExt;

use crate::nginx::conf::MainConf;
use crate::nginx::conf::coverage;
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::identity::module;
use crate::nginx::ffi::processes::started;
use crate::nginx::ffi::{bells, clock};
use crate::nginx::host::{Nginx, Worker};
use crate::nginx::store::Store;
use crate::nginx::zone::{Zone, attached};
use crate::shm::Process;

/// The number of the configuration that this process, and those forked from it, belong to.
static CYCLE: AtomicU32 = AtomicU32::new(0);

/// A new configuration begins, in the master.
pub fn begin_cycle(zone: &Zone) {
    CYCLE.store(zone.next_cycle(), Relaxed);
}

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
    // SAFETY: as above, and nginx's own variable.
    let (main, slot) = unsafe { (main.as_ref(), ngx_process_slot) };
    let start = || {
        let slot = usize::try_from(slot).unwrap_or_default();
        Worker::new(
            Nginx::new(main.state_file.clone()),
            zone,
            slot,
            CYCLE.load(Relaxed),
            main.names.len(),
        )
    };
    let worker = Worker::begin(start, Some(on_timer));
    // SAFETY: nginx's own variable.
    let pid = u32::try_from(unsafe { ngx_pid }).unwrap_or_default();
    let process = Process { pid, started: started(pid).unwrap_or_default() };
    zone.enter(worker.slot, process, clock::now());
    // SAFETY: the caller's promise.
    let listens = unsafe { bells::listen(worker.slot, Some(on_ring)) };
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
    worker.ring_others();
    if let Some(store) = Store::of(worker) {
        store.begin(worker);
    }
    worker.look();
}

pub unsafe extern "C" fn exit_process(_: *mut ngx_cycle_t) {
    guarded((), || {
        coverage::forget();
        let Some(worker) = Worker::here() else { return };
        worker.notice_exit();
        // Nothing is put off any more.
        if let Some(store) = Store::of(worker) {
            store.end(worker);
        }
        worker.zone.leave(worker.slot);
        bells::ring(worker.zone.slots());
    });
}

unsafe extern "C" fn on_ring(event: *mut ngx_event_t) {
    guarded((), || {
        let Some(worker) = Worker::here() else { return };
        // SAFETY: nginx passes the event of the doorbell.
        if unsafe { bells::says_exit(event) } {
            worker.look_next();
        } else {
            Store::keep_up(worker);
            worker.look();
        }
    });
}

unsafe extern "C" fn on_timer(_: *mut ngx_event_t) {
    guarded((), || {
        let Some(worker) = Worker::here() else { return };
        worker.timer_went_off();
        Store::keep_up(worker);
        worker.look();
    });
}
