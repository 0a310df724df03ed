//! What nginx and the system give, each in a small file. Nothing here knows the floors above.

pub mod bells;
pub mod blank;
pub mod boundary;
pub mod client;
pub mod clock;
pub mod configuring;
pub mod connections;
pub mod constants;
pub mod cycle;
pub mod event;
pub mod globals;
pub mod headers;
pub mod identity;
pub mod inotify;
pub mod living;
pub mod local;
pub mod memory;
pub mod paths;
pub mod pool;
pub mod processes;
pub mod regex;
pub mod request;
pub mod successor;
pub mod upstreams;
pub mod variable;
pub mod watched;
