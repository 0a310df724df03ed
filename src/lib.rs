//! intermission: the pause button for nginx.
//!
//! A dynamic module that holds an app's requests while its backend is restarted, and then lets them
//! through in the order in which they came. [`gate`] decides, [`shm`] keeps what the workers share,
//! [`control`] speaks the language of the control location, and `nginx` ties them to nginx.

// The part that knows nginx does not link into tests, so that not all of the rest is used there.
#![cfg_attr(test, allow(dead_code, unused_imports))]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

mod control;
mod gate;
#[cfg(not(test))]
mod nginx;
mod shm;
mod state_file;
#[cfg(not(test))]
mod worker;
