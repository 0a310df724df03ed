//! What the command exits with.

pub const USAGE: i32 = 64;
pub const STILL_PAUSED: i32 = 69;
pub const TRY_LATER: i32 = 75;
pub const NOT_EXECUTABLE: i32 = 126;
pub const NOT_FOUND: i32 = 127;
