//! What is done while nginx reads its configuration.

pub mod directives;
pub mod merge;
pub mod zone;
