//! The part that knows nginx.

mod agent;
mod boundary;
mod clock;
mod conf;
mod connections;
mod constants;
mod control;
mod directives;
mod entrance;
mod filter;
mod headers;
mod hold;
mod local;
mod module;
mod outcome;
mod passage;
mod queue;
mod store;
mod successor;
mod variables;
mod wake;
mod worker;
mod zone;
