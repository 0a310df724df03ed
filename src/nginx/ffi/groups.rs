//! Groups of servers, as nginx keeps them: each worker its own, or all of them one in a `zone`.

use core::cell::RefCell;

use nginx_sys::{
    ngx_http_upstream_rr_peer_t, ngx_http_upstream_rr_peers_t, ngx_http_upstream_srv_conf_t,
    ngx_str_t,
};

use super::headers::bytes;
use super::local::Local;

/// For what this worker has forgiven servers of each group last.
static FORGIVEN: Local<RefCell<Vec<(usize, u64)>>> = Local::new(RefCell::new(Vec::new()));

/// Whether a name is that of the group, which nginx gives for a server where none is left that it would ask.
///
/// # Safety
///
/// The group is one that nginx has set up.
pub unsafe fn is_named(group: &ngx_http_upstream_srv_conf_t, name: *const ngx_str_t) -> bool {
    // SAFETY: the caller's promise.
    let servers = unsafe { servers(group).as_ref() };
    name == &raw const group.host || servers.is_some_and(|it| it.name.cast_const() == name)
}

/// Forgets that servers of a group have failed, once for whatever it is that has this number: nginx would not
/// ask them for `fail_timeout`.
///
/// # Safety
///
/// As [`is_named`].
pub unsafe fn forgive(group: &ngx_http_upstream_srv_conf_t, number: u64) {
    let place = core::ptr::from_ref(group).addr();
    let mut forgiven = FORGIVEN.get().borrow_mut();
    match forgiven.iter_mut().find(|(group, _)| *group == place) {
        Some((_, last)) if *last == number => return,
        Some((_, last)) => *last = number,
        None => forgiven.push((place, number)),
    }
    // SAFETY: the caller's promise.
    unsafe { each_server(group, |server| server.fails = 0) };
}

/// The names of the servers of a group that may be asked.
///
/// # Safety
///
/// As [`is_named`].
pub unsafe fn servers_of(group: &ngx_http_upstream_srv_conf_t) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    // SAFETY: the caller's promise.
    unsafe {
        each_server(group, |server| {
            if server.down == 0 {
                names.push(bytes(&server.name).to_vec());
            }
        });
    }
    names
}

/// # Safety
///
/// As [`is_named`].
unsafe fn each_server(
    group: &ngx_http_upstream_srv_conf_t,
    mut action: impl FnMut(&mut ngx_http_upstream_rr_peer_t),
) {
    // SAFETY: the caller's promise; the servers of a group are lists, and those of a zone have a lock.
    unsafe {
        let mut next = servers(group);
        while let Some(servers) = next.as_mut() {
            let _lock = Lock::of(servers);
            let mut server = servers.peer;
            while let Some(it) = server.as_mut() {
                action(it);
                server = it.next;
            }
            // Those that are a backup.
            next = servers.next;
        }
    }
}

/// The servers of a group. All of nginx's ways to choose one keep them in this way. What another module keeps
/// there is not in the zone, and does not have the group's name where this has it.
///
/// # Safety
///
/// As [`is_named`].
unsafe fn servers(group: &ngx_http_upstream_srv_conf_t) -> *mut ngx_http_upstream_rr_peers_t {
    let servers = group.peer.data.cast::<ngx_http_upstream_rr_peers_t>();
    // SAFETY: the caller's promise.
    let are_ours = unsafe {
        let is_in_zone = group
            .shm_zone
            .as_ref()
            .is_some_and(|zone| servers.addr().wrapping_sub(zone.shm.addr.addr()) < zone.shm.size);
        let names = |servers: &ngx_http_upstream_rr_peers_t| {
            servers.name.cast_const() == &raw const group.host
        };
        is_in_zone || servers.as_ref().is_some_and(names)
    };
    if are_ours { servers } else { core::ptr::null_mut() }
}

/// Keeps other workers from the servers that are shared with them.
struct Lock(*mut ngx_http_upstream_rr_peers_t);

#[cfg(ngx_feature = "http_upstream_zone")]
impl Lock {
    /// # Safety
    ///
    /// The servers are those of a group.
    unsafe fn of(servers: *mut ngx_http_upstream_rr_peers_t) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            if !(*servers).shpool.is_null() {
                nginx_sys::ngx_rwlock_wlock(&raw mut (*servers).rwlock);
            }
        }
        Self(servers)
    }
}

#[cfg(ngx_feature = "http_upstream_zone")]
impl Drop for Lock {
    fn drop(&mut self) {
        // SAFETY: what `of` was given lives on, and is locked.
        unsafe {
            if !(*self.0).shpool.is_null() {
                nginx_sys::ngx_rwlock_unlock(&raw mut (*self.0).rwlock);
            }
        }
    }
}

#[cfg(not(ngx_feature = "http_upstream_zone"))]
impl Lock {
    /// # Safety
    ///
    /// None: there are no zones.
    unsafe fn of(servers: *mut ngx_http_upstream_rr_peers_t) -> Self {
        Self(servers)
    }
}
