//! Many nginxes as one: a holder, who wants an app paused, and an agent beside each nginx, which does it.
//!
//! They meet in a store. [`decide`] has what they decide, without input or output; [`store`] is what they ask of
//! the store, and [`etcd`] the one there is. How a pause cannot end before its holder is told is in [`watcher`].

mod agent;
mod decide;
mod etcd;
mod holder;
mod keeper;
mod keys;
mod share;
mod show;
mod store;
mod watcher;

pub use agent::agent;
pub use holder::run;
pub use show::{resume, status, watch};
