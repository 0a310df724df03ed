//! Groups of servers, as nginx keeps them: each worker its own, or all of them one in a `zone`.

use core::cell::RefCell;

use nginx_sys::{
    ngx_http_upstream_rr_peer_t, ngx_http_upstream_rr_peers_t, ngx_http_upstream_srv_conf_t,
    ngx_str_t,
};

use super::headers::bytes;
use super::living::Living;
use super::local::Local;

/// For what this worker has forgiven servers of each group last.
static FORGIVEN: Local<RefCell<Vec<(usize, u64)>>> = Local::new(RefCell::new(Vec::new()));

/// A group of servers, of the configuration.
pub type Group<'g> = Living<'g, ngx_http_upstream_srv_conf_t>;

type Servers = ngx_http_upstream_rr_peers_t;

/// Whether a name is that of the group, which nginx gives for a server where none is left that it would ask.
pub fn is_named(group: Group<'_>, name: *const ngx_str_t) -> bool {
    let servers_have =
        |servers: Living<'_, Servers>| servers.see(|it| it.name.cast_const() == name);
    group.see(|it| name == &raw const it.host) || servers(group).is_some_and(servers_have)
}

/// Forgets that servers of a group have failed, once for whatever it is that has this number: nginx would not
/// ask them for `fail_timeout`.
pub fn forgive(group: Group<'_>, number: u64) {
    let place = group.as_ptr().addr();
    let mut forgiven = FORGIVEN.get().borrow_mut();
    match forgiven.iter_mut().find(|(group, _)| *group == place) {
        Some((_, last)) if *last == number => return,
        Some((_, last)) => *last = number,
        None => forgiven.push((place, number)),
    }
    each_server(group, |server| server.fails = 0);
}

/// The names of the servers of a group that may be asked.
pub fn servers_of(group: Group<'_>) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    each_server(group, |server| {
        if server.down == 0 {
            // SAFETY: the name of a server, which is there as long as that.
            names.push(unsafe { bytes(&server.name) }.to_vec());
        }
    });
    names
}

fn each_server(group: Group<'_>, mut action: impl FnMut(&mut ngx_http_upstream_rr_peer_t)) {
    let mut next = servers(group);
    while let Some(servers) = next {
        let _lock = Lock::of(servers);
        let mut server = servers.see(|it| it.peer);
        // SAFETY: the servers of a group are a list, and those of a zone have a lock.
        while let Some(it) = unsafe { server.as_mut() } {
            action(it);
            server = it.next;
        }
        // SAFETY: those that are a backup, if there are any, are there as long as the others.
        next = unsafe { Living::maybe(servers.see(|it| it.next)) };
    }
}

/// The servers of a group. All of nginx's ways to choose one keep them in this way. What another module keeps
/// there is not in the zone, and does not have the group's name where this has it.
fn servers(group: Group<'_>) -> Option<Living<'_, Servers>> {
    let servers = group.see(|it| it.peer.data.cast::<Servers>());
    let (zone, name) = group.see(|it| (it.shm_zone, &raw const it.host));
    // SAFETY: the zone of a group is there as long as that.
    let is_in_zone = unsafe { zone.as_ref() }
        .is_some_and(|zone| servers.addr().wrapping_sub(zone.shm.addr.addr()) < zone.shm.size);
    // SAFETY: what is kept for a group is there as long as that, and is as large, whatever it is.
    let servers = unsafe { Living::maybe(servers) }?;
    (is_in_zone || servers.see(|it| it.name.cast_const() == name)).then_some(servers)
}

/// Keeps other workers from the servers that are shared with them.
struct Lock<'s>(
    #[cfg_attr(not(ngx_feature = "http_upstream_zone"), expect(dead_code))] Living<'s, Servers>,
);

impl<'s> Lock<'s> {
    fn of(servers: Living<'s, Servers>) -> Self {
        #[cfg(ngx_feature = "http_upstream_zone")]
        if servers.see(|it| !it.shpool.is_null()) {
            // SAFETY: servers in a zone have a lock there.
            unsafe { nginx_sys::ngx_rwlock_wlock(&raw mut (*servers.as_ptr()).rwlock) };
        }
        Self(servers)
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        #[cfg(ngx_feature = "http_upstream_zone")]
        if self.0.see(|it| !it.shpool.is_null()) {
            // SAFETY: `of` has locked them.
            unsafe { nginx_sys::ngx_rwlock_unlock(&raw mut (*self.0.as_ptr()).rwlock) };
        }
    }
}
