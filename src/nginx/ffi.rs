//! What nginx and the system give, each in a small file. Nothing here knows the floors above.

pub mod background;
pub mod bells;
pub mod boundary;
pub mod client;
pub mod clock;
pub mod connections;
pub mod constants;
pub mod headers;
pub mod identity;
pub mod inotify;
pub mod local;
pub mod paths;
pub mod processes;
pub mod successor;
pub mod upstreams;
pub mod watched;
