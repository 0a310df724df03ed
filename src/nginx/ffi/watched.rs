//! Descriptors that are no client's, in nginx's event loop.

use std::os::fd::AsRawFd;

use nginx_sys::{NGX_OK, ngx_connection_t, ngx_event_actions, ngx_event_t};

use super::boundary::guarded;
use super::client::Connection;
use super::constants::{CLEAR_EVENT, READ_EVENT};
use super::cycle::Cycle;
use super::functions::{ngx_free_connection, ngx_get_connection};

/// What is done when something happens on a descriptor.
pub trait Watched {
    fn happens(connection: Connection<'_>);
}

/// Watches a descriptor from when a worker starts for as long as that runs, as nginx itself does with its
/// channels. `prepare` has the connection before that. `false` if nginx has none for it.
pub fn watch<W: Watched>(
    descriptor: &impl AsRawFd,
    prepare: impl FnOnce(&mut ngx_connection_t),
) -> bool {
    let Some((log, pool)) = Cycle::in_running(|cycle| cycle.see(|it| (it.log, it.pool))) else {
        return false;
    };
    let Some(connection) = ngx_get_connection(descriptor.as_raw_fd(), log) else { return false };
    for event in [connection.read(), connection.write()] {
        event.change(|it| {
            it.log = log;
            // So that a worker which exits in good order does not take it for a client's.
            it.set_channel(1);
        });
    }
    connection.read().on_event(happens::<W>);
    connection.change(|it| {
        it.pool = pool;
        prepare(it);
    });
    // SAFETY: a worker that has connections has a way to wait for what happens on them.
    let rc = unsafe {
        ngx_event_actions.add.map(|add| add(connection.read().as_ptr(), READ_EVENT, CLEAR_EVENT))
    };
    let is_watched = rc == Some(NGX_OK as isize);
    if !is_watched {
        ngx_free_connection(connection);
    }
    is_watched
}

/// For the events of a connection.
pub unsafe extern "C" fn happens<W: Watched>(event: *mut ngx_event_t) {
    // SAFETY: nginx passes the event of a connection, which is its data.
    let connection = unsafe { Connection::new((*event).data.cast()) };
    guarded((), || W::happens(connection));
}
