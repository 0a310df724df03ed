//! Groups of servers, as nginx keeps them: each worker its own, or all of them one in a `zone`.

use core::cell::RefCell;
use core::iter::successors;

use nginx_sys::{
    ngx_http_upstream_rr_peer_t, ngx_http_upstream_rr_peers_t, ngx_http_upstream_srv_conf_t,
    ngx_shm_zone_t, ngx_str_t,
};

#[cfg(ngx_feature = "http_upstream_zone")]
use super::functions::{ngx_rwlock_unlock, ngx_rwlock_wlock};
use super::living::{Living, reaches};
use super::local::Local;

/// For what this worker has forgiven servers of each group last.
static FORGIVEN: Local<RefCell<Vec<(usize, u64)>>> = Local::new(RefCell::new(Vec::new()));

/// A group of servers, of the configuration.
pub type Group<'g> = Living<'g, ngx_http_upstream_srv_conf_t>;

type Servers<'s> = Living<'s, ngx_http_upstream_rr_peers_t>;

type Server<'s> = Living<'s, ngx_http_upstream_rr_peer_t>;

/// Whether a name is that of the group, which nginx gives for a server where none is left that it would ask.
pub fn is_named(group: Group<'_>, name: *const ngx_str_t) -> bool {
    let servers_have = |servers: Servers<'_>| servers.see(|it| it.name.cast_const() == name);
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
    each_server(group, |server| server.change(|it| it.fails = 0));
}

/// The names of the servers of a group that may be asked.
pub fn servers_of(group: Group<'_>) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    each_server(group, |server| {
        if server.see(|it| it.down == 0) {
            names.push(server.name().to_vec());
        }
    });
    names
}

reaches!(Servers<'s> {
    /// As long as the others, if there are any: those that are a backup.
    fn backups() -> Option<Servers<'s>> = next;

    /// Those of a zone while it is locked, the others as long as the group.
    fn first() -> Option<Server<'s>> = peer;
});

reaches!(Server<'s> {
    /// As the first, or none.
    fn next() -> Option<Server<'s>> = next;

    /// As long as the server.
    fn name() -> &'s [u8] = name;
});

fn each_server(group: Group<'_>, mut action: impl FnMut(Server<'_>)) {
    for servers in successors(servers(group), |servers| servers.backups()) {
        let _lock = Lock::of(servers);
        successors(servers.first(), |server| server.next()).for_each(&mut action);
    }
}

reaches!(Group<'g> {
    /// As long as the configuration, if it has one.
    fn zone() -> Option<Living<'g, ngx_shm_zone_t>> = shm_zone;
});

/// The servers of a group. All of nginx's ways to choose one keep them in this way. What another module keeps
/// there is not in the zone, and does not have the group's name where this has it.
fn servers(group: Group<'_>) -> Option<Servers<'_>> {
    let (servers, name) = group.see(|it| (it.peer.data, &raw const it.host));
    let has = |it: &ngx_shm_zone_t| servers.addr().wrapping_sub(it.shm.addr.addr()) < it.shm.size;
    let is_in_zone = group.zone().is_some_and(|zone| zone.see(has));
    // SAFETY: what is kept for a group is there as long as that, and is as large, whatever it is.
    let servers = unsafe { Servers::maybe(servers.cast()) }?;
    (is_in_zone || servers.see(|it| it.name.cast_const() == name)).then_some(servers)
}

/// Keeps other workers from the servers that are shared with them.
struct Lock<'s>(
    #[cfg_attr(not(ngx_feature = "http_upstream_zone"), expect(dead_code))] Servers<'s>,
);

impl<'s> Lock<'s> {
    fn of(servers: Servers<'s>) -> Self {
        #[cfg(ngx_feature = "http_upstream_zone")]
        if servers.see(|it| !it.shpool.is_null()) {
            ngx_rwlock_wlock(servers.part(|it| &mut it.rwlock));
        }
        Self(servers)
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        #[cfg(ngx_feature = "http_upstream_zone")]
        if self.0.see(|it| !it.shpool.is_null()) {
            ngx_rwlock_unlock(self.0.part(|it| &mut it.rwlock));
        }
    }
}
