//! How the zone is asked for, made, and taken over from one configuration to the next.

use core::ffi::c_void;
use core::ptr::{self, NonNull};

use nginx_sys::{
    NGX_ERROR, NGX_LOG_EMERG, NGX_OK, ngx_conf_t, ngx_core_conf_t, ngx_core_module, ngx_cycle,
    ngx_cycle_t, ngx_int_t, ngx_list_part_t, ngx_pagesize, ngx_shared_memory_add, ngx_shm_zone_t,
    ngx_slab_alloc, ngx_slab_pool_t, ngx_str_t,
};

use crate::gate::State;
use crate::nginx::conf::MainConf;
use crate::nginx::ffi::boundary::guarded;
use crate::nginx::ffi::headers;
use crate::nginx::ffi::identity::module;
use crate::nginx::store::Store;
use crate::nginx::zone::{Zone, ZoneLock, attached};
use crate::shm::Unfit;

const NAME: &str = "intermission";

pub const DEFAULT_SIZE: usize = 1024 * 1024;

/// # Safety
///
/// `cf` is nginx's, while it reads its configuration.
pub unsafe fn add_zone(cf: *mut ngx_conf_t, main: &mut MainConf, size: usize) -> Option<()> {
    let mut name = ngx_str_t { len: NAME.len(), data: NAME.as_ptr().cast_mut() };
    let tag = ptr::from_ref(module()).cast_mut().cast();
    // SAFETY: the caller's promise; the name lives as long as the module.
    unsafe {
        let added = ngx_shared_memory_add(cf, &mut name, size, tag).as_mut()?;
        added.init = Some(init);
        added.data = ptr::from_mut(main).cast();
        main.zone = added;
    }
    Some(())
}

/// Called by nginx for the zone of a new configuration, in the master, while the workers of the old
/// one still run, and before the new one can no longer fail: nothing is destroyed here.
pub unsafe extern "C" fn init(shm_zone: *mut ngx_shm_zone_t, old: *mut c_void) -> ngx_int_t {
    guarded(NGX_ERROR as ngx_int_t, || {
        // SAFETY: nginx passes the zone that this is the `init` of, and the data that the zone of the
        // running configuration has, if its memory is taken over.
        let result = unsafe { init_zone(&*shm_zone, old.cast::<MainConf>().as_ref()) };
        let Err(problem) = result else { return NGX_OK as ngx_int_t };
        // SAFETY: the log of the zone is that of the new configuration.
        ngx::ngx_log_error!(NGX_LOG_EMERG, unsafe { (*shm_zone).shm.log }, "{problem}");
        NGX_ERROR as ngx_int_t
    })
}

/// # Safety
///
/// As [`init`].
unsafe fn init_zone(shm_zone: &ngx_shm_zone_t, old: Option<&MainConf>) -> Result<(), String> {
    let pool = shm_zone.shm.addr.cast::<ngx_slab_pool_t>();
    // SAFETY: nginx has made the pool; a pool with data is one that a former configuration used.
    unsafe {
        let store = shm_zone.data.cast::<MainConf>().as_ref().and_then(store_of);
        if let Some(memory) = NonNull::new((*pool).data) {
            let zone = Zone::attach(memory.cast()).map_err(|_| foreign())?;
            if let Some(store) =
                store.filter(|store| old.and_then(store_of).as_ref() != Some(store))
            {
                store.supersede(&zone);
            }
            return Ok(());
        }
        if let Some(old) = running_zone().filter(|old| (**old).shm.size != shm_zone.shm.size) {
            return Err(resized((*old).shm.size, shm_zone.shm.size));
        }
        let size = (*pool).pfree * ngx_pagesize;
        let memory = NonNull::new(ngx_slab_alloc(pool, size)).ok_or_else(|| too_small(shm_zone))?;
        let zone = Zone::create(memory.cast(), size, worker_processes(), ZoneLock::of(pool));
        match zone {
            Err(Unfit::TooSmall) => return Err(too_small(shm_zone)),
            Err(Unfit::Foreign) => return Err(foreign()),
            Ok(zone) => {
                if let Some(store) = store {
                    store.load(&zone, shm_zone.shm.log)?;
                }
                (*pool).data = memory.as_ptr();
            }
        }
    }
    Ok(())
}

fn store_of(main: &MainConf) -> Option<Store> {
    main.state_file.clone().map(Store::new)
}

fn foreign() -> String {
    "intermission: the running nginx uses another version of this module; restart it, or upgrade \
     its binary (USR2), to change the version"
        .to_owned()
}

fn resized(old: usize, new: usize) -> String {
    format!(
        "\"intermission_zone\" cannot change from {old} to {new} bytes while nginx runs, as held \
         requests would be lost; restart it, or upgrade its binary (USR2)"
    )
}

fn too_small(shm_zone: &ngx_shm_zone_t) -> String {
    format!(
        "\"intermission_zone\" of {} bytes is too small to work: expected at least 64k",
        shm_zone.shm.size
    )
}

/// The zone of the configuration that nginx runs with at the moment.
///
/// # Safety
///
/// Called in the master (or while nginx starts).
pub unsafe fn running_zone() -> Option<*const ngx_shm_zone_t> {
    // SAFETY: `ngx_cycle` is the running cycle until the new configuration is in place; its list of
    // zones is nginx's own.
    unsafe {
        let cycle = ngx_cycle.as_ref()?;
        if cycle.conf_ctx.is_null() {
            return None;
        }
        let mut part: *const ngx_list_part_t = &cycle.shared_memory.part;
        while let Some(zones) = part.as_ref() {
            let first = zones.elts.cast::<ngx_shm_zone_t>();
            for index in 0..zones.nelts {
                let zone = first.add(index);
                if headers::bytes(&(*zone).shm.name) == NAME.as_bytes() {
                    return Some(zone);
                }
            }
            part = zones.next;
        }
        None
    }
}

/// Whether anything would be lost with the running zone.
///
/// # Safety
///
/// As [`running_zone`].
pub unsafe fn is_running_paused() -> bool {
    // SAFETY: the caller's promise.
    let zone = unsafe { running_zone().and_then(|zone| attached(zone)) };
    zone.is_some_and(|zone| zone.lock().apps().any(|app| zone.state(app) != State::Open))
}

/// How many workers there may be: as many as nginx runs with, or as there are cores if that is more.
/// When nginx starts, its configuration does not say yet.
fn worker_processes() -> usize {
    // SAFETY: while zones are initialised, `ngx_cycle` may still be the old cycle; its core module's
    // configuration, if there is one, is valid.
    let configured = unsafe {
        let context = ngx_cycle.as_ref().map(|cycle: &ngx_cycle_t| cycle.conf_ctx);
        context.filter(|context| !context.is_null()).and_then(|context| {
            let conf = (*context.add(ngx_core_module.index)).cast::<ngx_core_conf_t>();
            conf.as_ref().map(|conf| conf.worker_processes)
        })
    };
    let configured = configured.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    // SAFETY: set once when nginx starts.
    configured.max(usize::try_from(unsafe { nginx_sys::ngx_ncpu }).unwrap_or(1)).max(1)
}
