//! The way of a request: it comes in, is held, goes on, and ends.

pub mod backend;
pub mod body;
pub mod entrance;
pub mod filter;
pub mod hold;
pub mod life;
pub mod outcome;
pub mod take_back;
pub mod variables;
