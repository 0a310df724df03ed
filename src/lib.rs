//! intermission: the pause button for nginx.
//!
//! A dynamic module that holds an app's requests while its backend is restarted, and then lets them
//! through in the order in which they came. [`gate`] decides, [`shm`] keeps what the workers share,
//! [`control`] speaks the language of the control location, and `nginx` ties them to nginx.

#![cfg_attr(test, allow(dead_code))]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

mod control;
mod gate;
#[cfg(not(test))]
mod nginx;
mod shm;
