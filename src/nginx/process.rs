//! The life of a worker's process: how it begins and ends.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use nginx_sys::{NGX_LOG_WARN, ngx_cycle_t};

use crate::nginx::conf::MainConf;
use crate::nginx::conf::coverage;
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::client::Connection;
use crate::nginx::ffi::cycle::{Begin, Cycle};
use crate::nginx::ffi::event::Called;
use crate::nginx::ffi::processes::started;
use crate::nginx::ffi::watched::Watched;
use crate::nginx::ffi::{bells, clock, globals};
use crate::nginx::host::{Nginx, Worker};
use crate::nginx::store::Store;
use crate::nginx::zone::Zone;
use crate::shm::Process;

/// The number of the configuration that this process, and those forked from it, belong to.
static CYCLE: AtomicU32 = AtomicU32::new(0);

/// A new configuration begins, in the master.
pub fn begin_cycle(zone: &Zone) {
    CYCLE.store(zone.next_cycle(), Relaxed);
}

/// The zone that a cycle's configuration asks for.
pub fn zone_of(cycle: Cycle<'_>) -> Option<Zone> {
    MainConf::of_cycle(cycle)?.zone()
}

/// A process begins.
pub struct Init;

impl Begin for Init {
    fn begin(cycle: Cycle<'_>) -> Option<()> {
        if globals::is_worker() {
            enter(cycle);
        }
        Some(())
    }
}

/// A worker starts.
fn enter(cycle: Cycle<'_>) {
    let (Some(zone), Some(main)) = (zone_of(cycle), MainConf::of_cycle(cycle)) else { return };
    let start = || {
        let host = Nginx::new(main.state_file.clone(), Timer);
        Worker::new(host, zone, globals::slot(), CYCLE.load(Relaxed), main.names.len())
    };
    let worker = Worker::begin(start);
    let pid = globals::pid();
    let process = Process { pid, started: started(pid).unwrap_or_default() };
    zone.enter(worker.slot, process, clock::now());
    if !bells::listen::<Bell>(worker.slot) {
        ngx::ngx_log_error!(
            NGX_LOG_WARN,
            cycle.log(),
            "intermission: no doorbell (eventfd) can be had, so releases wait for \
             intermission_interval"
        );
    }
    // A predecessor may have died with requests that others wait for.
    zone.note_change();
    worker.ring_others();
    if let Some(store) = Store::of(worker) {
        store.begin();
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
            store.end();
        }
        worker.zone.leave(worker.slot);
        bells::ring(worker.zone.slots());
    });
}

/// Rings when there may be something to do.
struct Bell;

impl Watched for Bell {
    fn happens(bell: Connection<'_>) {
        let Some(worker) = Worker::here() else { return };
        if bells::says_exit(bell) {
            worker.look_next();
        } else {
            Store::keep_up(worker);
            worker.look();
        }
    }
}

/// The worker's timer.
struct Timer;

impl Called for Timer {
    fn call(&self) {
        let Some(worker) = Worker::here() else { return };
        worker.timer_went_off();
        Store::keep_up(worker);
        worker.look();
    }
}
