//! What `build.rs` finds in nginx's headers beside the bindings of `nginx-sys`.

mod found {
    #![allow(non_camel_case_types)]
    include!(concat!(env!("OUT_DIR"), "/constants.rs"));
}

pub use found::{INTERMISSION_CLEAR_EVENT as CLEAR_EVENT, INTERMISSION_READ_EVENT as READ_EVENT};
