//! The part that knows nginx, in floors: each imports only those below it, in this order.

mod ffi;

mod conf;
mod zone;

mod host;

mod request;
mod store;

mod control;
mod process;
mod setup;

mod module;
