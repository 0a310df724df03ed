//! intermission: the pause button for nginx.
//!
//! A dynamic module that holds an app's requests while its backend is restarted, and then lets them
//! through in the order in which they came. [`gate`] decides, [`shm`] keeps what the workers share,
//! [`control`] speaks the language of the control location, and `nginx` ties them to nginx.

// The part that knows nginx does not link into tests, so that not all of the rest is used there.
#![cfg_attr(test, allow(dead_code, unused_imports))]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

mod agreement;
mod control;
mod escapes;
mod gate;
#[cfg(not(test))]
mod nginx;
mod shared;
mod shm;
// Coroutines are not for Miri.
#[cfg(all(test, not(miri)))]
mod sim;
mod state_file;
mod worker;
